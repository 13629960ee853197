"""How old a backup is that is to be written back, and what was written since."""

from datetime import timedelta

from tasks.env import world
from tasks.journal import Entry, Kind, Phase
from tasks.recorded import look
from tasks.way_back import BACKUP_STEPS, WRITES

LATEST_RUNS = 200  # of those that began a change
MADE_BY = tuple(step for kind, step in BACKUP_STEPS if step.startswith("back_up_"))


@look
def read_history(cluster: str, run_id: str) -> tuple[str, ...]:
    """Return how old a run's backup is, whether that run wrote, and which runs wrote after it."""
    journal = world().journal
    made = [journal.find(run_id, Kind.CHANGE, step, Phase.OUTCOME) for step in MADE_BY]
    backup = next(filter(None, made))
    age = world().clock.now() - backup.at
    lines = [
        f"- the backup was made **{_told(age)} ago**, at {backup.at:%F %T} UTC, by run {run_id}"
        f" ({journal.run(run_id).runbook})"
    ]
    if not _writes(run_id, backup):
        lines.append("- **that run began no write: there is nothing of it to undo**")
    for run in reversed(journal.runs(cluster, LATEST_RUNS, that=Kind.CHANGE)):
        wrote = _writes(run.run_id, backup) if run.run_id != run_id else []
        lines.extend(
            f"- **written since: {each.step} at {each.at:%F %T} UTC by run {run.run_id}"
            f" ({run.runbook}); that is lost**"
            for each in wrote
        )
    return tuple(lines)


def _writes(run_id: str, after: Entry) -> list[Entry]:
    """Return the intents of a run's writes that came after an entry."""
    entries = world().journal.entries(run_id, after.seq, kinds=(Kind.CHANGE,))
    return [each for each in entries if each.phase is Phase.INTENT and each.step in WRITES]


def _told(age: timedelta) -> str:
    hours, minutes = divmod(int(age.total_seconds()) // 60, 60)
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if days else f"{hours} h {minutes} min"
