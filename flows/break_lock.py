"""break-lock: take a cluster's lock from a run that will never give it back."""

from prefect import flow

from tasks.lock_breaking import (
    approve_break,
    cancel_broken_run,
    read_holder,
    read_left_behind,
    require_holder_unchanged,
    require_lock_held,
    take_lock_over,
)
from tasks.report import tells_way_back
from tasks.runs import recorded_run


@flow(name="break-lock", flow_run_name="break-lock {cluster}")
@recorded_run("break-lock", takes_lock=False)
@tells_way_back("break-lock")
def break_lock(cluster: str) -> None:
    """End the run that holds a cluster's lock, whatever has become of it, and free the lock."""
    held = require_lock_held(cluster)
    evidence = read_holder(held)
    # A person's word, then a second look: whoever has written since, lives.
    approve_break(held, evidence)
    require_holder_unchanged(held, evidence)
    take_lock_over(held, evidence)
    cancel_broken_run(held)
    # Nothing of what that run did is undone: it is told.
    read_left_behind(held)
