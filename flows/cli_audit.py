"""`runbook audit`: the journal listed, shown, exported and verified; needs no server."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TextIO

import typer
from sqlalchemy import make_url

from flows.cli_output import FAILED, UsageRefused, complain, out, print_json, print_table, tell
from tasks.audit_export import NotAnExport, export_lines, verify_lines
from tasks.audit_heads import KeptHeads, kept_heads
from tasks.audit_verify import Verdict, verify_journal
from tasks.env import world
from tasks.inventory import InventoryError
from tasks.journal import Entry, Journal, Kind, Phase, Run
from tasks.settings import settings
from tasks.timeline import came_to

NOT_ALL_ASKED = 5  # nothing is wrong, as far as could be asked
RUNS_LOOKED_AT = 5000
PREFIX_CHARACTERS_MIN = 4
COMMAND_CHARACTERS = 400

HELP = """The journal of all runs: who did what, when, and proof that nobody edited it.

Exit codes of verify: 0 whole; 1 not whole; 2 wrong use, or no export; 5 nothing is
wrong, but not every host could be asked or keeps a hash."""

app = typer.Typer(name="audit", help=HELP, no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON to standard output.")]


@app.command("list")
def list_runs(
    cluster: Annotated[str | None, typer.Option(help="Only this cluster's.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the latest runs of the journal."""
    journal = opened()
    runs = journal.runs(cluster, limit)
    ends = {
        run.run_id: how_it_stands(journal.entries(run.run_id, kinds=(Kind.RUN,))) for run in runs
    }
    if as_json:
        print_json([{"run": run, "ended": ends[run.run_id]} for run in runs])
        return
    print_table(
        ("run", "began (UTC)", "runbook", "cluster", "by", "ended"),
        [
            (
                run.run_id[:8],
                f"{run.started_at:%F %H:%M}",
                run.runbook,
                run.cluster,
                run.actor,
                ends[run.run_id],
            )
            for run in runs
        ],
    )


@app.command()
def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or its beginning.")],
    as_json: AsJson = False,
) -> None:
    """Show every entry of one run."""
    journal = opened()
    found = found_run(journal, run)
    entries = journal.entries(found.run_id)
    if as_json:
        print_json({"run": found, "entries": entries})
        return
    by = f"started by {found.actor or 'unknown'} ({found.via})"
    for line in (f"run {found.run_id}", f"{found.runbook} on {found.cluster}, {by}"):
        out.print(line, markup=False, soft_wrap=False)
    print_table(
        ("seq", "time (UTC)", "what", "phase", "who", "says"),
        [
            (str(e.seq), f"{e.at:%H:%M:%S}", f"{e.kind} {e.step}", str(e.phase), who(e), says(e))
            for e in entries
        ],
    )


@app.command()
def export(
    output: Annotated[Path | None, typer.Option("-o", "--output", help="A new file.")] = None,
) -> None:
    """Write the whole journal as JSON Lines, to a new file or to standard output."""
    journal = opened()
    with opened_output(output) as file:
        count = sum(file.write(f"{line}\n") > 0 for line in export_lines(journal)) - 1
    if output is not None:
        tell(f"{count} entries; check the file with: runbook audit verify --file {output}")


@app.command()
def verify(
    file: Annotated[Path | None, typer.Option(help="Verify this export alone.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask the hosts.")] = False,
    as_json: AsJson = False,
) -> None:
    """Find edited, removed, inserted and reordered entries, and a cut tail."""
    kept: tuple[KeptHeads, ...] = ()
    if file is not None:
        verdict = verify_file(file)
    else:
        journal = opened()
        kept = () if offline else asked_hosts(journal)
        verdict = verify_journal(journal, kept)
    if as_json:
        print_json({"whole": not verdict.faults, "verdict": verdict})
    else:
        told(verdict, kept)
    raise typer.Exit(FAILED if verdict.faults else NOT_ALL_ASKED if verdict.unasked else 0)


