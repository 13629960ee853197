"""What `runbook status` says of clusters: who holds each, and who keeps it in maintenance."""

from collections.abc import Iterator

from tasks.journal import Journal
from tasks.journal_store import utc_now
from tasks.lease_records import Lease, leases_in


def leases(journal: Journal) -> list[Lease]:
    """Return the open leases of global maintenance of all clusters."""
    return leases_in(journal, utc_now())


def lease_lines(open_leases: list[Lease]) -> Iterator[str]:
    """Yield a line for each lease; an overdue one says what to do."""
    for lease in open_leases:
        yield (
            f"global maintenance of {lease.cluster}: set by {lease.owner or 'unknown'} (run"
            f" {lease.run_id[:8]}, {lease.runbook}: {lease.reason}), to be left by"
            f" {lease.deadline:%F %H:%M} UTC"
            + (f"; OVERDUE: runbook run leave-global-maintenance --cluster {lease.cluster}")
            * lease.overdue
        )
