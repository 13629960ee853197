"""The `runbook` command: start, watch, approve and cancel runs; serve them."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from flows import cli_audit, cli_plan
from flows import cli_commands as commands
from flows.api import ApiRefused
from flows.cli_gates import Said
from flows.cli_output import FAILED, NO_SERVER, USAGE, UsageRefused, complain
from flows.cli_serve import serve_detached, serve_here, stop_serving, work_here
from flows.cli_session import How
from flows.server import DEFAULT_PORT, NoServer, ServeRefused
from flows.supervisor import ServeFailed
from runbooks.toml_table import CatalogueError
from tasks.decisions import AnswerRefused
from tasks.inventory import InventoryError
from tasks.journal import JournalError
from tasks.plan import PlanImpossible
from tasks.policy import PolicyError
from tasks.settings import settings
from tasks.signers import SignersRefused
from tasks.signing import SigningFailed

HELP = """Procedures of the hosted-engine Howto: gated, resumable, recorded.

Exit codes: 0 done; 1 failed or rejected; 2 wrong use, or a plan that is refused;
3 waiting at a gate; 4 no server answers; 130 Ctrl-C: no longer following, the run goes on.

State is kept below RUNBOOKS_HOME, clusters are read from RUNBOOKS_INVENTORY."""

TROUBLE = (
    ServeRefused,
    ServeFailed,
    ApiRefused,
    InventoryError,
    JournalError,
    PlanImpossible,
    PolicyError,
    SignersRefused,
    SigningFailed,
)

app = typer.Typer(
    name="runbook",
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(cli_audit.app)

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON to standard output.")]
RunArg = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, its beginning, or name.")]
Wait = Annotated[bool, typer.Option("--wait", help="At a gate, wait for others to decide.")]
Name = Annotated[str | None, typer.Option("--as", help="Who decides; you, if not given.")]
Reason = Annotated[str | None, typer.Option(help="Why, or a ticket number; asked if not given.")]
Key = Annotated[
    Path | None, typer.Option("--key", metavar="FILE", help="Sign with it; else by ssh-agent.")
]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="A field of the form.")
]
Approver = Annotated[str | None, typer.Option(help="Your name at the gates.")]
Detach = Annotated[bool, typer.Option("--detach", help="Start it and do not follow it.")]


@app.command("list")
def list_runbooks(as_json: AsJson = False) -> None:
    """List the runbooks."""
    commands.list_runbooks(as_json)


@app.command()
def show(
    runbook: Annotated[str, typer.Argument(metavar="ID", help="A runbook's id.")],
    as_json: AsJson = False,
) -> None:
    """Show what an operator reads before he runs a runbook."""
    commands.show(runbook, as_json)


@app.command()
def run(
    runbook: Annotated[str, typer.Argument(metavar="ID", help="A runbook's id.")],
    *,
    cluster: Annotated[str | None, typer.Option(help="A cluster of the inventory.")] = None,
    param: Annotated[
        list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help="A parameter.")
    ] = None,
    approver: Approver = None,
    detach: Detach = False,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Start a run and follow it; on a terminal its gates are asked here."""
    how = How(approver, wait, as_json, detach)
    commands.run(runbook, cluster, param or [], how)


@app.command()
def plan(
    runbook: Annotated[str, typer.Argument(metavar="ID", help="A runbook's id.")],
    *,
    cluster: Annotated[str | None, typer.Option(help="A cluster of the inventory.")] = None,
    param: Annotated[
        list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help="A parameter.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a run would do now: exact commands, host by host. Nothing is changed."""
    cli_plan.plan(runbook, cluster, param or [], as_json)


@app.command()
def paper(
    runbook: Annotated[str, typer.Argument(metavar="ID", help="A runbook's id.")],
    *,
    cluster: Annotated[str, typer.Option(help="A cluster of the inventory.")],
    param: Annotated[
        list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help="A parameter.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask the hosts.")] = False,
) -> None:
    """Print a checklist to follow by hand, with a plan's commands (Markdown)."""
    cli_plan.print_paper(runbook, cluster, param or [], offline)


@app.command()
def follow(
    run: RunArg, approver: Approver = None, wait: Wait = False, as_json: AsJson = False
) -> None:
    """Follow a run until it ends or waits at a gate."""
    commands.follow(run, How(approver, wait, as_json))


@app.command()
def approve(
    run: RunArg,
    reason: Reason = None,
    name: Name = None,
    fields: Set = None,
    *,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Approve the gate that a run waits at, by a signature if there is an SSH key."""
    commands.decide(run, "approve", Said(name, key, reason, fields or []), as_json)


@app.command()
def reject(
    run: RunArg,
    reason: Reason = None,
    name: Name = None,
    *,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Reject the gate that a run waits at: the run ends there."""
    commands.decide(run, "reject", Said(name, key, reason, []), as_json)


@app.command()
def status(
    run: Annotated[str | None, typer.Argument(metavar="[RUN]", help="One run in full.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the server, the latest runs and the gates that wait; or one run."""
    commands.status(run, as_json)


@app.command()
def cancel(run: RunArg, as_json: AsJson = False) -> None:
    """Cancel a run; what it has changed stays as it is."""
    commands.cancel(run, as_json)


@app.command()
def undo(
    run: RunArg,
    approver: Approver = None,
    detach: Detach = False,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Start the runbook that undoes a run."""
    commands.undo(run, How(approver, wait, as_json, detach))


@app.command()
def serve(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes any free one.")
    ] = DEFAULT_PORT,
    detach: Annotated[bool, typer.Option("--detach", help="Serve in the background.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop the one in the background.")] = False,
    work_pool: Annotated[
        str | None, typer.Option(help="Execute the runs by a Prefect work pool of this name.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Serve the runbooks: Prefect's server and UI, and the runner, both watched over."""
    home = settings().home
    if stop:
        commands.told_stopped(home, stop_serving(home), as_json)
    elif detach:
        commands.told_ready(home, serve_detached(home, port, work_pool), as_json)
    else:
        serve_here(home, port, work_pool)


@app.command()
def worker(
    work_pool: Annotated[str, typer.Option(help="The work pool's name.")],
    url: Annotated[str, typer.Option(help="The server's API: http://HOST:PORT/api.")],
    credentials: Annotated[Path, typer.Option(help="The server's credentials file, mode 0600.")],
) -> None:
    """Execute runs of another machine's server; the journal must be shared."""
    work_here(settings().home, work_pool, url, credentials)


def main() -> None:
    """Run the command; expected trouble is a line on standard error and an exit code."""
    try:
        app()
    except NoServer as trouble:
        complain(str(trouble))
        sys.exit(NO_SERVER)
    except (UsageRefused, AnswerRefused, CatalogueError) as trouble:
        complain(str(trouble))
        sys.exit(USAGE)
    except TROUBLE as trouble:
        complain(str(trouble))
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
