"""The open leases of global maintenance, as the journal has them; needs no Prefect."""

from dataclasses import dataclass
from datetime import datetime

from tasks.journal import Entry, Journal, Kind, Phase


@dataclass(frozen=True, slots=True)
class Lease:
    """One run's word that the cluster is to stay in global maintenance for a while."""

    run_id: str
    owner: str
    reason: str
    deadline: datetime
    overdue: bool
    cluster: str
    runbook: str
    node: str
    since: datetime


def leases_in(journal: Journal, now: datetime, cluster: str | None = None) -> list[Lease]:
    """Return the open leases of a journal; `now` tells which are overdue."""
    taken: dict[tuple[str, str], Entry] = {}
    for entry in journal.entries(kinds=(Kind.LEASE,)):
        if entry.phase is Phase.TAKEN:
            taken[entry.cluster, entry.run_id] = entry
        elif entry.phase is Phase.RELEASED:
            # All of the cluster's, as the flag is one for all; or the own, and the flag stays.
            for run_id in entry.payload["of_runs"]:
                taken.pop((entry.cluster, run_id), None)
    return [
        _lease(journal, entry, now)
        for entry in taken.values()
        if cluster is None or entry.cluster == cluster
    ]


def _lease(journal: Journal, entry: Entry, now: datetime) -> Lease:
    was = entry.payload
    deadline = datetime.fromisoformat(was["deadline"])
    return Lease(
        run_id=entry.run_id,
        owner=was["owner"],
        reason=was["reason"],
        deadline=deadline,
        overdue=now > deadline,
        cluster=entry.cluster,
        runbook=journal.run(entry.run_id).runbook,
        node=was["node"],
        since=entry.at,
    )
