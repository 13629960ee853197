"""Global maintenance as part of a longer work: a run ends only what it has begun itself.

Whoever keeps the cluster hands-off for a work of his own must find it so when this run is over: HA
would start the engine VM while its disk is being repaired, say.
"""

from enum import Enum

from tasks import lease, maintenance, status
from tasks.env import world
from tasks.journal import Kind, Phase
from tasks.lease import ENTER, open_leases
from tasks.plan import planning
from tasks.recorded import Outcome, change, wait
from tasks.run_site import Site
from tasks.runs import current_run, log
from tasks.witnesses import maintenance_flag


class Left(Enum):
    """What came of leaving global maintenance; as Outcome, and one more."""

    CHANGED = "changed"
    ALREADY = "already"
    KEPT = "kept: it is somebody else's"


@change
def leave_global_maintenance(site: Site) -> Left:
    """Leave global maintenance as tasks.maintenance does; another's stays, our lease ends.

    It has that step's name, as it is that step: the lease of a run goes by it. Raises TimedOut.
    """
    keeper = kept_by(site.cluster, on_before=_on_before(site))
    if keeper is None:
        return Left(maintenance.leave_global_maintenance.function(site).value)
    log().warning("global maintenance stays on: it is kept by %s", keeper)
    lease.give_back_own()
    return Left.KEPT


@wait
def wait_until_stable(site: Site, left: Left) -> str:
    """Wait as tasks.status does; where maintenance was kept, until all live hosts are in it.

    Returns the engine's host, or how it ended. Raises TimedOut.
    """
    if left is not Left.KEPT:
        return status.wait_until_stable.function(site)
    live = maintenance.wait_until_hands_off.function(site)
    return f"in global maintenance, as before the run: host id {', '.join(map(str, live))}"


def kept_by(cluster: str, *, on_before: bool) -> str | None:
    """Return who keeps global maintenance when this run is done with it, in words; or None.

    `on_before`: it was on when the run came to set it. What a run of the same runbook has set and
    not left is this run's to leave: it finishes that work.
    """
    run = current_run()
    if run is None:
        return None
    leases = open_leases(cluster)
    others = [each for each in leases if each.runbook != run.runbook]
    if others:
        return "; ".join(
            f"run {each.run_id[:8]} ({each.runbook}) of {each.owner or 'unknown'}: {each.reason}"
            for each in others
        )
    if not on_before or any(_has_set_it(each.run_id) for each in leases):
        return None
    return "somebody who set it by hand"


def leaving_line(cluster: str, *, on_before: bool, engine_hosts: tuple[str, ...]) -> str:
    """Return what becomes of global maintenance and of the engine VM at the end, for a gate."""
    keeper = kept_by(cluster, on_before=on_before)
    if keeper is not None:
        return (
            f"- global maintenance **stays on** at the end of the run: it is kept by {keeper}; "
            "HA does not act before it is left there"
        )
    runs = f"ran on {', '.join(engine_hosts)}" if engine_hosts else "was **down: HA will start it**"
    before = "was already on" if on_before else "was off"
    return (
        f"- when the run leaves global maintenance (before the run it {before}), HA acts again; "
        f"the engine VM {runs}"
    )


def _on_before(site: Site) -> bool:
    if planning() is not None:
        return maintenance_flag(site.read(site.witness))
    run = current_run()
    return run is not None and not _has_set_it(run.run_id)


def _has_set_it(run_id: str) -> bool:
    """Whether a run set it: its step says so, or has begun and told no end."""
    journal = world().journal
    if journal.find(run_id, Kind.CHANGE, ENTER, Phase.INTENT) is None:
        return False
    entry = journal.find(run_id, Kind.CHANGE, ENTER, Phase.OUTCOME)
    return entry is None or entry.payload["value"] != Outcome.ALREADY.value
