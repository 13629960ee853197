"""Recorded steps: once a run, answered from the journal afterwards, under unique names."""

import time
from dataclasses import dataclass, replace

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

from tasks.env import LostContact, World, use_world
from tasks.journal import Journal, Kind, Phase, Superseded
from tasks.lock import LockNotHeld, holder
from tasks.recorded import Outcome, change, check, look, wait
from tasks.runs import StepNameReused, entered_run, recorded_run

calls: list[str] = []


@dataclass(frozen=True, slots=True)
class Seen:
    host: str
    blocks: tuple[int, ...]


@look
def read_blocks(cluster: str, host: str) -> tuple[Seen, ...]:
    """Read the blocks."""
    calls.append(f"read {host}")
    return (Seen(host, (1, 52)),)


@change
def write_blocks(cluster: str, host: str, blocks: tuple[int, ...] = ()) -> Outcome:
    calls.append(f"write {host} {blocks}")
    return Outcome.CHANGED


@check
def require_quiet(cluster: str) -> None:
    calls.append("check")


@wait
def wait_until_quiet(cluster: str, timeout_seconds: float) -> bool:
    calls.append(f"wait {timeout_seconds}")
    return True


@change
def fail(cluster: str) -> None:
    calls.append("fail")
    raise RuntimeError("no space left")


@pytest.fixture(autouse=True)
def forget_calls() -> None:
    calls.clear()


def in_run(mutates: bool = True):
    return entered_run("rb", parameters={"cluster": "lab"}, mutates=mutates, run_id="r1")


def test_outside_of_a_run_it_just_calls() -> None:
    assert write_blocks.fn("lab", "h1") is Outcome.CHANGED
    assert write_blocks("lab", "h1") is Outcome.CHANGED
    assert calls == ["write h1 ()"] * 2


def test_a_later_attempt_answers_from_the_journal(small_world: World) -> None:
    with in_run():
        first = (read_blocks("lab", "h1"), write_blocks("lab", "h1"), require_quiet("lab"))
    with in_run():
        assert (read_blocks("lab", "h1"), write_blocks("lab", "h1"), require_quiet("lab")) == first
    assert calls == ["read h1", "write h1 ()", "check"]
    assert first[0] == (Seen("h1", (1, 52)),)


def test_intent_before_and_outcome_after_are_written(small_world: World, journal: Journal) -> None:
    with in_run():
        write_blocks("lab", "h1", blocks=(52,))
    mine = [entry for entry in journal.entries("r1") if entry.kind is Kind.CHANGE]
    assert [(e.phase, e.step, e.host) for e in mine] == [
        (Phase.INTENT, "write_blocks@h1", "h1"),
        (Phase.OUTCOME, "write_blocks@h1", "h1"),
    ]
    assert mine[0].payload["inputs"] == {"cluster": "lab", "host": "h1", "blocks": [52]}
    assert mine[1].payload["value"] == "changed"


def test_a_step_that_failed_is_entered_again(small_world: World, journal: Journal) -> None:
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no space"), in_run():
            fail("lab")
    assert calls == ["fail", "fail"]
    phases = [e.phase for e in journal.entries("r1") if e.step == "fail"]
    assert phases == [Phase.INTENT, Phase.FAILURE] * 2
    ended = [e.payload for e in journal.entries("r1") if e.phase is Phase.ENDED]
    assert ended[0] == {"as": "failed", "why": "RuntimeError: no space left"}


def test_a_name_used_twice_in_one_attempt_is_refused(small_world: World) -> None:
    with in_run():
        read_blocks("lab", "h1")
        read_blocks("lab", "h2")
        read_blocks.named("again@h1")("lab", "h1")
        with pytest.raises(StepNameReused, match="`read_blocks@h1` is used twice"):
            read_blocks("lab", "h1")
    assert calls == ["read h1", "read h2", "read h1"]


def test_a_name_used_for_something_else_later_is_refused(small_world: World) -> None:
    with in_run():
        read_blocks.named("x")("lab", "h1")
    with in_run(), pytest.raises(StepNameReused, match="recorded as look read_blocks"):
        write_blocks.named("x")("lab", "h1")


def test_other_arguments_than_recorded_are_refused_but_limits_may_change(
    small_world: World,
) -> None:
    with in_run():
        write_blocks("lab", "h1", (52,))
        wait_until_quiet("lab", 10)
    with in_run():
        wait_until_quiet("lab", timeout_seconds=99)
        with pytest.raises(StepNameReused, match="other arguments"):
            write_blocks("lab", "h1", (53,))
    assert calls == ["write h1 (52,)", "wait 10"]


