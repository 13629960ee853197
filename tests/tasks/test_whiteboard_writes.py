"""What stands between an approval and the write, and the way back that a person types."""

import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from runbooks.catalogue import catalogue
from tasks import backup, restore, zeroing
from tasks.checks import require_acting_host
from tasks.journal import Kind, Phase
from tasks.metadata import Target
from tasks.refusal import CheckRefused
from tasks.run_site import Site
from tasks.runs import entered_run
from tasks.steps import StepFailed
from tasks.way_back import way_back_lines
from tests.fake_cluster import GARBAGE, TOO_NEW, FakeCluster, fake_cluster
from tests.fake_host import LARGE_BYTES, LINK, SIZE_BYTES, TARGET

BAD_52 = zeroing.Plan(zeroing.Scope.BAD_ONLY, (52,))
ALL = zeroing.Plan(zeroing.Scope.EVERYTHING, (52,))
BACKUPS = "/var/lib/backups"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with (
        fake_cluster(tmp_path) as cluster,
        entered_run("metadata-too-new", parameters={"cluster": "lab"}),
    ):
        yield cluster


@pytest.fixture
def quiet(cluster: FakeCluster) -> Site:
    return stopped(cluster, SIZE_BYTES)


def stopped(cluster: FakeCluster, size_bytes: int) -> Site:
    whiteboard = Target(TARGET, "file", size_bytes, (LINK,))
    site = require_acting_host.function("lab", whiteboard, None)
    for host in cluster.hosts.values():
        host.run(("systemctl", "stop", "ovirt-ha-agent", "ovirt-ha-broker"))
    return site


def approved(plan: zeroing.Plan, made: backup.Backup) -> zeroing.Plan:
    return replace(plan, sha256=made.sha256)


@pytest.mark.parametrize("plan", [BAD_52, ALL])
def test_what_changed_after_the_approval_is_not_overwritten(
    cluster: FakeCluster, quiet: Site, plan: zeroing.Plan
) -> None:
    made = backup.back_up_whiteboard.function(quiet, BACKUPS)
    cluster.put(3, GARBAGE)
    before = cluster.file.read_bytes()
    with pytest.raises(StepFailed, match="has changed since the approval"):
        zeroing.write_zeros.function(quiet, approved(plan, made))
    assert cluster.file.read_bytes() == before


def test_nothing_is_written_while_a_service_runs(cluster: FakeCluster, quiet: Site) -> None:
    made = backup.back_up_whiteboard.function(quiet, BACKUPS)
    cluster.hosts["h3"].run(("systemctl", "start", "ovirt-ha-broker"))
    with pytest.raises(CheckRefused, match="h3: agent inactive, broker active"):
        zeroing.write_zeros.function(quiet, approved(ALL, made))
    cluster.put(3, GARBAGE)
    with pytest.raises(CheckRefused, match="h3: agent inactive, broker active"):
        restore.restore_backup.function(quiet, made)
    assert cluster.block(3) == GARBAGE
    assert cluster.block(52) == TOO_NEW


def test_a_backup_damaged_after_the_approval_is_not_written(
    cluster: FakeCluster, quiet: Site
) -> None:
    made = backup.back_up_whiteboard.function(quiet, BACKUPS)
    cluster.put(3, GARBAGE)
    before = cluster.file.read_bytes()
    with Path(cluster.hosts["h2"].here(made.path)).open("r+b") as copy:
        copy.write(b"oops")
    with pytest.raises(StepFailed, match="is not the backup that was approved"):
        restore.restore_backup.function(quiet, made)
    assert cluster.file.read_bytes() == before


@pytest.mark.parametrize("size_bytes", [SIZE_BYTES, LARGE_BYTES, 2001 * 4096])
def test_the_way_back_by_hand_writes_every_byte(tmp_path: Path, size_bytes: int) -> None:
    run = {"cluster": "lab"}
    with (
        fake_cluster(tmp_path, size_bytes=size_bytes) as cluster,
        entered_run("metadata-too-new", parameters=run, run_id="r1") as entered,
    ):
        made = backup.back_up_whiteboard.fn(stopped(cluster, size_bytes), "/var/lib/my backups")
        journal, entry = cluster.world.journal, catalogue()["metadata-too-new"]
        assert "dd if=" not in "\n".join(way_back_lines(journal, "r1", entry))  # nothing written
        journal.append(entered.draft(Kind.CHANGE, "write_zeros", Phase.INTENT))
        shown = way_back_lines(journal, "r1", entry)
        _, line = "\n".join(shown).split("on h2: ")
        for command in (line.splitlines()[0], backup.restore_command(made)):
            check, write = command.split(" && ")
            assert shlex.split(check)[1] == f"{made.sha256}  {made.path}"
            words = dict(word.split("=", 1) for word in shlex.split(write)[1:])
            assert (words["if"], words["of"]) == (made.path, TARGET)
            assert int(words["bs"]) * int(words["count"]) == size_bytes
