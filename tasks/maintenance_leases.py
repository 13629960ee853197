"""Checks on the leases of global maintenance: whose word keeps the cluster hands-off, and why."""

from tasks.lease import open_leases
from tasks.recorded import check
from tasks.refusal import CheckRefused
from tasks.runs import current_run

ENTER = "enter-global-maintenance"
SHORTEST_REASON = 3
LONGEST_HOURS = 720.0


@check
def require_reason(reason: str, deadline_hours: float) -> float:
    """Require a reason and a deadline for the lease; returns the deadline in seconds from now.

    Raises CheckRefused.
    """
    if len(reason.strip()) < SHORTEST_REASON:
        raise CheckRefused("there is no reason", "say in a few words why, or give a ticket number")
    if not 0 < deadline_hours <= LONGEST_HOURS:
        raise CheckRefused(
            f"a deadline in {deadline_hours:g} hours", f"choose 0 to {LONGEST_HOURS:g} hours"
        )
    return deadline_hours * 3600.0


@check
def require_no_foreign_lease(cluster: str, end_others: bool) -> tuple[str, ...]:
    """Require that nobody else counts on global maintenance, unless that is to end, too.

    Returns a sentence a lease that will end. Raises CheckRefused.
    """
    return _leases(cluster, end_others)


@check
def require_still_no_foreign_lease(cluster: str, end_others: bool) -> tuple[str, ...]:
    """Require the same once more, after the gate. Raises CheckRefused."""
    return _leases(cluster, end_others)


def _leases(cluster: str, end_others: bool) -> tuple[str, ...]:
    """Ours are those that the person of this run took by entering maintenance, and nothing else.

    One that another runbook took belongs to work that is not finished: it is to be continued.
    """
    run = current_run()
    actor = run.actor if run else ""
    told, foreign = [], []
    for each in open_leases(cluster):
        late = ", overdue" if each.overdue else ""
        owner = each.owner or "unknown"
        until = f"until {each.deadline:%F %T} UTC{late}"
        said = f"{each.runbook} {each.run_id[:8]} of {owner} ({each.reason}; {until})"
        told.append(said)
        if each.runbook != ENTER or each.owner != actor:
            foreign.append(said)
    if foreign and not end_others:
        raise CheckRefused(
            f"global maintenance is held by {'; '.join(foreign)}",
            "ask there; then start this again with end_others=true",
        )
    return tuple(told)
