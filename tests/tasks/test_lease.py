"""Global maintenance as a lease: taken, given back, overdue, and left by a run that failed."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.env import use_world
from tasks.journal import Kind, Phase, RunOver
from tasks.lease import give_back, open_leases, take
from tasks.lock import control_node
from tasks.maintenance import enter_global_maintenance, leave_global_maintenance
from tasks.metadata import Target
from tasks.recorded import Outcome, change
from tasks.report import tells_way_back
from tasks.run_site import Site
from tasks.runs import entered_run
from tests.fake_cluster import TARGET, FakeCluster, fake_cluster, unreachable
from tests.fake_host import SIZE_BYTES

CLUSTER = {"cluster": "lab"}
RUNBOOK = "metadata-too-new"  # its entry has the limits of maintenance
SITE = Site("lab", Target(TARGET, "regular file", SIZE_BYTES, ()), "h1", "h2", ("h2",))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with fake_cluster(tmp_path, ids=(1, 2), bad={}) as made:
        yield made


def note(cluster: FakeCluster, host: str) -> str:
    file = Path(cluster.hosts[host].here("/var/lib/hosted-engine-runbooks/global-maintenance"))
    return file.read_text() if file.exists() else ""


def in_maintenance(cluster: FakeCluster) -> bool:
    return cluster.block(0).startswith(b"maintenance=1")


def run(work: Callable[[], object], run_id: str = "r1") -> None:
    with entered_run(RUNBOOK, parameters=CLUSTER, run_id=run_id):
        work()


def failing(*works: Callable[[], object], run_id: str = "r1") -> None:
    def work() -> None:
        for each in works:
            each()
        raise ValueError("planted")

    with pytest.raises(ValueError, match="planted"):
        run(work, run_id)


@change
def stop_something(site: Site) -> Outcome:
    """Stand for any other change."""
    return Outcome.CHANGED


@change
def fail_to_stop(site: Site) -> Outcome:
    """Stand for a change that is begun and fails."""
    raise ValueError("planted")


def test_it_is_taken_with_owner_reason_and_deadline(cluster: FakeCluster) -> None:
    run(lambda: take("upgrade of ticket 7", 600.0))
    (lease,) = open_leases("lab")
    assert (lease.run_id, lease.runbook, lease.reason) == ("r1", RUNBOOK, "upgrade of ticket 7")
    assert lease.node == control_node()
    assert not lease.overdue
    assert lease.deadline == cluster.world.clock.now().replace(minute=10)
    for host in ("h1", "h2"):
        assert "Reason: upgrade of ticket 7" in note(cluster, host)
        assert "To be left by: 2026-11-22 12:10:00 UTC" in note(cluster, host)
    assert open_leases("other") == []
    cluster.world.clock.sleep(601)
    assert open_leases()[0].overdue


def test_a_later_attempt_does_not_take_it_twice(cluster: FakeCluster) -> None:
    failing(lambda: take("x", 600.0))
    run(lambda: take("x", 600.0))
    taken = [e for e in cluster.world.journal.entries() if e.kind is Kind.LEASE]
    assert len(taken) == 1


def test_given_back_by_whoever_leaves(cluster: FakeCluster) -> None:
    run(lambda: take("one", 600.0))
    run(lambda: take("two", 600.0), "r2")
    run(give_back, "r3")
    assert open_leases() == []
    last = [e for e in cluster.world.journal.entries() if e.kind is Kind.LEASE][-1]
    assert (last.run_id, last.phase) == ("r3", Phase.RELEASED)
    assert last.payload == {"of_runs": ["r1", "r2"]}
    assert note(cluster, "h1") == ""
    run(give_back, "r4")
    assert [e for e in cluster.world.journal.entries() if e.kind is Kind.LEASE][-1] == last


def test_another_cluster_keeps_its_own(cluster: FakeCluster) -> None:
    text = cluster.world.inventory.model_dump_json().replace('"lab"', '"prod"')
    both = cluster.world.inventory.model_validate_json(text).clusters
    inventory = cluster.world.inventory.model_copy(
        update={"clusters": {**cluster.world.inventory.clusters, **both}}
    )
    with use_world(replace(cluster.world, inventory=inventory)):
        run(lambda: take("one", 600.0))
        with entered_run(RUNBOOK, parameters={"cluster": "prod"}, run_id="p1"):
            take("two", 600.0)
            give_back()
        assert [lease.cluster for lease in open_leases()] == ["lab"]


def test_outside_of_a_run_nothing_is_recorded(cluster: FakeCluster) -> None:
    take("x", 1.0)
    give_back()
    assert cluster.world.journal.entries() == []


def test_a_host_that_does_not_answer_hinders_no_lease(
    cluster: FakeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.hosts["h2"].trouble = unreachable("h2")
    run(lambda: take("x", 600.0))
    assert len(open_leases()) == 1
    assert "h2: who set global maintenance could not be noted there" in caplog.text


def test_a_failed_run_that_set_only_maintenance_leaves_it(cluster: FakeCluster) -> None:
    failing(lambda: enter_global_maintenance(SITE))
    assert not in_maintenance(cluster)
    assert open_leases() == []
    journal = cluster.world.journal
    released = journal.find("r1", Kind.CHANGE, "release_lease", Phase.OUTCOME)
    assert released is not None
    assert released.payload["value"] == "changed"
    end = journal.entries("r1")[-1]
    assert (end.phase, end.payload["as"]) == (Phase.ENDED, "failed")


@pytest.mark.parametrize("other", [stop_something, fail_to_stop])
def test_a_failed_run_that_changed_more_keeps_it(
    cluster: FakeCluster, other: Callable[[Site], Outcome], caplog: pytest.LogCaptureFixture
) -> None:
    failing(lambda: enter_global_maintenance(SITE), lambda: other(SITE))
    assert in_maintenance(cluster)
    assert [lease.run_id for lease in open_leases("lab")] == ["r1"]
    assert "global maintenance stays on, as more was changed" in caplog.text


def test_maintenance_that_was_on_before_is_not_left_by_the_run(cluster: FakeCluster) -> None:
    cluster.put(0, b"maintenance=1".ljust(4096, b"\0"))
    failing(lambda: enter_global_maintenance(SITE))
    assert in_maintenance(cluster)


def test_a_run_that_completes_keeps_its_lease(cluster: FakeCluster) -> None:
    run(lambda: enter_global_maintenance(SITE))
    assert in_maintenance(cluster)
    assert len(open_leases("lab")) == 1
    run(lambda: leave_global_maintenance(SITE), "r2")
    assert not in_maintenance(cluster)
    assert open_leases("lab") == []


def test_leaving_that_fails_is_told_and_the_first_error_stays(
    cluster: FakeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    def gone() -> None:
        cluster.hosts["h1"].trouble = unreachable("h1")

    failing(lambda: enter_global_maintenance(SITE), gone)
    assert in_maintenance(cluster)
    assert len(open_leases("lab")) == 1
    assert "global maintenance stays on: HostUnreachable" in caplog.text
    assert cluster.world.journal.entries("r1")[-1].payload["why"] == "ValueError: planted"


def test_leaving_that_fails_is_tried_and_told_once(
    cluster: FakeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    def gone() -> None:
        cluster.hosts["h1"].trouble = unreachable("h1")

    @tells_way_back(RUNBOOK)
    def flow() -> None:
        enter_global_maintenance(SITE)
        gone()
        raise ValueError("planted")

    with pytest.raises(ValueError, match="planted"):
        run(flow)
    assert caplog.text.count("global maintenance stays on: ") == 1
    assert "StepNameReused" not in caplog.text


def test_a_run_that_left_it_cannot_go_on_without_it(cluster: FakeCluster) -> None:
    failing(lambda: enter_global_maintenance(SITE))
    with pytest.raises(RunOver, match="it left global maintenance again, so it cannot go on"):
        run(lambda: enter_global_maintenance(SITE))
    run(lambda: enter_global_maintenance(SITE), "r2")
    assert in_maintenance(cluster)


def test_nor_can_one_whose_leaving_is_uncertain(cluster: FakeCluster) -> None:
    def gone() -> None:
        cluster.hosts["h1"].trouble = unreachable("h1")

    failing(lambda: enter_global_maintenance(SITE), gone)
    cluster.hosts["h1"].trouble = None
    with pytest.raises(RunOver):
        run(lambda: enter_global_maintenance(SITE))


def test_the_way_back_tells_that_it_was_left(cluster: FakeCluster) -> None:
    @tells_way_back(RUNBOOK)
    def work() -> None:
        enter_global_maintenance(SITE)
        raise ValueError("planted")

    with pytest.raises(ValueError, match="planted"):
        run(work)
    told = cluster.world.journal.find("r1", Kind.RUN, "way_back", Phase.NOTE)
    assert told is not None
    (line,) = told.payload["lines"]
    assert line == "Global maintenance was set, and left again: nothing else has been changed."
