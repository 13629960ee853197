"""What a cancelled run leaves on the hosts is stopped, recorded, and told with the way back."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from flows.zero_metadata import zero_metadata
from tasks.cancelled import PATIENCE_SECONDS, Cancellations
from tasks.env import use_world, world
from tasks.inventory import InventoryError
from tasks.journal import Journal, Kind, Phase
from tasks.lock import holder
from tasks.recorded import Outcome, change
from tasks.runs import entered_run
from tasks.step_remote import Step, start
from tasks.steps import StepStopped, run_once
from tests.fake_cluster import FakeCluster, fake_cluster, unreachable
from tests.tasks.step_helpers import pid_of, wait_dead

ID = "metadata-too-new"
LAB = {"cluster": "lab"}
BODY = zero_metadata.fn.__wrapped__  # type: ignore[attr-defined]


class Killed(BaseException):
    """Stands for the end of the run's process, as Prefect cancels it."""


@change
def act(cluster: str, host: str, argv: list[str]) -> Outcome:
    run_once(world().shell(cluster, host), argv, step="act", timeout_seconds=30)
    return Outcome.CHANGED


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with fake_cluster(tmp_path) as cluster:
        yield cluster


@pytest.fixture
def journal(cluster: FakeCluster) -> Journal:
    return cluster.world.journal


def store(cluster: FakeCluster) -> Path:
    return Path(cluster.hosts["h1"].here(str(cluster.world.step_store)))


def killed_at(place: str, argv: list[str]) -> None:
    """Run until a function of the steps is called, and die there."""
    with (
        mock.patch(place, side_effect=Killed),
        pytest.raises(Killed),
        entered_run(ID, parameters=LAB, run_id="r1"),
    ):
        act.fn("lab", "h1", argv)


def outcome(journal: Journal) -> dict[str, Any]:
    entry = journal.find("r1", Kind.REMOTE, "act@h1", Phase.OUTCOME)
    assert entry is not None
    return dict(entry.payload)


def ended_as(journal: Journal) -> list[str]:
    entries = journal.entries("r1", kinds=(Kind.RUN,))
    return [e.payload["as"] for e in entries if e.phase is Phase.ENDED]


def way_back(journal: Journal) -> str:
    note = journal.find("r1", Kind.RUN, "way_back", Phase.NOTE)
    assert note is not None
    return "\n".join(note.payload["lines"])


def test_a_step_at_work_is_stopped_recorded_and_told(cluster: FakeCluster, journal) -> None:
    killed_at("tasks.steps.wait", ["sh", "-c", "sleep 60 | cat"])
    pid = pid_of(store(cluster), "act", "r1")
    assert Cancellations().end("r1", "by Ann")
    wait_dead(pid)
    assert outcome(journal)["how"] == "stopped"
    assert ended_as(journal) == ["cancelled"]
    assert "Begun and not known to have ended: act@h1" in way_back(journal)
    last = journal.entries()[-1].seq
    assert Cancellations().end("r1", "by Ann")
    assert journal.entries()[-1].seq == last
    # Somebody retries the cancelled run: it does not go on as if the step had ended well.
    with (
        pytest.raises(StepStopped, match="h1: step r1.act: stopped, as the run was cancelled"),
        entered_run(ID, parameters=LAB, run_id="r1"),
    ):
        act.fn("lab", "h1", ["sh", "-c", "sleep 60 | cat"])


def test_a_step_on_its_way_to_the_host_never_begins(cluster: FakeCluster, journal) -> None:
    marker = cluster.folder / "ran"
    killed_at("tasks.steps.start", ["touch", str(marker)])
    assert Cancellations().end("r1", "by Ann")
    assert outcome(journal)["output"].startswith("never begun")
    # The command arrives late.
    shell = world().shell("lab", "h1")
    assert start(Step(shell, "act", ("touch", str(marker)), "r1", world().step_store)) == "attached"
    assert not marker.exists()


