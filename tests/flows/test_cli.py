"""The `runbook` command against a real server: exit codes, JSON, gates, cancel."""

import os
import pty
import select
import signal
import subprocess
import time

import pytest

from flows.cli_output import UsageRefused
from flows.cli_start import parse_parameters
from tasks.decisions import decide, pending_gates
from tests.flows.conftest import RUNBOOK, Served, executions, make_home, wait_for

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
    assert f"there are: {RUNBOOK}" in ended.stderr


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


def waiting(served: Served, expires_seconds: int = 600) -> tuple[str, list[str]]:
    folder = served.folder()
    run_id = served.start(folder, expires_seconds=expires_seconds)
    wait_for(lambda: served.state(run_id) == "Suspended")
    return run_id, executions(folder)


@pytest.mark.slow
def test_a_gate_is_approved_and_not_asked_again(served: Served) -> None:
    folder = served.folder()
    ended = served.runbook(
        *("run", RUNBOOK, "--cluster", "lab", f"--param=folder={folder}"),
        "--param=expires_seconds=600",
    )
    assert ended.returncode == 3, ended.stderr
    assert "## The last step" in ended.stdout
    assert "--set target=TARGET" in ended.stderr
    gate = served.json("status")["gates"][0]
    run_id = gate["run_id"]

    wrong = served.runbook("approve", run_id, "--as=ann", "--reason=ticket 7", "--set=target=lub")
    assert wrong.returncode == 1
    assert "the typed target is 'lub'" in wrong.stderr
    without = served.runbook("approve", run_id, "--as=ann", "--reason=ticket 7")
    assert without.returncode == 2
    assert "--set target=..." in without.stderr

    right = ("approve", run_id[:8], "--as=ann", "--reason=ticket 7", "--set=target=lab")
    assert served.json(*right)["decision"]["approver"] == "ann"
    assert served.runbook("follow", run_id).returncode == 0
    assert executions(folder) == ["first", "middle", "last"]
    late = served.runbook(*right)
    assert late.returncode == 2
    assert "waits at no gate" in late.stderr


@pytest.mark.slow
def test_a_rejected_gate_fails_the_run(served: Served) -> None:
    run_id, before = waiting(served)
    rejected = served.json("reject", run_id, "--as=ann", "--reason=not tonight")
    assert rejected["decision"]["decision"] == "reject"
    followed = served.runbook("follow", run_id)
    assert followed.returncode == 1
    assert "The way back:" in followed.stderr
    assert before == ["first", "middle"]
    assert served.ended_as(run_id) == "rejected"


@pytest.mark.slow
def test_a_gate_that_nobody_answers_expires(served: Served) -> None:
    run_id, _ = waiting(served, expires_seconds=5)
    wait_for(lambda: served.ended_as(run_id) == "expired")
    assert wait_for(lambda: served.state(run_id)) in {"Running", "Failed"}
    assert served.runbook("follow", run_id).returncode == 1


@pytest.mark.slow
def test_a_decision_whose_maker_died_before_resuming_still_wakes_the_run(served: Served) -> None:
    run_id, _ = waiting(served)
    (pending,) = pending_gates(served.journal, run_id)
    decide(
        *(served.journal, run_id, pending.gate),
        decision="approve",
        approver="ann",
        reason="ticket 7",
        via="test",
        fields={"target": "lab"},
    )
    wait_for(lambda: served.state(run_id) == "Completed")


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
def test_a_run_that_waits_at_a_gate_is_cancelled_at_once(served: Served) -> None:
    run_id, _ = waiting(served)
    assert served.json("cancel", run_id)["run"]["state"] == "Cancelled"
    assert served.runbook("approve", run_id, "--reason=late", "--set=target=lab").returncode == 2


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


@pytest.mark.slow
def test_on_a_terminal_the_gate_is_asked_there(served: Served) -> None:
    folder = served.folder()
    words = ("run", RUNBOOK, "--cluster=lab", f"--param=folder={folder}")
    master, slave = pty.openpty()
    process = subprocess.Popen(
        served.command(*words, "--param=expires_seconds=600", "--approver=ann"),
        env={**served.environment, "TERM": "xterm", "COLUMNS": "100"},
        cwd=served.home,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    shown = Terminal(master)
    try:
        shown.answer("Decision", "perhaps")
        shown.answer("Decision", "approve")
        shown.answer("Reason", "ticket 7")
        shown.answer("target", "lub")
        shown.answer("Decision", "approve")  # the target did not fit: once more
        shown.answer("Reason", "ticket 7")
        shown.answer("target", "lab")
        shown.until("Completed")
        assert process.wait(30) == 0
    finally:
        process.kill()
        os.close(master)
    assert "The last step" in shown.text
    assert executions(folder) == ["first", "middle", "last"]


class Terminal:
    """The other end of a pseudo terminal."""

    def __init__(self, master: int) -> None:
        self.master = master
        self.text = ""
        self.read = 0

    def until(self, word: str) -> None:
        deadline = time.monotonic() + 60
        while word not in self.text[self.read :]:
            assert time.monotonic() < deadline, self.text
            if select.select([self.master], [], [], 0.5)[0]:
                self.text += os.read(self.master, 65536).decode(errors="replace")
        self.read = self.text.index(word, self.read) + len(word)

    def answer(self, prompt: str, text: str) -> None:
        self.until(f"{prompt}")
        self.until(": ")
        os.write(self.master, f"{text}\n".encode())
