"""The steps of break-lock: who holds a cluster, does he live, and taking the lock from him."""

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled

from runbooks.catalogue import catalogue
from tasks.env import world
from tasks.gates import TargetForm, gate
from tasks.hosts import host_names
from tasks.journal import Kind, Phase
from tasks.limits import limit
from tasks.lock import Holder, break_lock, holder
from tasks.lock_evidence import (
    HolderEvidence,
    break_evidence,
    evidence_of,
    lease_lines,
    prefect_id,
    step_lines,
)
from tasks.plan import acts_here
from tasks.recorded import Outcome, change, check, look
from tasks.refusal import CheckRefused
from tasks.runs import current_run, log
from tasks.way_back import way_back_lines

GATE = "approve_break"


@check
def require_lock_held(cluster: str) -> Holder:
    """Require that a run which has not ended holds the cluster. Raises CheckRefused."""
    host_names(cluster)  # an unknown cluster is told as such
    held = holder(world().journal, cluster)
    if held is None:
        raise CheckRefused(f"nobody holds cluster {cluster}", "just start the run that you want")
    if held.ended:
        raise CheckRefused(
            f"run {held.run_id}, which held cluster {cluster}, has ended",
            "just start the run that you want: it takes the lock over by itself",
        )
    return held


@look
def read_holder(held: Holder) -> HolderEvidence:
    """Read what tells whether the holder lives: journal, Prefect, and its steps on the hosts."""
    return evidence_of(held)


def approve_break(held: Holder, evidence: HolderEvidence) -> None:
    """Ask for the approval of the break; its run's id is typed. Raises GateRejected and others."""
    gate(
        GATE,
        evidence=break_evidence(held, evidence),
        risk="A2",
        form=TargetForm,
        target=held.run_id,
        expires_seconds=int(limit("gate_expires_seconds")),
    )


@check
def require_holder_unchanged(held: Holder, evidence: HolderEvidence) -> int:
    """Require that the holder has done nothing since; returns its last entry. Raises CheckRefused.

    Who writes, lives: then the approval was given for something else than it is now.
    """
    journal = world().journal
    now = holder(journal, held.cluster)
    if now is None or now.seq != held.seq or now.ended:
        raise CheckRefused(
            f"cluster {held.cluster} is not held any more by run {held.run_id} as it was shown",
            "just start the run that you want; it says who holds the cluster now, if anybody does",
        )
    last = journal.entries(held.run_id)[-1]
    if last.seq != evidence.last_seq:
        raise CheckRefused(
            f"run {held.run_id} lives: it has written entry {last.seq} ({last.kind.value}"
            f" {last.step}) since the approval was asked for",
            f"follow it (runbook follow {held.run_id[:8]}) or cancel it; then look again",
        )
    return last.seq


@change
def take_lock_over(held: Holder, evidence: HolderEvidence) -> Outcome:
    """Take the lock and end the holder for good, in one transaction. Raises ClusterLocked."""
    run = current_run()
    if run is None:
        raise RuntimeError("the lock is taken over by a run only")
    acts_here(f"journal: end run {held.run_id} as lock broken, take the lock of {held.cluster}")
    journal = world().journal
    decided = journal.find(run.run_id, Kind.GATE, GATE, Phase.DECISION)
    if decided is None:
        raise RuntimeError(f"gate `{GATE}` was not passed")
    why = f"approved by {decided.actor}: {decided.payload['reason']}"
    break_lock(
        journal,
        run.run_id,
        held,
        last_seq=evidence.last_seq,
        attempt=run.attempt,
        why=why,
    )
    return Outcome.CHANGED


@change
def cancel_broken_run(held: Holder) -> Outcome:
    """Make Prefect say what the journal says: the run is over."""
    run_id = prefect_id(held.run_id)
    if run_id is None:
        return Outcome.ALREADY
    with get_client(sync_client=True) as client:
        try:
            state = client.read_flow_run(run_id).state
        except ObjectNotFound:
            return Outcome.ALREADY
        if state is not None and state.is_final():
            return Outcome.ALREADY
        acts_here(f"Prefect: set run {held.run_id} to Cancelled")
        run = current_run()
        by = "" if run is None else f" by run {run.run_id}"
        message = f"Its cluster's lock was broken{by}; the journal takes no more of it."
        client.set_flow_run_state(run_id, Cancelled(message=message), force=True)
    return Outcome.CHANGED


@look
def read_left_behind(held: Holder) -> tuple[str, ...]:
    """Read what the broken run leaves behind, and say it."""
    journal = world().journal
    entry = catalogue().get(held.runbook)
    told = () if entry is None else tuple(way_back_lines(journal, held.run_id, entry))
    lines = (
        *told,
        *lease_lines(journal, held.cluster),
        *step_lines(held, journal.entries(held.run_id)),
    )
    log().warning("%s", "\n".join(lines))
    return lines
