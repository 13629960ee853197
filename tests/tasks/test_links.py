"""A search of a host's storage that is not whole is told, by host and command."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks import checks
from tasks.metadata import Target, Volume
from tasks.refusal import CheckRefused
from tasks.runs import entered_run
from tests.fake_cluster import FakeCluster, fake_cluster
from tests.fake_host import IMAGE, SD, TARGET, VOLUME

FIND = """#!/bin/sh
/usr/bin/find "$@"
echo "find: {}" >&2; exit 1
"""
CUT_OFF = "#!/bin/sh\nexec /usr/bin/timeout -s KILL 0.2 /bin/sleep 60\n"
NO_FIND = "#!/bin/sh\nexit 127\n"
DEAD = "/rhev/data-center/mnt/dead:_iso"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with (
        fake_cluster(tmp_path) as cluster,
        entered_run("metadata-too-new", parameters={"cluster": "lab"}),
    ):
        yield cluster


def put(cluster: FakeCluster, tool: str, script: str) -> None:
    place = cluster.hosts["h2"].root / "bin" / tool
    place.write_text(script)
    place.chmod(0o755)


def find() -> Target:
    return checks.require_one_target.fn("lab", Volume("nfs", SD, IMAGE, VOLUME))


@pytest.mark.parametrize(
    ("tool", "script", "told"),
    [
        ("find", FIND.format(f"{DEAD}: Permission denied"), f"{DEAD}: Permission denied"),
        ("find", FIND.format(f"{DEAD}: Input/output error"), f"{DEAD}: Input/output error"),
        ("timeout", CUT_OFF, "cut off with exit code 137"),
        ("timeout", NO_FIND, "cut off with exit code 127"),
    ],
    ids=["permission", "input", "hung", "no find"],
)
def test_what_cannot_be_searched_is_told(
    cluster: FakeCluster, tool: str, script: str, told: str
) -> None:
    put(cluster, tool, script)
    command = "h2: `find -L /rhev -name hosted-engine.metadata` could not search all: "
    with pytest.raises(CheckRefused, match=f"{command}.*{told}"):
        find()


@pytest.mark.parametrize("why", ["File system loop detected; x", "x: No such file or directory"])
def test_what_hides_nothing_stops_no_search(cluster: FakeCluster, why: str) -> None:
    put(cluster, "find", FIND.format(why))
    assert find().path == TARGET


def test_lost_and_found_is_not_searched(cluster: FakeCluster) -> None:
    lost = cluster.folder / "shared/rhev/data-center/mnt/srv:_export_he/lost+found"
    lost.mkdir()
    (lost / "hosted-engine.metadata").write_bytes(bytes(8192))
    assert find().path == TARGET
