"""A remote step that is lost: nobody knows whether it did its work, so a person says what follows.

The gate is asked by the flow, never within a task of Prefect's, which could not be suspended.
Where nobody can be asked, in plain Python, StepLost is raised as it is.
"""

from collections.abc import Callable
from typing import Literal, TypeVar

from prefect.context import FlowRunContext, TaskRunContext
from pydantic import Field

from runbooks.catalogue import catalogue
from tasks.env import world
from tasks.gates import GateForm, Risk, TargetForm, gate
from tasks.journal import Kind, Phase
from tasks.plan import planning
from tasks.runs import current_run
from tasks.step_remote import Step, StepLost
from tasks.step_scripts import LOOK
from tasks.steps import AGAIN, IT_WAS_DONE, lost_gate, record_as_done

T = TypeVar("T")

END = "end the run"
SHOWN_CHARACTERS = 6000


Said = Literal["it was done", "run it again", "end the run"]
CHOICES = Field(
    description="it was done: the run goes on, and proves it. run it again: the same command,"
    " once more. end the run: nothing more is done."
)
# These compare what they find with what was approved, and write nothing if it differs: as it does
# once they have written a part of it.
UNREPEATABLE = {
    "write_zeros": "a new run repairs what is left, `runbook undo` writes the backup back",
    "initialise_lockspace": "a new run repairs what is left, `runbook undo` writes the backup back",
    "remove_storage_domain": "look at the storage domain: what is gone of it is gone",
}


class LostForm(GateForm):
    """The form of the gate: what is true, or to be done, is chosen and has no default."""

    outcome: Said = CHOICES


class LostTargetForm(TargetForm):
    """The same in a run that destroys, where the target must be typed."""

    outcome: Said = CHOICES


def through_losses(act: Callable[[], T]) -> T:
    """Return what a step returns; each time that its remote step is lost, a person is asked.

    Raises: StepLost if nobody can be asked or the run is to end; GateRejected, GateExpired.
    """
    while True:
        try:
            return act()
        except StepLost as lost:
            if not _somebody_can_be_asked():
                raise
            _settle(lost)


def _somebody_can_be_asked() -> bool:
    if current_run() is None or planning() is not None or TaskRunContext.get() is not None:
        return False
    return FlowRunContext.get() is not None or world().ask is not None


def _settle(lost: StepLost) -> None:
    this = lost.step
    name = lost_gate(this.name, this.shell.host, this.number)
    asked = world().journal.find(this.run_id, Kind.GATE, name, Phase.INTENT)
    run = world().journal.run(this.run_id)
    # Asked by an earlier version: the form that was shown then is the one that is answered.
    risk: Risk = _risk(run.runbook) if asked is None else asked.payload["risk"]
    destroys = risk == "A3"
    decision = gate(
        name,
        evidence="" if asked is not None else _evidence(this, run.cluster if destroys else ""),
        risk=risk,
        form=LostTargetForm if destroys else LostForm,
        target=run.cluster if destroys else None,
    )
    match decision.fields.get("outcome"):
        case str(said) if said == IT_WAS_DONE:
            record_as_done(this, decision)
        case str(said) if said == AGAIN:
            return  # its next number follows from the decision, which the journal has
        case _:
            raise lost


def _risk(runbook: str) -> Risk:
    """Return the run's own risk, as this decides about its changes; at least A2."""
    entry = catalogue().get(runbook)
    return "A3" if entry is not None and entry.risk == "A3" else "A2"


def _evidence(this: Step, target: str) -> str:
    host = this.shell.host
    said = this.ask(LOOK).checked().stdout[:SHOWN_CHARACTERS]
    return "\n".join(
        [
            f"## Was it done? Step {this.name} on {host}\n",
            f"The command was started on **{host}**, does not run any more, and left no exit code:"
            " it was killed, or the host went down. How far it came, we cannot know.\n",
            f"### What {host} says of it\n",
            "```",
            said.replace("```", "'" * 3).rstrip(),
            "```",
            f"\nAll of it is in `{this.folder}` there. Look at what the command was to change, then"
            " choose:\n",
            "- *it was done*: the run goes on and proves the result itself, as after any command",
            *_again(this.name),
            "- *end the run*: it ends here, and says what it leaves behind and the way back",
            *([f"\nTo approve, type the name of the cluster: `{target}`"] if target else []),
        ]
    )


def _again(step: str) -> list[str]:
    """Return what running it again means: for some it is no way once a part has been written."""
    otherwise = UNREPEATABLE.get(step)
    if otherwise is None:
        return ["- *run it again*: the command is given once more; only if it may be done twice"]
    return [
        "- *run it again*: the command compares first, and **writes nothing if any of it has been"
        f" written already**: then it fails, and the run with it. If so, end the run; {otherwise}"
    ]
