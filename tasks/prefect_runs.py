"""What Prefect knows of a run: whether it is over, its stored gate answers, how to resume it."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound

# A crashed run is rescheduled by the heartbeat automation; only later is it taken as over.
CRASHED_FOR_SECONDS = 300


def is_over(run_id: str) -> bool:
    """Tell whether Prefect says that a run can never go on: it ended, or was deleted."""
    try:
        flow_run_id = UUID(run_id)
    except ValueError:
        return False  # not a run of Prefect's, so Prefect cannot tell
    with get_client(sync_client=True) as client:
        try:
            state = client.read_flow_run(flow_run_id).state
        except ObjectNotFound:
            return True
    if state is None or not state.is_final():
        return False
    since = datetime.now(UTC) - state.timestamp
    return not state.is_crashed() or since > timedelta(seconds=CRASHED_FOR_SECONDS)
