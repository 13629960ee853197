"""The engine's backup is on the control node before anything is changed in the engine VM."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flows.upgrade import upgrade
from tasks.engine_backup_copy import CopyDiffers, copy_out
from tasks.engine_site import back_up_engine, backup_path
from tasks.env import use_world
from tasks.gates import GateRejected
from tasks.run_site import Site
from tasks.runs import entered_run
from tests.fake_cluster import FakeCluster, fake_cluster
from tests.fake_packages import ENGINE_V1, add_packages, engine_of
from tests.fake_vm import NO
from tests.upgraded import last_run

SITE = Site("lab", None, "h2", "h1", ("h1", "h3"))  # type: ignore[arg-type]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with fake_cluster(tmp_path, bad={}) as bare:
        put = replace(add_packages(bare), backups=tmp_path / "backups")
        with use_world(put):
            yield bare


def test_the_backup_is_copied_out_and_only_we_may_read_it(
    cluster: FakeCluster, tmp_path: Path
) -> None:
    with entered_run("upgrade", parameters={"cluster": "lab"}, run_id="r1"):
        back_up_engine.fn(SITE)
    [file] = [path for path in (tmp_path / "backups").rglob("*") if path.is_file()]
    assert file == tmp_path / "backups/r1/engine.backup"
    assert file.read_text().strip() == ENGINE_V1
    assert file.stat().st_mode & 0o7777 == 0o600


def test_the_gate_shows_a_restore_that_works_on_a_configured_engine(
    cluster: FakeCluster, tmp_path: Path
) -> None:
    cluster.answers = [NO]
    with pytest.raises(GateRejected):
        upgrade.fn("lab")
    [(_, evidence)] = cluster.asked
    way_back = evidence.partition("### Way back")[2]
    run_id = last_run(cluster)
    for wanted in (
        "`engine-cleanup`; `engine-backup --mode=restore --file=",
        "--log=/var/log/ovirt-engine/restore.log --provision-all-databases --restore-permissions`",
        f"`{tmp_path}/backups/{run_id}/engine.backup` on the control node",
        "hosted-engine --deploy --restore-from-file=",
    ):
        assert wanted in way_back


def test_a_large_one_comes_whole_and_another_one_is_not_taken(
    cluster: FakeCluster, tmp_path: Path
) -> None:
    engine, data = engine_of(cluster), os.urandom(17 * 1024 * 1024 + 5)
    with entered_run("upgrade", parameters={"cluster": "lab"}, run_id="r1"):
        place = Path(engine.here(backup_path()))
        place.parent.mkdir(parents=True)
        place.write_bytes(data)
        sha256 = hashlib.sha256(data).hexdigest()
        with pytest.raises(CopyDiffers, match="is not what lies there"):
            copy_out(engine, backup_path(), "0" * 64, within_seconds=30)
        file = copy_out(engine, backup_path(), sha256, within_seconds=30)
    assert file is not None
    assert file.read_bytes() == data
