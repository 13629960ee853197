"""break-lock on a fake cluster: what is shown, what is refused, and what the broken run can do."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.break_lock import break_lock
from runbooks.catalogue import catalogue
from tasks import lock_breaking
from tasks.audit_verify import verify_journal
from tasks.gates import GateRejected
from tasks.journal import Draft, Kind, LockBroken, Phase, Superseded
from tasks.lease import take
from tasks.lock import acquire, holder
from tasks.plan_run import make_plan
from tasks.refusal import CheckRefused
from tasks.runs import CurrentRun, entered_run
from tasks.steps import run_once
from tests.fake_cluster import FakeCluster, fake_cluster, unreachable

CLUSTER = {"cluster": "lab"}
OLD = "metadata-too-new"
APPROVE = {"decision": "approve", "approver": "bob", "reason": "the node is gone", "target": "old"}
REJECT = {**APPROVE, "decision": "reject"}


class PowerLoss(BaseException):
    """The control node goes, and no code of ours runs any more."""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with fake_cluster(tmp_path, ids=(1, 2)) as made:
        yield made


def left_behind(cluster: FakeCluster) -> CurrentRun:
    """Leave a run without an end: it holds the lock, and a step of it still runs on h1."""
    seen: list[CurrentRun] = []

    def gone(_text: str) -> None:
        raise PowerLoss

    def work() -> None:
        with entered_run(OLD, parameters=CLUSTER, run_id="old") as run:
            seen.append(run)
            take("a repair", 60.0)
            argv = ["sh", "-c", "echo begun; sleep 30"]
            shell = cluster.hosts["h1"]
            run_once(shell, argv, step="write_zeros", timeout_seconds=60, progress=gone)

    with pytest.raises(PowerLoss):
        work()
    return seen[0]


def stop_step(cluster: FakeCluster) -> None:
    from tasks.steps import stop  # noqa: PLC0415

    stop(cluster.hosts["h1"], step="write_zeros", run_id="old")


def test_the_lock_is_broken_and_the_old_process_is_refused(cluster: FakeCluster) -> None:
    run = left_behind(cluster)
    cluster.answers = [APPROVE]
    try:
        break_lock.fn(cluster="lab")
    finally:
        stop_step(cluster)
    ((_, evidence),) = cluster.asked
    for words in (
        "held by run `old`, runbook metadata-too-new",
        "control node ",
        "it is no run of Prefect's",
        "step write_zeros@h1: RUNNING",
        "set by run old (a repair)",
        "type the id of the run: `old`",
    ):
        assert words in evidence
    journal = cluster.world.journal
    assert holder(journal, "lab") is None
    with pytest.raises(Superseded):
        journal.append(run.draft(Kind.CHANGE, "write_zeros", Phase.OUTCOME))
    with pytest.raises(LockBroken), entered_run(OLD, parameters=CLUSTER, run_id="old"):
        pass
    with entered_run(OLD, parameters=CLUSTER, run_id="next"):
        pass
    ended = [e for e in journal.entries("old") if e.phase is Phase.ENDED]
    assert ended[-1].payload["as"] == "lock broken"
    assert "approved by bob: the node is gone" in ended[-1].payload["why"]
    assert verify_journal(journal).faults == ()


def test_nobody_to_break_is_refused(cluster: FakeCluster) -> None:
    with pytest.raises(CheckRefused, match="nobody holds cluster lab"):
        break_lock.fn(cluster="lab")
    with pytest.raises(ValueError, match="planted"), entered_run(OLD, parameters=CLUSTER):
        raise ValueError("planted")
    with pytest.raises(CheckRefused, match="it takes the lock over by itself"):
        break_lock.fn(cluster="lab")
    assert cluster.asked == []


def test_a_holder_that_lives_is_not_broken(cluster: FakeCluster) -> None:
    journal = cluster.world.journal
    with entered_run(OLD, parameters=CLUSTER, run_id="old") as run:
        cluster.answers = [APPROVE]
        cluster.at_gate = lambda: journal.append(run.draft(Kind.LOOK, "look", Phase.NOTE)) and None
        with pytest.raises(CheckRefused, match="run old lives: it has written entry"):
            break_lock.fn(cluster="lab")
        held = holder(journal, "lab")
        assert held is not None
        assert held.run_id == "old"
        journal.append(run.draft(Kind.LOOK, "look", Phase.OUTCOME))


def test_a_rejected_break_changes_nothing(cluster: FakeCluster) -> None:
    with entered_run(OLD, parameters=CLUSTER, run_id="old") as run:
        before = cluster.world.journal.entries("old")
        cluster.answers = [REJECT]
        with pytest.raises(GateRejected):
            break_lock.fn(cluster="lab")
        assert cluster.world.journal.entries("old") == before
        cluster.world.journal.append(run.draft(Kind.LOOK, "look", Phase.OUTCOME))


def test_another_target_does_not_pass(cluster: FakeCluster) -> None:
    with entered_run(OLD, parameters=CLUSTER, run_id="old"):
        cluster.answers = [{**APPROVE, "target": "lab"}, REJECT]
        with pytest.raises(GateRejected):
            break_lock.fn(cluster="lab")
        assert [gate for gate, _ in cluster.asked] == ["approve_break"] * 2


def test_hosts_that_cannot_be_asked_are_told_and_hinder_nothing(cluster: FakeCluster) -> None:
    left_behind(cluster)
    stop_step(cluster)
    for name, host in cluster.hosts.items():
        host.trouble = unreachable(name)
    cluster.answers = [APPROVE]
    break_lock.fn(cluster="lab")
    assert "step write_zeros@h1: unknown, as its host cannot be asked: h1" in cluster.asked[0][1]
    assert holder(cluster.world.journal, "lab") is None


def cut_off_after_the_break() -> None:
    with entered_run("break-lock", parameters=CLUSTER, takes_lock=False, run_id="b1"):
        held = lock_breaking.require_lock_held("lab")
        evidence = lock_breaking.read_holder(held)
        lock_breaking.approve_break(held, evidence)
        lock_breaking.require_holder_unchanged(held, evidence)
        lock_breaking.take_lock_over(held, evidence)
        raise PowerLoss


def test_cut_off_after_the_break_it_goes_on(cluster: FakeCluster) -> None:
    journal = cluster.world.journal
    left_behind(cluster)
    stop_step(cluster)
    cluster.answers = [APPROVE]
    for _ in range(2):
        with pytest.raises(PowerLoss):
            cut_off_after_the_break()
    assert len(cluster.asked) == 1
    broken = [e for e in journal.entries("old") if e.phase is Phase.ENDED]
    assert len(broken) == 1


def test_a_plan_shows_it_and_breaks_nothing(cluster: FakeCluster) -> None:
    left_behind(cluster)
    stop_step(cluster)
    before = cluster.world.journal.head()
    plan = make_plan(catalogue()["break-lock"], break_lock.fn, CLUSTER)
    assert cluster.world.journal.head() == before
    assert plan.findings == ()
    assert any("end run old as lock broken" in " ".join(c.argv) for c in plan.commands)


def test_a_run_may_start_right_after(cluster: FakeCluster) -> None:
    left_behind(cluster)
    stop_step(cluster)
    cluster.answers = [APPROVE]
    break_lock.fn(cluster="lab")
    journal = cluster.world.journal
    attempt = journal.append(Draft("old", Kind.RUN, "x", Phase.NOTE)).attempt
    assert attempt == 0  # a note from outside is taken still: an operator's word
    with entered_run("zero", parameters=CLUSTER, run_id="next") as run:
        acquire(journal, run.run_id, attempt=run.attempt)
