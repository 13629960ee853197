"""What a run tells beside its log: artifacts in the UI, and the way back when it fails."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from prefect.artifacts import create_markdown_artifact
from prefect.context import FlowRunContext, TaskRunContext

from runbooks.catalogue import Entry, catalogue
from tasks.env import world
from tasks.journal import Kind, Phase, Superseded
from tasks.plan import planning
from tasks.runs import CurrentRun, current_run, log
from tasks.timeline import WAY_BACK, timeline
from tasks.timeline_picture import data_url, picture
from tasks.way_back import way_back_lines

P = ParamSpec("P")
T = TypeVar("T")


def show(key: str, markdown: str, description: str) -> None:
    """Show Markdown as an artifact of the run; without Prefect it is logged, in a plan nothing."""
    if planning() is not None:
        return
    if TaskRunContext.get() is not None or FlowRunContext.get() is not None:
        create_markdown_artifact(markdown, key=key, description=description)
    else:
        log().info("%s\n%s", description, markdown)


def now_text() -> str:
    """Return the wall time as the reports write it."""
    return world().clock.now().strftime("%Y-%m-%d %H:%M:%S UTC")


def tells_way_back(runbook: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Make a flow's function show its timeline at its end, and the way back when it fails.

    The way back is told in the log, in an artifact and in the journal, for a failure, a rejection
    and an expiry alike. A suspended run has not ended and tells nothing. Goes below `recorded_run`.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def telling(*args: P.args, **kwargs: P.kwargs) -> T:
            if planning() is not None:
                return function(*args, **kwargs)
            try:
                result = function(*args, **kwargs)
            except Superseded:
                raise
            except Exception as error:
                _end_lease()  # first, so that what is told is true
                tell_way_back(catalogue()[runbook], error)
                _show_timeline(runbook)
                raise
            _show_timeline(runbook)
            return result

        return telling

    return decorate


def _end_lease() -> None:
    from tasks.lease import end_of_run  # noqa: PLC0415  (it works with steps, and they with this)

    run = current_run()
    if run is not None:
        end_of_run(run)


def timeline_markdown(run: CurrentRun) -> str:
    """Return the run so far as a Markdown table, from the journal."""
    lines = ["| time (UTC) | what | host | outcome | who |", "|---|---|---|---|---|"]
    for line in timeline(world().journal.entries(run.run_id)):
        cells = (line.at, line.what, line.host, line.came_to.replace("|", "\\|"), line.who)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _show_timeline(runbook: str) -> None:
    run = current_run()
    if run is None:
        return
    drawn = picture(world().journal.entries(run.run_id), f"{runbook} {run.cluster}")
    record = (
        f"The record of this run: `runbook audit show {run.run_id[:8]}`; that nobody edited it: "
        "`runbook audit verify`."
    )
    # As a picture within the text: an artifact that is a picture shows its whole address, too.
    seen = f"![the run over time]({data_url(drawn)})\n\n" if FlowRunContext.get() else ""
    text = f"{seen}{timeline_markdown(run)}\n\n{record}"
    show("timeline", text, f"Timeline of run {run.run_id}")


def tell_way_back(entry: Entry, error: Exception) -> None:
    """Tell what the run in force leaves behind, and the way back, as it ends with an error."""
    run = current_run()
    if run is None:
        return
    lines = list(way_back_lines(world().journal, run.run_id, entry))
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
