"""Enter and leave global maintenance, whole, on fake hosts over a real file."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.enter_global_maintenance import enter_maintenance
from flows.leave_global_maintenance import leave_maintenance
from flows.proposals import PARAMETERS
from runbooks.catalogue import catalogue
from tasks import lease
from tasks.gates import GateRejected
from tasks.journal import Draft, Kind, Phase
from tasks.lease import open_leases
from tasks.plan_run import make_plan
from tasks.proposed import Seen, evidence
from tasks.refusal import CheckRefused
from tasks.runs import CurrentRun, entered_run
from tasks.waiting import TimedOut
from tests.fake_cluster import FakeCluster, fake_cluster
from tests.fake_vm import NO, YES, add_vm

ENTER, LEAVE = "enter-global-maintenance", "leave-global-maintenance"
ENTER_BODY = enter_maintenance.fn.__wrapped__  # type: ignore[attr-defined]
GLOBAL = "hosted-engine --set-maintenance --mode=global"
NONE = "hosted-engine --set-maintenance --mode=none"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with fake_cluster(tmp_path, bad={}) as cluster:
        add_vm(cluster)
        yield cluster


def in_maintenance(cluster: FakeCluster) -> bool:
    return cluster.block(0).startswith(b"maintenance=1")


def given(cluster: FakeCluster, command: str) -> list[str]:
    """Return the hosts on which a command was given, once each time."""
    hosts = cluster.hosts.values()
    return [host.name for host in hosts for call in host.calls() if call.startswith(command)]


def outcome(cluster: FakeCluster, step: str) -> object:
    run = cluster.world.journal.runs("lab")[0]
    entry = cluster.world.journal.find(run.run_id, Kind.CHANGE, step, Phase.OUTCOME)
    return entry and entry.payload["value"]


def way_back(cluster: FakeCluster) -> str:
    journal = cluster.world.journal
    note = journal.find(journal.runs("lab")[0].run_id, Kind.RUN, "way_back", Phase.NOTE)
    assert note is not None
    return "\n".join(note.payload["lines"])


def test_entered_with_reason_and_deadline_and_left_again(cluster: FakeCluster) -> None:
    enter_maintenance.fn("lab", "ticket 12", 2.0)
    assert in_maintenance(cluster)
    assert given(cluster, GLOBAL) == ["h2"]
    [held] = open_leases("lab")
    assert (held.reason, held.overdue, held.runbook) == ("ticket 12", False, ENTER)
    assert 7000 < (held.deadline - cluster.world.clock.now()).total_seconds() <= 7200
    leave_maintenance.fn("lab")
    assert not in_maintenance(cluster)
    assert open_leases("lab") == []
    assert cluster.asked == []


def test_a_lost_write_is_seen_and_the_command_given_again(cluster: FakeCluster) -> None:
    cluster.hosts["h2"].set("lost", "2")
    enter_maintenance.fn("lab", "ticket 12")
    assert in_maintenance(cluster)
    assert given(cluster, GLOBAL) == ["h2"] * 3


def test_a_write_that_is_lost_for_ever_is_no_success(cluster: FakeCluster) -> None:
    cluster.hosts["h2"].set("lost", "99")
    with pytest.raises(TimedOut, match="h1 does not see it in block 0"):
        enter_maintenance.fn("lab", "ticket 12")
    assert open_leases("lab") == []
    assert "leave-global-maintenance" in way_back(cluster)


def test_a_host_that_goes_on_acting_is_told(cluster: FakeCluster) -> None:
    cluster.hosts["h3"].state_override = "EngineDown"
    with pytest.raises(TimedOut, match="3 is in EngineDown"):
        enter_maintenance.fn("lab", "ticket 12")
    assert in_maintenance(cluster) is bool(open_leases("lab"))


def test_it_is_not_set_on_a_host_in_local_maintenance(cluster: FakeCluster) -> None:
    for name in ("h2", "h3"):
        cluster.hosts[name].run(("hosted-engine", "--set-maintenance", "--mode=local"))
    enter_maintenance.fn("lab", "ticket 12")
    # h1 runs the engine VM, but h2 and h3 would lose their local maintenance.
    assert given(cluster, GLOBAL) == ["h1"]
    assert cluster.hosts["h2"].in_local_maintenance


def test_without_a_running_agent_nobody_can_set_it(cluster: FakeCluster) -> None:
    for host in cluster.hosts.values():
        host.set("ovirt-ha-agent", "inactive")
    with pytest.raises(CheckRefused, match="no host has a running agent"):
        enter_maintenance.fn("lab", "ticket 12")
    assert way_back(cluster) == "Nothing has been changed."


def test_on_already_it_is_left_alone_but_held(cluster: FakeCluster) -> None:
    cluster.hosts["h3"].run(("hosted-engine", "--set-maintenance", "--mode=global"))
    enter_maintenance.fn("lab", "ticket 12")
    assert outcome(cluster, "enter_global_maintenance") == "already"
    assert given(cluster, GLOBAL) == ["h3"]
    assert len(open_leases("lab")) == 1


@pytest.mark.parametrize(
    ("reason", "hours", "told"),
    [
        (" ", 8.0, "no reason"),
        ("ticket 12", 0.0, "0 hours"),
        ("ticket 12", -1.0, "-1 hours"),
        ("ticket 12", 721.0, "721 hours"),
        ("ticket 12", float("nan"), "nan hours"),
    ],
)
def test_reason_and_deadline_are_asked_for(
    cluster: FakeCluster, reason: str, hours: float, told: str
) -> None:
    with pytest.raises(CheckRefused, match=told):
        enter_maintenance.fn("lab", reason, hours)
    assert not in_maintenance(cluster)


@pytest.mark.parametrize("nth", range(1, 12))
def test_a_killed_run_goes_on_and_ends_the_same(cluster: FakeCluster, nth: int) -> None:
    calls: list[object] = []

    def kill(argv: object) -> None:
        calls.append(argv)
        if len(calls) == nth * 4:
            raise Killed

    for host in cluster.hosts.values():
        host.before = kill
    run = {"parameters": {"cluster": "lab"}, "run_id": "r1"}
    try:
        with entered_run(ENTER, **run):
            ENTER_BODY("lab", "ticket 12")
    except Killed:
        with entered_run(ENTER, **run):
            ENTER_BODY("lab", "ticket 12")
    assert in_maintenance(cluster)
    assert len(open_leases("lab")) == 1


class Killed(BaseException):
    """Stands for kill -9."""


def test_an_engine_that_is_down_is_asked_about_before_ha_starts_it(cluster: FakeCluster) -> None:
    enter_maintenance.fn("lab", "ticket 12")
    cluster.hosts["h1"].run(("hosted-engine", "--vm-shutdown"))
    cluster.world.clock.sleep(30)
    cluster.answers = [NO]
    with pytest.raises(GateRejected):
        leave_maintenance.fn("lab")
    assert in_maintenance(cluster)
    cluster.answers = [YES]
    cluster.at_gate = lambda: cluster.hosts["h2"].set("vm", "running")
    leave_maintenance.fn("lab")
    assert not in_maintenance(cluster)
    [(_, evidence), _] = cluster.asked
    assert "HA will start the engine VM" in evidence
    assert "ticket 12" in evidence


def test_another_ones_maintenance_is_not_ended_unasked(cluster: FakeCluster) -> None:
    with entered_run("metadata-too-new", parameters={"cluster": "lab"}, run_id="upgrade"):
        cluster.hosts["h3"].run(("hosted-engine", "--set-maintenance", "--mode=global"))
        lease.take("not finished", 60.0)
    cluster.world.clock.sleep(120)
    with pytest.raises(CheckRefused, match="metadata-too-new upgrade.*not finished.*overdue"):
        leave_maintenance.fn("lab")
    assert in_maintenance(cluster)
    leave_maintenance.fn("lab", end_others=True)
    assert not in_maintenance(cluster)
    assert open_leases("lab") == []


def test_a_lease_taken_at_the_gate_stops_the_leaving(cluster: FakeCluster) -> None:
    cluster.hosts["h3"].run(("hosted-engine", "--set-maintenance", "--mode=global"))
    cluster.hosts["h1"].run(("hosted-engine", "--vm-poweroff"))
    cluster.world.clock.sleep(30)

    def somebody_counts_on_it() -> None:
        journal = cluster.world.journal
        run = journal.runs("lab")[0]
        payload = {"reason": "mine", "owner": "bob", "node": "n", "deadline": "2027-01-01T00:00Z"}
        journal.append(Draft(run.run_id, Kind.LEASE, "x", Phase.TAKEN, attempt=1, payload=payload))

    cluster.answers, cluster.at_gate = [YES], somebody_counts_on_it
    with pytest.raises(CheckRefused, match="bob"):
        leave_maintenance.fn("lab")
    assert in_maintenance(cluster)


def test_what_does_not_become_stable_is_told(cluster: FakeCluster) -> None:
    enter_maintenance.fn("lab", "ticket 12")
    cluster.hosts["h1"].set("engine", "dead")
    cluster.hosts["h2"].set("engine", "dead")
    with pytest.raises(TimedOut, match="cluster stable"):
        leave_maintenance.fn("lab")
    assert not in_maintenance(cluster)
    assert "HA acts" in way_back(cluster)


def test_the_block_of_a_dead_host_that_says_up_is_no_engine(cluster: FakeCluster) -> None:
    enter_maintenance.fn("lab", "ticket 12")
    h1 = cluster.hosts["h1"]
    h1.set("ovirt-ha-agent", "inactive")  # its last word is that the VM is up
    (h1.root / "state/vm").unlink()
    cluster.world.clock.sleep(60)
    cluster.answers = [NO]
    with pytest.raises(GateRejected):
        leave_maintenance.fn("lab")
    assert in_maintenance(cluster)
    assert cluster.asked[0][0] == "approve_engine_start"


def test_what_the_monitor_proposes_would_begin_and_lists_the_lease(cluster: FakeCluster) -> None:
    enter_maintenance.fn("lab", "forgotten", 0.01)
    cluster.world.clock.sleep(120)
    given = {"cluster": "lab", **PARAMETERS["forgotten-maintenance"]}
    plan = make_plan(catalogue()[LEAVE], leave_maintenance.fn, given, "monitor")
    assert plan.findings == ()
    run = CurrentRun("r9", 1, "lab", LEAVE, "monitor")
    told = evidence(run, Seen("forgotten-maintenance", "h1", "on", "now"), plan, open_leases("lab"))
    assert "**ends the lease** of run" in told
    assert "forgotten" in told