def test_a_step_that_had_ended_keeps_its_end(cluster: FakeCluster, journal) -> None:
    killed_at("tasks.steps.wait", ["sh", "-c", "echo well; exit 3"])
    while not (store(cluster) / "r1.act" / "rc").exists():
        pass
    assert Cancellations().end("r1", "by Ann")
    ended = outcome(journal)
    assert (ended["how"], ended["exit_code"], ended["output"]) == ("ended", 3, "well\n")


def test_a_host_that_does_not_answer_is_asked_again_for_a_while(
    cluster: FakeCluster, journal
) -> None:
    killed_at("tasks.steps.wait", ["sleep", "60"])
    cluster.hosts["h1"].trouble = unreachable("h1")
    ending = Cancellations()
    assert not ending.end("r1", "by Ann")
    assert ended_as(journal) == []
    world().clock.sleep(PATIENCE_SECONDS)
    assert ending.end("r1", "by Ann")
    ends = [e for e in journal.entries("r1", kinds=(Kind.RUN,)) if e.phase is Phase.ENDED]
    assert "step r1.act may still be at work on h1" in ends[0].payload["why"]
    cluster.hosts["h1"].trouble = None
    assert Cancellations().end("r1", "by Ann")


def test_a_host_that_answers_again_in_time_is_stopped(cluster: FakeCluster, journal) -> None:
    killed_at("tasks.steps.wait", ["sleep", "60"])
    cluster.hosts["h1"].trouble = unreachable("h1")
    ending = Cancellations()
    assert not ending.end("r1", "by Ann")
    cluster.hosts["h1"].trouble = None
    assert ending.end("r1", "by Ann")
    assert outcome(journal)["how"] == "stopped"


def test_a_host_that_left_the_inventory_is_told_and_stops_nothing_else(
    cluster: FakeCluster, journal
) -> None:
    killed_at("tasks.steps.wait", ["sleep", "60"])
    cluster.hosts.pop("h1")

    def gone(_cluster: str, host: str) -> Any:
        raise InventoryError(f"no host `{host}`")

    ending = Cancellations()
    with use_world(replace(cluster.world, shells=gone)):
        assert not ending.end("r1", "by Ann")
        world().clock.sleep(PATIENCE_SECONDS)
        assert ending.end("r1", "by Ann")
    assert ended_as(journal) == ["cancelled"]


def killed_when(cluster: FakeCluster, step: str) -> None:
    """Run metadata-too-new until a step has its outcome; a gate is never answered."""
    journal = cluster.world.journal

    def die(*_args: object) -> None:
        if any(e.step == step and e.phase is Phase.OUTCOME for e in journal.entries("r1")):
            raise Killed

    cluster.at_gate = die
    for host in cluster.hosts.values():
        host.before = die
    with pytest.raises(Killed), entered_run(ID, parameters=LAB, run_id="r1"):
        BODY("lab")
    for host in cluster.hosts.values():
        host.before = lambda argv: None


def test_a_run_that_waited_at_its_gate_tells_what_it_leaves(cluster: FakeCluster, journal) -> None:
    killed_when(cluster, "read_block_table")
    assert Cancellations().end("r1", "by Ann")
    assert ended_as(journal) == ["cancelled"]
    told = way_back(journal)
    assert "stop_services@h1" in told
    assert "systemctl start ovirt-ha-broker" in told
    held = holder(journal, "lab")
    assert held is None or held.ended


def test_a_run_that_has_only_set_maintenance_leaves_it(cluster: FakeCluster, journal) -> None:
    killed_when(cluster, "enter_global_maintenance")
    assert cluster.block(0).startswith(b"maintenance=1")
    assert Cancellations().end("r1", "by Ann")
    assert cluster.block(0).startswith(b"maintenance=0")


def test_a_run_that_never_began_needs_nothing(cluster: FakeCluster) -> None:
    assert Cancellations().end("nobody", "by Ann")
