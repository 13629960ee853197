"""clean-reinstall: a failed first host, its storage purged, and deployed again."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.failed_install import failed_install
from tests.fake_cluster import APPROVED, FakeCluster
from tests.fake_host import DOMAIN, SD
from tests.rehearsal import UNITS, Rehearsal

ANSWERS = "/var/lib/answers.conf"
KEYS = ("lockspaces", "packages", "deployed", *UNITS)


@contextmanager
def half_deployed(folder: Path) -> Iterator[FakeCluster]:
    with failed_install(folder) as failed:
        failed.path(ANSWERS.lstrip("/")).touch()
        yield failed.cluster


def end_state(cluster: FakeCluster) -> object:
    host = cluster.hosts["h1"]
    files = sorted(
        str(place.relative_to(host.root))
        for top in ("etc", "run", "var/tmp")
        for place in (host.root / top).rglob("*")
    )
    vms = sorted(each.name for each in (host.root / "state/vms").iterdir())
    return files, vms, Path(host.here(DOMAIN)).exists(), [host.get(key) for key in KEYS]


REHEARSAL = Rehearsal(
    "clean-reinstall",
    half_deployed,
    {"host": "h1", "purge_storage": True, "answer_file": ANSWERS},
    answers={
        "approve_cleaning": {**APPROVED, "target": "h1"},
        "approve_purge": {**APPROVED, "target": SD},
    },
    end_state=end_state,
    mutating=(
        "systemctl disable",
        "virsh -c",
        "sanlock client rem_lockspace",
        "hosted-engine --deploy",
        "rpm -e",
    ),
)
