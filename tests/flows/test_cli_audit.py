"""`runbook audit` without a server: what it shows, its exit codes, and that it fits 80 columns."""

import json
import os
import re
import sqlite3
import subprocess
import termios
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks.journal import Draft, Kind, Phase, Run
from tests.flows.conftest import Served, make_home

RUN_ID = "5f0c1a2b-0000-4000-8000-00000000000a"
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def home(tmp_path: Path) -> Served:
    """A home whose journal has one run that a person has let go on."""
    made = make_home(tmp_path / "home")
    journal = made.journal
    cluster = {"cluster": "lab-of-the-first-floor"}
    run = Run(RUN_ID, "metadata-too-new", cluster["cluster"], cluster, "ann", "prefect", now(), 0)
    attempt = journal.open_run(run).attempt
    argv = {"argv": ["dd", "if=/dev/zero", "of=/rhev/" + "x" * 90, "bs=4096"], "step_id": "s"}
    decided = {"decision": "approve", "reason": "ticket 7", "fields": {}, "answered_at": "x"}
    asked = {"evidence": "go?", "expires_at": "2026-11-23T00:00:00+00:00"}
    for draft in (
        Draft(RUN_ID, Kind.GATE, "approve_write", Phase.INTENT, attempt, payload=asked),
        Draft(RUN_ID, Kind.GATE, "approve_write", Phase.DECISION, actor="bob", payload=decided),
        Draft(
            RUN_ID, Kind.REMOTE, "write_zeros@h1", Phase.INTENT, attempt, host="h1", payload=argv
        ),
        Draft(
            RUN_ID,
            Kind.RUN,
            "metadata-too-new",
            Phase.ENDED,
            attempt,
            payload={"as": "completed"},
        ),
    ):
        journal.append(draft)
    return made


def on_a_terminal(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return what a command writes to a terminal of 80 columns; it must end with 0."""
    ours, its = os.openpty()
    termios.tcsetwinsize(its, (40, 80))
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        process = subprocess.Popen(
            command, env={**environment, "TERM": "xterm"}, stdin=its, stdout=its, stderr=its
        )
        os.close(its)
        written = b""
        with suppress(OSError):  # EIO: nobody writes to it any more
            while piece := terminal.read(65536):
                written += piece
        assert process.wait(60) == 0, written
    return written.decode()


def now() -> datetime:
    return datetime.now(UTC)


def edit(home: Served) -> None:
    with sqlite3.connect(home.home / "journal.db") as raw:
        raw.execute("DROP TRIGGER journal_no_update")
        raw.execute("UPDATE journal_entries SET actor = 'eve' WHERE seq = 3")


def test_list_and_show_tell_who_did_what(home: Served) -> None:
    (listed,) = home.json("audit", "list")
    assert (listed["run"]["run_id"], listed["ended"]) == (RUN_ID, "completed")
    assert home.json("audit", "list", "--cluster", "other") == []
    shown = home.runbook("audit", "show", RUN_ID[:8])
    assert shown.returncode == 0, shown.stderr
    for words in ("gate approve_write", "bob", "approve: ticket 7", "dd if=/dev/zero"):
        assert words in shown.stdout
    entries = home.json("audit", "show", RUN_ID)["entries"]
    assert [entry["seq"] for entry in entries] == [1, 2, 3, 4, 5]
    assert all(len(entry["hash"]) == 64 for entry in entries)


@pytest.mark.parametrize("words", [("list",), ("show", RUN_ID), ("verify", "--offline")])
def test_it_fits_a_terminal_of_80_columns(home: Served, words: tuple[str, ...]) -> None:
    written = on_a_terminal(home.command("audit", *words), home.environment)
    lines = [CONTROL.sub("", line).rstrip() for line in written.splitlines()]
    assert "completed" in written or "whole" in written
    assert [line for line in lines if len(line) > 80] == []


def test_an_export_is_new_private_and_verified_alone(home: Served, tmp_path: Path) -> None:
    file = tmp_path / "export.jsonl"
    assert home.runbook("audit", "export", "-o", str(file)).returncode == 0
    assert file.stat().st_mode & 0o777 == 0o600
    assert (
        file.read_text().splitlines()[1:] == home.runbook("audit", "export").stdout.splitlines()[1:]
    )
    again = home.runbook("audit", "export", "-o", str(file))
    assert again.returncode == 2
    assert "name a new file" in again.stderr
    stranger = make_home(tmp_path / "elsewhere")
    assert stranger.runbook("audit", "verify", "--file", str(file)).returncode == 0
    file.write_text(file.read_text().replace('"ticket 7"', '"ticket 8"'))
    found = stranger.runbook("audit", "verify", "--file", str(file))
    assert found.returncode == 1
    assert "entry 3: was changed" in found.stderr
    file.write_text("hello\n")
    assert stranger.runbook("audit", "verify", "--file", str(file)).returncode == 2


def test_verify_says_what_is_wrong_and_where(home: Served) -> None:
    whole = home.runbook("audit", "verify", "--offline")
    assert whole.returncode == 0, whole.stderr
    assert "whole: nothing was edited" in whole.stdout
    edit(home)
    found = home.runbook("audit", "verify", "--offline")
    assert found.returncode == 1
    assert "entry 3: was changed: its hash is not that of its content" in found.stderr
    assert "the trigger journal_no_update" in found.stderr
    assert "NOT WHOLE: 2 faults, the first at entry 3" in found.stderr
    assert "Traceback" not in found.stderr
    told = home.json("audit", "verify", "--offline", exit_code=1)
    assert told["whole"] is False
    assert [fault["seq"] for fault in told["verdict"]["faults"]] == [0, 3]


def test_verify_says_which_hosts_could_not_be_asked(home: Served) -> None:
    inventory = home.home / "inventory.toml"
    inventory.write_text(
        inventory.read_text().replace("clusters.lab", "clusters.lab-of-the-first-floor")
        + "port = 1\n"
    )
    asked = home.runbook("audit", "verify")
    assert asked.returncode == 5, asked.stderr
    assert "not asked: h1 (127.0.0.1, port 1)" in asked.stderr
    assert "whole: nothing was edited" in asked.stdout
    inventory.unlink()
    asked = home.runbook("audit", "verify")
    assert asked.returncode == 5
    assert "no host can be asked" in asked.stderr


def test_without_a_journal_or_such_a_run_it_is_wrong_use(home: Served, tmp_path: Path) -> None:
    assert home.runbook("audit", "show", "nope").returncode == 2
    empty = make_home(tmp_path / "empty")
    for words in (("list",), ("verify",), ("export",)):
        ended = empty.runbook("audit", *words)
        assert ended.returncode == 2
        assert "no journal here yet" in ended.stderr
    assert not (empty.home / "journal.db").exists()


def test_the_export_is_json_lines(home: Served) -> None:
    lines = [json.loads(line) for line in home.runbook("audit", "export").stdout.splitlines()]
    assert lines[0]["head_seq"] == 5
    assert [line["seq"] for line in lines[1:]] == [1, 2, 3, 4, 5]
