"""The runner: executes the runs of every runbook; `python -m flows.runner`."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from prefect.deployments.runner import RunnerDeployment
from prefect.runner import Runner

from flows import journal_sweep
from flows.deployments import deployment
from flows.propose import proposing
from flows.schedules import schedules_of
from runbooks.catalogue import catalogue
from tasks.inventory import InventoryError, load_inventory
from tasks.settings import settings


class DurableRunner(Runner):
    """A runner whose end is never the end of its runs.

    Prefect's own shutdown cancels what is running, and a cancelled run is over.  Ours ends at
    once with all its runs: they are found without a process and continue at the next start.
    """

    def handle_sigterm(self, *_args: Any, **_kwargs: Any) -> None:
        os.killpg(os.getpgrp(), signal.SIGKILL)


def run(deployments: Iterable[RunnerDeployment]) -> None:
    """Register the deployments and execute their runs until killed."""
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)  # `handle_sigterm` ends the group
    runner = DurableRunner(name="runbooks", pause_on_shutdown=False)
    for each in deployments:
        runner.add_deployment(each)
    journal_sweep.start()
    asyncio.run(runner.start())


def catalogue_deployments() -> Iterator[RunnerDeployment]:
    """Return a deployment of each runbook; without a readable inventory names are typed.

    And one of what turns the monitor's events into proposed runs of them.
    """
    try:
        inventory = load_inventory(settings().inventory_path()).clusters
    except InventoryError as error:
        sys.stderr.write(f"no choice of clusters and hosts in the forms: {error}\n")
        inventory = {}
    clusters = {name: [host.name for host in each.hosts] for name, each in inventory.items()}
    runbooks = (
        deployment(entry, clusters, schedules_of(entry.id, inventory))
        for entry in catalogue().values()
    )
    return chain(runbooks, (proposing(),))


def main() -> int:
    """Serve the catalogue."""
    run(catalogue_deployments())
    return 0


if __name__ == "__main__":
    sys.exit(main())
