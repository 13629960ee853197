"""`runbook plan` and `runbook paper`: what a run would do now, on the screen and on paper.

Neither needs a server. Both ask the hosts and change nothing.
"""

import os
from collections.abc import Sequence

import typer
from rich.markup import escape

from flows.cli_gates import login
from flows.cli_output import COMPLETED, USAGE, err, out, print_json, print_markdown
from flows.cli_runs import entry_of
from flows.cli_start import parse_parameters
from flows.environment import SILENT
from flows.server import Place
from runbooks.catalogue import Entry
from tasks.inventory import load_inventory
from tasks.plan import Plan
from tasks.plan_paper import paper, plan_lines
from tasks.settings import settings


def plan(runbook: str, cluster: str | None, pairs: Sequence[str], as_json: bool) -> None:
    """Print what a run would do now; the exit code is 2 if it would be refused."""
    made = _made(entry_of(runbook), [*([f"cluster={cluster}"] if cluster else []), *pairs])
    if as_json:
        print_json(made)
    else:
        # Never folded by the console: a command is to be copied as it is.
        for line in plan_lines(made):
            style = "bold red" if line.startswith("REFUSED") else None
            out.print(escape(line), style=style)
    raise typer.Exit(USAGE if made.findings else COMPLETED)


def print_paper(runbook: str, cluster: str, pairs: Sequence[str], offline: bool) -> None:
    """Print the checklist; the commands are the plan's, or without the hosts the entry's."""
    entry = entry_of(runbook)
    known = load_inventory(settings().inventory_path()).cluster(cluster)
    hosts = [f"{each.name}: {each.address}, host id {each.host_id}" for each in known.hosts]
    made = None if offline else _made(entry, [f"cluster={cluster}", *pairs])
    print_markdown(paper(entry, made, cluster, hosts))


def _made(entry: Entry, pairs: Sequence[str]) -> Plan:
    # Before Prefect is imported, which the flows do: the commands that only look must not wait.
    home = Place(settings().home.absolute()).prefect_home
    os.environ.update({**SILENT, "PREFECT_HOME": str(home)})
    from flows.deployments import load_flow  # noqa: PLC0415
    from tasks.plan_run import make_plan  # noqa: PLC0415

    flow = load_flow(entry)
    given = parse_parameters(flow.parameters.model_dump(), pairs)
    with err.status(f"asking the hosts for a plan of {entry.id}"):
        return make_plan(entry, flow.fn, flow.validate_parameters(given), login())
