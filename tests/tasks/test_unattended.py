"""A scheduled run passes a gate by itself only where the policy says so."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from tasks import gate_asked
from tasks.decisions import decision_of
from tasks.env import World, use_world
from tasks.gates import Decision, GateForm, gate
from tasks.policy import Policy, Rules
from tasks.runs import entered_run

ALLOWED = Policy({"A1": Rules(unattended=True, accept_unverified=False)}, Path("policy.toml"))


class WantsMore(GateForm):
    host: str = Field(min_length=1)


class Asked(Exception):
    """A person is asked."""


def passed(world: World, risk: Any, form: type[GateForm] = GateForm) -> Decision:
    def ask(name: str, question: object) -> dict[str, Any]:
        raise Asked

    with (
        use_world(replace(world, ask=ask)),
        entered_run("rb", parameters={"cluster": "lab"}, run_id="r1", mutates=False),
    ):
        return gate("go", evidence="Go?", risk=risk, form=form)


@pytest.fixture
def scheduled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_asked, "started_by_schedule", lambda: True)


@pytest.mark.usefixtures("scheduled")
def test_a_scheduled_run_passes_what_the_policy_names(small_world: World) -> None:
    world = replace(small_world, policy=ALLOWED)
    decision = passed(world, "A1")
    assert (decision.approver, decision.via, decision.verified) == ("schedule", "policy", False)
    assert "unattended" in decision.reason
    assert passed(world, "A1") == decision


@pytest.mark.usefixtures("scheduled")
@pytest.mark.parametrize(
    ("policy", "risk", "form"),
    [
        (ALLOWED, "A2", GateForm),
        (ALLOWED, "A1", WantsMore),
        (Policy(), "A1", GateForm),
    ],
)
def test_and_nothing_else(
    small_world: World, policy: Policy, risk: str, form: type[GateForm]
) -> None:
    with pytest.raises(Asked):
        passed(replace(small_world, policy=policy), risk, form)
    assert decision_of(small_world.journal, "r1", "go") is None


def test_a_run_that_a_person_started_asks(small_world: World) -> None:
    with pytest.raises(Asked):
        passed(replace(small_world, policy=ALLOWED), "A1")