def test_a_change_needs_the_cluster_lock(small_world: World) -> None:
    with in_run(mutates=False):
        read_blocks("lab", "h1")
        with pytest.raises(LockNotHeld):
            write_blocks("lab", "h1")
    assert calls == ["read h1"]


def test_a_superseded_process_changes_nothing_more(small_world: World, journal: Journal) -> None:
    def go_on() -> None:
        with in_run():
            read_blocks("lab", "h1")
            with in_run():
                pass  # the successor came and went
            write_blocks("lab", "h1")

    with pytest.raises(Superseded):
        go_on()
    assert calls == ["read h1"]
    assert [e.phase for e in journal.entries("r1") if e.kind is Kind.RUN] == [
        Phase.ATTEMPT,
        Phase.ATTEMPT,
        Phase.ENDED,
    ]


def test_the_lock_is_released_at_the_end_and_kept_by_a_failure(
    small_world: World, journal: Journal
) -> None:
    with in_run():
        assert holder(journal, "lab") is not None
    assert holder(journal, "lab") is None
    with pytest.raises(RuntimeError), in_run():
        fail("lab")
    left = holder(journal, "lab")
    assert left is not None
    assert left.ended


@flow(name="sample", retries=0)
@recorded_run("sample")
def sample(cluster: str, host: str = "h1", lose: int = 0) -> str:
    """Do a little.

    Args:
        cluster: the cluster's name
        host: the host to write on
    """
    read_blocks(cluster, host)
    lossy(cluster, lose)
    return write_blocks(cluster, host).value


@look
def lossy(cluster: str, lose: int) -> int:
    calls.append("lossy")
    if calls.count("lossy") <= lose:
        raise LostContact("planted")
    return 1


def task_states(run_id: str, count: int) -> list[tuple[str, str]]:
    """Return name and state of a run's task runs; the server learns of them a little later."""
    ours = FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))
    with get_client(sync_client=True) as client:
        for _ in range(100):
            runs = client.read_task_runs(flow_run_filter=ours)
            states = sorted((run.name, run.state.name) for run in runs if run.state)
            if len(states) == count and all(run.state.is_final() for run in runs):
                return states
            time.sleep(0.1)
    raise AssertionError(f"the server has {states}")


@pytest.mark.slow
@pytest.mark.usefixtures("prefect")
class TestInPrefect:
    def test_answered_steps_end_in_a_state_of_their_own(
        self, small_world: World, journal: Journal
    ) -> None:
        @flow(name="twice")
        def twice() -> list[str]:
            seen = []
            for _ in range(2):
                with entered_run("twice", parameters={"cluster": "lab"}):
                    seen.append(write_blocks("lab", "h1").value)
            return seen

        assert twice() == ["changed", "changed"]
        run_id = journal.runs()[0].run_id
        assert task_states(run_id, 2) == [
            ("write_blocks@h1", "Completed"),
            ("write_blocks@h1", "Recorded"),
        ]
        assert calls == ["write h1 ()"]

    def test_only_lost_contact_is_tried_again_and_not_for_ever(self, small_world: World) -> None:
        assert sample("lab", lose=1) == "changed"
        assert calls.count("lossy") == 2
        with use_world(replace(small_world, lost_contact_retries=1)):
            with pytest.raises(LostContact):
                sample("lab", lose=99)
            assert calls.count("lossy") == 4

    def test_other_trouble_is_not_tried_again(self, small_world: World) -> None:
        @flow
        @recorded_run("failing")
        def failing(cluster: str) -> None:
            fail(cluster)

        with pytest.raises(RuntimeError, match="no space"):
            failing("lab")
        assert calls == ["fail"]

    def test_run_id_and_parameters_are_prefects(self, small_world: World, journal: Journal) -> None:
        sample("lab")
        run = journal.runs()[0]
        assert (run.runbook, run.cluster, run.via) == ("sample", "lab", "prefect")
        assert run.parameters == {"cluster": "lab", "host": "h1", "lose": 0}
        assert task_states(run.run_id, 3)[2] == ("write_blocks@h1", "Completed")

    def test_the_form_keeps_its_parameters_and_their_descriptions(self) -> None:
        fields = sample.parameters.properties
        assert list(fields) == ["cluster", "host", "lose"]
        assert fields["cluster"]["description"] == "the cluster's name"