def opened() -> Journal:
    """Return the journal of the settings.  Raises UsageRefused if there is none yet."""
    url = make_url(settings().journal())
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        raise UsageRefused(f"no journal here yet: {url.database}")
    return Journal(settings().journal())


def found_run(journal: Journal, wanted: str) -> Run:
    """Return the run of an id or its beginning.  Raises UsageRefused."""
    runs = journal.runs(limit=RUNS_LOOKED_AT)
    long_enough = len(wanted) >= PREFIX_CHARACTERS_MIN
    found = [run for run in runs if run.run_id == wanted] or [
        run for run in runs if long_enough and run.run_id.startswith(wanted)
    ]
    if len(found) != 1:
        many = "several runs" if found else "no run"
        raise UsageRefused(f"{many} {wanted!r} in the journal; see: runbook audit list")
    return found[0]


def how_it_stands(entries: Sequence[Entry]) -> str:
    """Return how a run ended, or that it has not."""
    marks = [entry for entry in entries if entry.phase in (Phase.ATTEMPT, Phase.ENDED)]
    if not marks or marks[-1].phase is Phase.ATTEMPT:
        return "not ended"
    return str(marks[-1].payload.get("as", "ended"))


def who(entry: Entry) -> str:
    """Return who acted, with a mark if he signed."""
    return f"{entry.actor} (signed)" if entry.signature else entry.actor


def says(entry: Entry) -> str:
    """Return what an entry says, the exact command of a remote step among it."""
    if entry.kind is Kind.REMOTE and entry.phase is Phase.INTENT:
        return " ".join(map(str, entry.payload.get("argv", ())))[:COMMAND_CHARACTERS]
    return came_to(entry)


def asked_hosts(journal: Journal) -> tuple[KeptHeads, ...]:
    """Return what the hosts of all clusters keep of the journal."""
    try:
        clusters = tuple(world().inventory.clusters)
    except InventoryError as error:
        return (KeptHeads("", (), (f"no host can be asked: {error}",)),)
    return tuple(kept_heads(journal, cluster) for cluster in clusters)


def verify_file(file: Path) -> Verdict:
    """Return the verdict on an export.  Raises UsageRefused if it is none."""
    try:
        with file.open(encoding="utf-8") as lines:
            return verify_lines(lines)
    except (NotAnExport, OSError, UnicodeDecodeError) as error:
        raise UsageRefused(f"{file}: {error}") from error


def told(verdict: Verdict, kept: Sequence[KeptHeads]) -> None:
    """Write a verdict: what was read, what is wrong and where, what could not be asked."""
    end = f"{verdict.head_seq} {verdict.head_hash[:16]}"
    out.print(f"journal {verdict.journal_id}: {verdict.entries} entries, head {end}", markup=False)
    for cluster in kept:
        newest: dict[str, int] = {}
        for head in cluster.heads:
            newest[head.host] = max(head.seq, newest.get(head.host, 0))
        for host, seq in newest.items():
            out.print(f"{host} ({cluster.cluster}) keeps hashes up to entry {seq}", markup=False)
    for fault in verdict.faults:
        where = f"entry {fault.seq}" if fault.seq else "journal"
        complain(f"{where}: {fault.what}")
    for remark in verdict.remarks:
        tell(f"remark: {remark}")
    for trouble in verdict.unasked:
        tell(f"not asked: {trouble}")
    if verdict.faults:
        seqs = sorted({fault.seq for fault in verdict.faults if fault.seq})
        first = f", the first at entry {seqs[0]}" if seqs else ""
        complain(f"NOT WHOLE: {len(verdict.faults)} faults{first}")
    else:
        out.print("whole: nothing was edited, removed, put in, reordered or cut", markup=False)


@contextmanager
def opened_output(output: Path | None) -> Iterator[TextIO]:
    """Open a new file that only its owner reads, or standard output.  Raises UsageRefused."""
    if output is None:
        yield sys.stdout
        return
    try:
        number = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise UsageRefused(f"{output}: {error.strerror}; name a new file") from error
    with os.fdopen(number, "w", encoding="utf-8") as file:
        yield file
