"""The `runbook` command against a real server: exit codes, JSON, gates, cancel."""

import re
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from flows.cli_output import UsageRefused
from flows.cli_runs import RunView
from flows.cli_start import parse_parameters, require_served_inventory
from flows.server import ServerRecord
from tasks.inventory import InventoryError
from tests.flows.conftest import RUNBOOK, Served, executions, make_home, wait_for, waiting

SCHEMA = {
    "properties": {
        "cluster": {"type": "string", "enum": ["lab", "other"]},
        "canary": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "count": {"type": "integer"},
        "mode": {"allOf": [{"$ref": "#/definitions/Mode"}]},
    },
    "required": ["cluster"],
    "definitions": {"Mode": {"enum": ["slow", "fast"], "type": "string"}},
}


def test_parameters_are_read_as_the_form_wants_them() -> None:
    words = ["cluster=lab", "canary=h1", "count=3", "mode=fast"]
    wanted = {"cluster": "lab", "canary": "h1", "count": 3, "mode": "fast"}
    assert parse_parameters(SCHEMA, words) == wanted


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "missing: --cluster NAME"),
        (["cluster=lba"], "must be one of: lab, other"),
        (["cluster=lab", "colour=red"], "no parameter 'colour'; there are: cluster, canary"),
        (["cluster=lab", "count=many"], "must be a JSON integer"),
        (["cluster=lab", "mode=odd"], "must be one of: slow, fast"),
        (["cluster"], "write it as name=value"),
    ],
)
def test_wrong_parameters_are_named(words: list[str], complaint: str) -> None:
    with pytest.raises(UsageRefused, match=complaint):
        parse_parameters(SCHEMA, words)


def test_list_and_show_need_no_server(tmp_path) -> None:
    home = make_home(tmp_path / "home")
    assert RUNBOOK in [entry["id"] for entry in home.json("list")]
    assert home.json("show", RUNBOOK)["risk"] == "A3"
    assert "## Procedure" in home.runbook("show", RUNBOOK).stdout


def test_without_a_server_it_says_how_to_start_one(tmp_path) -> None:
    home = make_home(tmp_path / "home")
    for words in (
        ("status",),
        ("run", RUNBOOK, "--cluster", "lab"),
        ("approve", "x", "--reason=r"),
    ):
        ended = home.runbook(*words)
        assert ended.returncode == 4, ended.stderr
        assert "runbook serve" in ended.stderr
        assert "Traceback" not in ended.stderr


def test_an_unknown_runbook_names_those_that_there_are(tmp_path) -> None:
    ended = make_home(tmp_path / "home").runbook("run", "metadata-to-new", "--cluster", "lab")
    assert ended.returncode == 2
    assert re.search(rf"there are: .*\b{RUNBOOK}\b", ended.stderr)


@pytest.mark.slow
def test_a_run_completes_and_is_followed(served: Served) -> None:
    folder = served.folder()
    ended = served.runbook("run", RUNBOOK, "--cluster", "lab", f"--param=folder={folder}")
    assert ended.returncode == 0, ended.stderr
    assert "step middle" in ended.stdout
    assert executions(folder) == ["first", "middle", "last"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("run", RUNBOOK, "--cluster", "lba"), "must be one of: lab, other"),
        (("run", RUNBOOK), "missing: --cluster NAME"),
        (("run", "restore-metadata", "--cluster", "lab"), "is not served"),
        (("status", "nothing"), "no run 'nothing'"),
        (("cancel", "nothing"), "no run 'nothing'"),
    ],
)
def test_wrong_use_is_exit_code_2(served: Served, words: tuple[str, ...], complaint: str) -> None:
    ended = served.runbook(*words)
    assert ended.returncode == 2, ended.stderr
    assert complaint in ended.stderr


@pytest.mark.slow
def test_an_inventory_that_the_server_does_not_read_is_refused(served: Served) -> None:
    other = str(served.home / "other.toml")
    caller = replace(served, environment={**served.environment, "RUNBOOKS_INVENTORY": other})
    before = served.json("status")["runs"]
    ended = caller.runbook("run", RUNBOOK, "--cluster", "lab")
    assert ended.returncode == 2, ended.stderr
    assert f"but the server's runs read {served.home / 'inventory.toml'}" in ended.stderr
    assert len(served.json("status")["runs"]) == len(before)


def test_a_broken_inventory_is_told_before_a_run_starts(tmp_path: Path) -> None:
    file = tmp_path / "inventory.toml"
    file.write_text("[clusters.lab")
    record = ServerRecord("", "", 1, 1, inventory=str(file))
    for named in (None, file):
        with pytest.raises(InventoryError, match="inventory.toml: not TOML"):
            require_served_inventory(record, named)


def test_a_run_tells_when_it_began() -> None:
    view = RunView("id", "n", "r", "lab", "Running", "RUNNING", "", None, "ann", "")
    assert view.began == ""
    assert replace(view, started="2026-11-02T03:04:05.6Z").began == "11-02 03:04"


@pytest.mark.slow
def test_cancel_ends_a_run_and_the_journal_says_who(served: Served) -> None:
    folder = served.folder()
    run_id = served.start(folder, seconds=60)
    wait_for(lambda: "middle" in executions(folder))
    cancelled = served.runbook("cancel", run_id)
    assert cancelled.returncode == 0, cancelled.stderr
    assert "The way back:" in cancelled.stderr
    wait_for(lambda: served.ended_as(run_id) == "cancelled")
    assert served.runbook("cancel", run_id).returncode == 2


@pytest.mark.slow
def test_ctrl_c_leaves_the_run_alone(served: Served) -> None:
    folder = served.folder()
    words = ("run", RUNBOOK, "--cluster", "lab", f"--param=folder={folder}", "--param=seconds=4")
    process = subprocess.Popen(
        served.command(*words),
        env=served.environment,
        cwd=served.home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for(lambda: "middle" in executions(folder))
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "the run goes on" in stderr
    assert "runbook follow" in stderr
    assert "Traceback" not in stderr
    wait_for(lambda: executions(folder) == ["first", "middle", "last"])


@pytest.mark.slow
def test_status_of_a_run_has_its_journal(served: Served) -> None:
    run_id, _ = waiting(served)
    shown = served.json("status", run_id[:8])
    assert shown["gate"]["gate"] == "approve_last"
    assert {entry["step"] for entry in shown["journal"]} >= {"first", "middle", "approve_last"}
    assert shown["run"]["started_by"] == "ann"
    served.runbook("cancel", run_id)
