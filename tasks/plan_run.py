"""Making the plan of a runbook: its flow in plan mode, and what its entry says beyond that."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from runbooks.catalogue import Entry
from tasks.env import world
from tasks.lock import BREAK_LOCK, holder
from tasks.plan import LeavePlan, LeaveStep, Plan, PlanImpossible, PlanPart, State, plan_mode
from tasks.runs import planned_run


def make_plan(
    entry: Entry,
    procedure: Callable[..., object],
    parameters: Mapping[str, Any],
    actor: str = "",
) -> Plan:
    """Return what a run of a runbook would do now; `procedure` is its flow's function.

    `actor` is who would start the run. Only looks and checks are made on the hosts, no journal is
    written and no lock is taken.
    Raises: InventoryError; PlanImpossible, which is a defect of the runbook.
    """
    cluster = str(parameters["cluster"])
    world().inventory.cluster(cluster)  # a cluster that is unknown is no finding
    says = {part.name: part.says for part in entry.procedure}
    with planned_run(entry.id, cluster, actor), plan_mode(says) as plan:
        try:
            procedure(**parameters)
        except LeavePlan:
            plan.parts.extend(_not_reached(entry, plan.parts))
        except LeaveStep as left:
            raise PlanImpossible("a remote command stands in no step of the flow") from left
        except Exception as error:
            last = plan.parts[-1].step if plan.parts else "its beginning"
            raise PlanImpossible(
                f"{entry.id}: after `{last}`: {error}; what follows needs its `foretold`"
            ) from error
    held = () if entry.id == BREAK_LOCK else _held(cluster)
    findings = (*held, *_refusals(plan.parts))
    return Plan(entry.id, cluster, dict(parameters), tuple(plan.parts), findings)


def _held(cluster: str) -> Iterator[str]:
    held = holder(world().journal, cluster)
    if held is not None and not held.ended:
        yield (
            f"cluster {cluster} is held by run {held.run_id[:8]} (runbook {held.runbook}):"
            " a run started now would be refused"
        )


def _refusals(parts: list[PlanPart]) -> Iterator[str]:
    for part in parts:
        if part.state is State.REFUSED:
            yield f"{part.step}: {part.detail}"


def _not_reached(entry: Entry, parts: list[PlanPart]) -> Iterator[PlanPart]:
    known = entry.names
    at = known.index(parts[-1].task) if parts[-1].task in known else len(known)
    for part in entry.procedure[at + 1 :]:
        yield PlanPart(part.kind.value, part.name, part.name, "", part.says, State.NOT_REACHED)
