"""A plan to read on a terminal, and the same on paper: a checklist for use without us.

On paper a plan stands by itself: what the hosts were asked is filled in, and what they did not
answer is as the entry has it.
"""

import shlex
from collections.abc import Iterator, Sequence
from textwrap import wrap

from runbooks.catalogue import Entry, Part
from tasks.plan import CONTROL_NODE, Plan, PlanPart, State

COLUMNS = 80


def plan_lines(plan: Plan) -> Iterator[str]:
    """Yield a plan as lines of text of 80 columns; commands are exact and never broken."""
    yield f"{plan.runbook} on {plan.cluster}: what a run would do now. Nothing has been changed."
    for number, part in enumerate(plan.parts, 1):
        yield ""
        yield f"{number:2}. {part.kind} {part.step}: {part.state.value}"
        yield from _folded(part.says)
        if part.state is State.REFUSED:
            yield from _folded(part.detail)
        for command in part.commands:
            yield f"    on {command.host}:"
            yield shlex.join(command.argv)
    yield ""
    for finding in plan.findings:
        yield from _folded(f"REFUSED: {finding}", "")
    if not plan.findings:
        yield "Nothing speaks against the run. Words in capitals, such as RUN, are known only then."


def _folded(text: str, indent: str = "    ") -> list[str]:
    return wrap(text, COLUMNS, initial_indent=indent, subsequent_indent=indent)


def paper(entry: Entry, plan: Plan | None, cluster: str, hosts: Sequence[str]) -> str:
    """Return the checklist of a runbook for a cluster, in Markdown.

    `hosts` are lines that name the cluster's hosts. Without a plan the commands are the entry's.
    """
    return "\n".join([*_head(entry, plan, cluster, hosts), *_body(entry, plan), *_foot(entry)])


def _head(entry: Entry, plan: Plan | None, cluster: str, hosts: Sequence[str]) -> Iterator[str]:
    yield f"# {entry.title}: {cluster}\n"
    yield f"Runbook `{entry.id}`, risk {entry.risk}, by hand. One person reads, one types, as root."
    yield f"\n**When.** {entry.when}\n\n**Effect.** {entry.effect}\n"
    yield "## Hosts\n"
    yield from (f"- {host}" for host in hosts)
    yield "\n## Before you begin\n"
    yield "- [ ] Nobody else works on this cluster, by hand or by a run. Checked by: ____________"
    yield f"- [ ] Started by: ____________ at: ____________ because of: ____________ ({entry.id})"
    if plan is None:
        yield "\nNo host was asked: the words in capitals in the commands are yours to fill in."
        return
    yield "\nThe hosts were asked. Words in capitals (RUN: a name of your own) are to be filled in."
    for finding in plan.findings:
        yield f"\n**Refused:** {finding}"


def _body(entry: Entry, plan: Plan | None) -> Iterator[str]:
    yield "\n## Procedure\n"
    parts = {part.name: part for part in entry.procedure}
    if plan is None:
        for number, part in enumerate(entry.procedure, 1):
            yield from _by_entry(number, part)
        return
    for number, planned in enumerate(plan.parts, 1):
        known = parts.get(planned.task)
        if planned.state is State.NOT_REACHED and known is not None:
            yield from _by_entry(number, known)
        elif planned.kind == "gate":
            yield from _gate(number, planned.step, planned.says)
        else:
            yield from _by_plan(number, planned, known)


def _by_plan(number: int, planned: PlanPart, part: Part | None) -> Iterator[str]:
    where = f", on {planned.host}" if planned.host else ""
    yield f"- [ ] **{number}. {planned.task}** ({planned.kind}{where}): {planned.says}"
    if part is not None and part.stops_when:
        yield f"  Stop when {part.stops_when}."
    if planned.state is State.ALREADY:
        yield "  When this was printed it was so already: look, and go on."
    elif planned.state is State.UNLESS:
        yield "  Leave it out if it is so by then."
    if planned.state is State.REFUSED:
        yield f"  When this was printed it refused: {planned.detail}"
    for command in planned.commands:
        place = "here" if command.host == CONTROL_NODE else f"on {command.host}"
        yield f"\n{place}:\n\n```sh\n{shlex.join(command.argv)}\n```\n"
    if not planned.commands and part is not None:
        yield from (f"  - look: `{command}`" for command in part.commands)
    if part is not None and part.undo:
        yield f"  Way back: `{part.undo}`"


def _by_entry(number: int, part: Part) -> Iterator[str]:
    if part.kind.value == "gate":
        yield from _gate(number, part.name, part.says)
        return
    yield f"- [ ] **{number}. {part.name}** ({part.kind.value}): {part.says}"
    if part.stops_when:
        yield f"  Stop when {part.stops_when}."
    yield from (f"  - `{command}`" for command in part.commands)
    if part.undo:
        yield f"  Way back: `{part.undo}`"


def _gate(number: int, name: str, says: str) -> Iterator[str]:
    yield f"- [ ] **{number}. {name}** (gate): ask somebody who may decide. {says}"
    yield "  Decided by: ____________ at: ____________ because: ____________"
    yield "  If it is a no, stop here and see the way back."


def _foot(entry: Entry) -> Iterator[str]:
    yield "\n## If you stop half-way\n"
    yield f"It leaves: {entry.on_failure.leaves}\n"
    yield from (f"- [ ] {line}" for line in entry.on_failure.way_back)
    yield ""
