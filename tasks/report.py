"""What a run tells beside its log: artifacts in the UI, and the way back when it fails."""

from collections.abc import Callable, Iterator
from functools import wraps
from typing import ParamSpec, TypeVar

from prefect.artifacts import create_markdown_artifact
from prefect.context import FlowRunContext, TaskRunContext

from runbooks.catalogue import Entry, catalogue
from tasks.env import world
from tasks.journal import Kind, Phase, Superseded
from tasks.runs import CurrentRun, current_run, log
from tasks.timeline import WAY_BACK, timeline

P = ParamSpec("P")
T = TypeVar("T")


def show(key: str, markdown: str, description: str) -> None:
    """Show Markdown as an artifact of the run; without Prefect it is only logged."""
    if TaskRunContext.get() is not None or FlowRunContext.get() is not None:
        create_markdown_artifact(markdown, key=key, description=description)
    else:
        log().info("%s\n%s", description, markdown)


def now_text() -> str:
    """Return the wall time as the reports write it."""
    return world().clock.now().strftime("%Y-%m-%d %H:%M:%S UTC")


def tells_way_back(runbook: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Make a flow's function tell, when it fails, what it leaves behind and the way back.

    Told in the log, in an artifact and in the journal, for a failure, a rejection and an expiry
    alike. A suspended run has not failed and tells nothing. Goes below `recorded_run`.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def telling(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return function(*args, **kwargs)
            except Superseded:
                raise
            except Exception as error:
                _tell(catalogue()[runbook], error)
                raise

        return telling

    return decorate


def timeline_markdown(run: CurrentRun) -> str:
    """Return the run so far as a Markdown table, from the journal."""
    lines = ["| time (UTC) | what | host | outcome | who |", "|---|---|---|---|---|"]
    for line in timeline(world().journal.entries(run.run_id)):
        cells = (line.at, line.what, line.host, line.came_to.replace("|", "\\|"), line.who)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _tell(entry: Entry, error: Exception) -> None:
    run = current_run()
    if run is None:
        return
    lines = list(_way_back_lines(entry, run))
    log().error("%s: %s", type(error).__name__, error)
    log().warning("%s", "\n".join(lines))
    payload = {"because": f"{type(error).__name__}: {error}"[:4000], "lines": lines}
    world().journal.append(run.draft(Kind.RUN, WAY_BACK, Phase.NOTE, payload=payload))
    markdown = "\n".join(
        [
            f"## {entry.title}: not finished",
            f"**{type(error).__name__}**: {error}\n",
            *(line if line.startswith("  - ") else f"\n{line}\n" for line in lines),
            "\n## What was done\n",
            timeline_markdown(run),
        ]
    )
    show("way-back", markdown, f"What run {run.run_id} leaves behind, and the way back")


def _way_back_lines(entry: Entry, run: CurrentRun) -> Iterator[str]:
    done = [
        each
        for each in world().journal.entries(run.run_id)
        if each.phase in (Phase.INTENT, Phase.OUTCOME) and each.kind is Kind.CHANGE
    ]
    begun = {each.step for each in done if each.phase is Phase.INTENT}
    ended = {each.step for each in done if each.phase is Phase.OUTCOME}
    changed = [each.step for each in done if each.phase is Phase.OUTCOME]
    unfinished = [each.step for each in done if each.step in begun - ended]
    if not begun:
        yield "Nothing has been changed."
        return
    yield f"Changed so far: {', '.join(changed) or 'nothing for certain'}."
    if unfinished:
        yield f"Begun and not known to have ended: {', '.join(dict.fromkeys(unfinished))}."
    yield f"Left behind: {entry.on_failure.leaves}"
    known = _facts(run)
    yield "The way back:"
    for line in entry.on_failure.way_back:
        yield "  - " + " ".join(known.get(word, word) for word in line.split(" "))


def _facts(run: CurrentRun) -> dict[str, str]:
    """Return what the entry's commands leave open, as far as the run knows it by now."""
    facts = {"RUN": run.run_id}
    found = world().journal.find(run.run_id, Kind.CHANGE, "back_up_whiteboard", Phase.OUTCOME)
    if found is not None:
        backup = found.payload["value"]
        facts |= {
            "if=BACKUP": f"if={backup['path']}",
            "of=TARGET": f"of={backup['target']}",
            "count=SIZE/1M": f"count={backup['size_bytes'] // 1048576}",
        }
    return facts
