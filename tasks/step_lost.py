"""A remote step that is lost: nobody knows whether it did its work, so a person says what follows.

The gate is asked by the flow, never within a task of Prefect's, which could not be suspended.
Where nobody can be asked, in plain Python, StepLost is raised as it is.
"""

from collections.abc import Callable
from typing import Literal, TypeVar

from prefect.context import FlowRunContext, TaskRunContext
from pydantic import Field

from tasks.env import world
from tasks.gates import GateForm, gate
from tasks.journal import Kind, Phase
from tasks.plan import planning
from tasks.runs import current_run
from tasks.step_remote import Step, StepLost
from tasks.step_scripts import LOOK
from tasks.steps import AGAIN, IT_WAS_DONE, lost_gate, record_as_done

T = TypeVar("T")

END = "end the run"
SHOWN_CHARACTERS = 6000


class LostForm(GateForm):
    """The form of the gate: what is true, or to be done, is chosen and has no default."""

    outcome: Literal["it was done", "run it again", "end the run"] = Field(
        description="it was done: the run goes on, and proves it. run it again: the same command,"
        " once more. end the run: nothing more is done."
    )


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
    evidence = "" if asked is not None else _evidence(this)
    decision = gate(name, evidence=evidence, risk="A2", form=LostForm)
    match decision.fields.get("outcome"):
        case str(said) if said == IT_WAS_DONE:
            record_as_done(this, decision)
        case str(said) if said == AGAIN:
            return  # its next number follows from the decision, which the journal has
        case _:
            raise lost


def _evidence(this: Step) -> str:
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
            "- *run it again*: the command is given once more; only if it may be done twice",
            "- *end the run*: it ends here, and says what it leaves behind and the way back",
        ]
    )
