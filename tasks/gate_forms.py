"""The forms of gates, and the two ways in which a gate ends a run."""

from typing import Literal

from prefect.input import RunInput
from pydantic import Field

from tasks.decisions import Decision

Risk = Literal["A0", "A1", "A2", "A3"]


class GateForm(RunInput):
    """The form of a gate. No field that decides has a default: an empty resume must not pass."""

    decision: Literal["approve", "reject"] = Field(
        description="approve: go on as described. reject: end the run here."
    )
    approver: str = Field(min_length=2, max_length=100, description="Your name")
    reason: str = Field(min_length=3, max_length=2000, description="Why, or a ticket number")


class TargetForm(GateForm):
    """The form of an A3 gate: what is destroyed must be typed."""

    target: str = Field(min_length=1, description="Type what the last line above asks for")


class GateRejected(Exception):
    """A person said no at a gate; the run ends here."""

    ended_as = "rejected"

    def __init__(self, decision: Decision) -> None:
        """Tell who rejected and why."""
        self.decision = decision
        super().__init__(
            f"gate `{decision.gate}` was rejected by {decision.approver}: {decision.reason}"
        )


class GateExpired(Exception):
    """Nobody decided at a gate in time; the run ends here."""

    ended_as = "expired"

    def __init__(self, decision: Decision) -> None:
        """Tell which gate expired."""
        self.decision = decision
        super().__init__(f"gate `{decision.gate}` expired: {decision.reason}")


class ApprovalNotProven(Exception):
    """The journal has an approval that its signatures do not bear out; the run ends here."""

    def __init__(self, gate: str, problem: str) -> None:
        """Tell what is wrong with it."""
        super().__init__(
            f"the approval of gate `{gate}` does not count: {problem}. Nothing was done after the"
            " gate. Look into it with `runbook audit verify`; then start a new run"
        )
