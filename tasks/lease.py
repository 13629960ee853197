"""Global maintenance as a lease: who keeps the cluster hands-off, why, and until when.

The run that sets it takes the lease, leaving it gives it back; both are entries of the journal. An
open lease beyond its deadline is overdue: `runbook status` and the watch say so. A file on the
cluster's hosts tells the same to whoever looks there.
"""

from collections.abc import Mapping
from datetime import timedelta

from pydantic import TypeAdapter

from tasks import host_notes
from tasks.env import ShellError, world
from tasks.journal import Draft, Entry, JournalError, Kind, Phase
from tasks.journal_rules import RELEASE_LEASE
from tasks.lease_records import Lease, leases_in
from tasks.limits import NoLimit
from tasks.lock import control_node
from tasks.plan import planning
from tasks.runs import CurrentRun, current_run, log
from tasks.steps import StepFailed
from tasks.waiting import TimedOut
from tasks.witnesses import ReadFailed

__all__ = ["Lease", "end_of_run", "give_back", "give_back_own", "open_leases", "take"]

STEP = "global_maintenance"
FILE = "global-maintenance"
END = "end_of_run"
ENTER, LEAVE = "enter_global_maintenance", "leave_global_maintenance"
TROUBLE = (JournalError, NoLimit, ReadFailed, ShellError, StepFailed, TimedOut)


def take(reason: str, deadline_seconds: float) -> None:
    """Record that the run in force has set global maintenance, why and for how long.

    To be called within the change that set it, once that is proven. The time counts from now.
    A lease that the run has taken in an earlier attempt stands. Nothing is done outside of a run.
    """
    run = current_run()
    if run is None or planning() is not None:
        return
    journal = world().journal
    if any(lease.run_id == run.run_id for lease in open_leases(run.cluster)):
        return
    deadline = world().clock.now() + timedelta(seconds=deadline_seconds)
    owner = journal.run(run.run_id).actor
    payload = {
        "reason": reason,
        "owner": owner,
        "node": control_node(),
        "deadline": deadline.isoformat(timespec="seconds"),
    }
    journal.append(_draft(run, Phase.TAKEN, payload))
    [taken] = [each for each in open_leases(run.cluster) if each.run_id == run.run_id]
    _tell_hosts(run.cluster, _note(taken))


def give_back() -> None:
    """Record that the run in force has left global maintenance: every open lease has ended.

    To be called within the change that left it, once that is proven. Nothing is done outside of
    a run.
    """
    run = current_run()
    if run is None or planning() is not None:
        return
    leases = open_leases(run.cluster)
    if leases:
        payload = {"of_runs": [lease.run_id for lease in leases]}
        world().journal.append(_draft(run, Phase.RELEASED, payload))
        _tell_hosts(run.cluster, "")


def give_back_own() -> None:
    """Record that the runs of this runbook no longer count on it, and that it stays on for others.

    Nothing is done outside of a run.
    """
    run = current_run()
    if run is None or planning() is not None:
        return
    leases = open_leases(run.cluster)
    if own := [each.run_id for each in leases if each.runbook == run.runbook]:
        world().journal.append(_draft(run, Phase.RELEASED, {"of_runs": own}))
        rest = [each for each in leases if each.run_id not in own]
        _tell_hosts(run.cluster, "\n\n".join(map(_note, rest)))


def open_leases(cluster: str | None = None) -> list[Lease]:
    """Return the leases that have not been given back, of one cluster or of all, oldest first."""
    return leases_in(world().journal, world().clock.now(), cluster)


def end_of_run(run: CurrentRun) -> None:
    """Leave global maintenance again if a run that has failed has changed nothing else.

    To be called while the run still holds the cluster's lock. If the run has begun any other
    change, or did not set global maintenance itself, the lease stays open, and so it does if
    leaving fails: the log says it, and the watch tells when it is overdue. A run that has left it
    so cannot be entered again (RunOver).
    """
    if END in run.used or all(lease.run_id != run.run_id for lease in open_leases(run.cluster)):
        return
    run.use(END, object())  # the way back is told at the end, too, and needs this done by then
    entered = world().journal.find(run.run_id, Kind.CHANGE, ENTER, Phase.OUTCOME)
    intent = world().journal.find(run.run_id, Kind.CHANGE, ENTER, Phase.INTENT)
    changes = world().journal.entries(run.run_id, kinds=(Kind.CHANGE,))
    begun = {entry.payload["task"] for entry in changes if entry.phase is Phase.INTENT}
    if entered is None or intent is None or entered.payload["value"] != "changed":
        log().warning("global maintenance was on before this run: it stays on")
    elif others := sorted(begun - {ENTER, LEAVE}):
        log().warning("global maintenance stays on, as more was changed: %s", ", ".join(others))
    else:
        _leave(intent)


def _leave(intent: Entry) -> None:
    # Here, as those modules import this one.
    from tasks.maintenance import leave_global_maintenance  # noqa: PLC0415
    from tasks.run_site import Site  # noqa: PLC0415

    log().info("the run changed nothing but global maintenance: leaving it again")
    site = TypeAdapter(Site).validate_python(intent.payload["inputs"]["site"])
    try:
        leave_global_maintenance.named(RELEASE_LEASE)(site)
    except TROUBLE as error:
        log().error(
            "global maintenance stays on: %s: %s. Leave it with: runbook run"
            " leave-global-maintenance --cluster %s",
            type(error).__name__,
            error,
            site.cluster,
        )


def _draft(run: CurrentRun, phase: Phase, payload: Mapping[str, object]) -> Draft:
    return run.draft(Kind.LEASE, STEP, phase, payload=payload)


def _note(held: Lease) -> str:
    return (
        f"Global maintenance was set by run {held.run_id} ({held.runbook}), started by"
        f" {held.owner or 'unknown'} on {held.node}.\nReason: {held.reason}\n"
        f"To be left by: {held.deadline:%F %T} UTC"
    )


def _tell_hosts(cluster: str, text: str) -> None:
    for host, trouble in host_notes.put_text(cluster, FILE, text).items():
        log().warning("%s: who set global maintenance could not be noted there: %s", host, trouble)
