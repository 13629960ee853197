"""No two runs at once on a host either: what an earlier run sent there may still be at work."""

from collections.abc import Iterator

from tasks.env import world
from tasks.hosts import host_names
from tasks.inventory import ENGINE
from tasks.journal import Entry, Kind, Phase
from tasks.recorded import check
from tasks.refusal import CheckRefused
from tasks.runs import current_run
from tasks.step_remote import CLAIMED, RUNNING, Step, state_now

LATEST_RUNS = 200  # of those that sent anything to a host


@check
def require_nothing_under_way(cluster: str) -> tuple[str, ...]:
    """Require that no step of an earlier run still runs on a host; returns those looked at.

    A step outlives its run by design: after `runbook cancel`, a write that hangs on its storage
    would be done at any later time, also after the next run's backup. Raises CheckRefused.
    """
    looked = []
    for this in _unknown_ends(cluster):
        # Claimed is at work, too: its process is about to begin, or never will after a power loss.
        if state_now(this) in (RUNNING, CLAIMED):
            raise CheckRefused(
                f"{this.shell.host}: step {this.step_id} of an earlier run is still at work there",
                f"wait for its end; its process group is the first number in {this.folder}/pid "
                "(without that file after a reboot: it never began, remove the folder)",
            )
        looked.append(this.step_id)
    return tuple(looked)


def _unknown_ends(cluster: str) -> Iterator[Step]:
    """Yield the steps whose intent is in the journal and whose outcome is not."""
    journal, run, hosts = world().journal, current_run(), (*host_names(cluster), ENGINE)
    for earlier in journal.runs(cluster, LATEST_RUNS, that=Kind.REMOTE):
        if run is not None and earlier.run_id == run.run_id:
            continue
        entries = journal.entries(earlier.run_id, kinds=(Kind.REMOTE,))
        ended = {each.step for each in entries if each.phase is Phase.OUTCOME}
        begun = {each.step: each for each in entries if each.phase is Phase.INTENT}
        for step, intent in begun.items():
            if step not in ended and intent.host in hosts:
                yield step_of(cluster, intent)


def step_of(cluster: str, intent: Entry) -> Step:
    """Return the remote step of an intent, under the id that it has on its host."""
    shell = world().shell(cluster, intent.host)
    name = intent.step.removesuffix(f"@{intent.host}")
    again = str(intent.payload["step_id"]).removeprefix(f"{intent.run_id}.{name}")
    number = int(again.lstrip("+") or 1)
    return Step(shell, name, (), intent.run_id, world().step_store, number)
