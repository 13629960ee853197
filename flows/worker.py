"""A worker: executes the runs of a Prefect work pool; `python -m flows.worker POOL`.

In the place of the embedded runner, or beside it on other machines that share the journal.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Iterable
from types import FrameType

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists
from prefect.workers.process import ProcessWorker

from flows import journal_sweep
from flows.runner import catalogue_deployments
from flows.server import Place, serving_pid
from tasks.settings import settings

POOL_TYPE = "process"


def work(pool: str, deployments: Iterable[RunnerDeployment]) -> None:
    """Give the pool the deployments, then execute its runs until killed."""
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)  # `_end_with_all_runs` ends the group
    # Prefect's worker was seen to ignore a first SIGTERM, and its shutdown cancels what runs.
    signal.signal(signal.SIGTERM, _end_with_all_runs)
    make_pool(pool)
    for each in deployments:
        each.work_pool_name = pool
        each.apply()
    if serving_pid(Place(settings().home.absolute())) is not None:
        journal_sweep.start()  # once for all machines: by the one that has the server
    worker = ProcessWorker(work_pool_name=pool, name=f"{os.uname().nodename}-{os.getpid()}")
    asyncio.run(worker.start(printer=_say))


def make_pool(pool: str) -> None:
    """Create the process work pool if there is none of this name."""
    with get_client(sync_client=True) as client:
        try:
            client.create_work_pool(WorkPoolCreate(name=pool, type=POOL_TYPE))
        except ObjectAlreadyExists:
            return


def _end_with_all_runs(_number: int, _frame: FrameType | None) -> None:
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def main() -> int:
    """Work for the pool that the command line names."""
    work(sys.argv[1], catalogue_deployments())
    return 0


if __name__ == "__main__":
    sys.exit(main())
