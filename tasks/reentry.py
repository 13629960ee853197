"""Whether a remote step of this run was begun before: then it is attached to, not looked past."""

from tasks.env import world
from tasks.journal import Kind, Phase
from tasks.plan import planning
from tasks.runs import current_run


def begun(host: str, step: str) -> bool:
    """Return whether an earlier attempt of the run in force sent this step to the host.

    A change that finds the wanted state looks away (ALREADY). After a crash that state may be its
    own doing, still under way: then the step's end and exit code are what counts. In a plan that
    has come past a change, what is found now says nothing of then either.
    """
    plan = planning()
    if plan is not None:
        return plan.would_change
    run = current_run()
    if run is None:
        return False
    name = f"{step}@{host}"
    return world().journal.find(run.run_id, Kind.REMOTE, name, Phase.INTENT) is not None
