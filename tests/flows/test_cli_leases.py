"""The lines of `runbook status` about global maintenance."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from flows.cli_leases import lease_lines, leases
from tasks.journal import Draft, Journal, Kind, Phase, Run


def test_open_and_overdue_leases_are_told(tmp_path: Path) -> None:
    journal = Journal(f"sqlite:///{tmp_path / 'journal.db'}")
    now = datetime.now(UTC)
    for run_id, minutes in (("r1", 10), ("r2", -10)):
        cluster = f"c-{run_id}"
        run = Run(run_id, "upgrade", cluster, {"cluster": cluster}, "ann", "test", now, 0)
        attempt = journal.open_run(run).attempt
        deadline = (now + timedelta(minutes=minutes)).isoformat(timespec="seconds")
        taken = {"reason": "ticket 7", "owner": "ann", "node": "n", "deadline": deadline}
        journal.append(
            Draft(run_id, Kind.LEASE, "global_maintenance", Phase.TAKEN, attempt, payload=taken)
        )
    first, second = lease_lines(leases(journal))
    assert first.startswith("global maintenance of c-r1: set by ann (run r1, upgrade: ticket 7)")
    assert "OVERDUE" not in first
    assert second.endswith("OVERDUE: runbook run leave-global-maintenance --cluster c-r2")
