"""Gates from the command line: approved, rejected, expired, asked on a terminal."""

import os
import pty
import select
import subprocess
import time

import pytest

from tasks.deciding import decide
from tasks.decisions import pending_gates
from tests.flows.conftest import RUNBOOK, Served, executions, wait_for, waiting


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
    assert wrong.returncode == 2  # not 1, which is a rejection
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
def test_a_run_that_waits_at_a_gate_is_not_undone_and_is_cancelled_at_once(served: Served) -> None:
    run_id, _ = waiting(served)
    refused = served.runbook("undo", run_id)
    assert refused.returncode == 2
    assert "has not ended" in refused.stderr
    assert served.json("cancel", run_id)["run"]["state"] == "Cancelled"
    assert served.runbook("approve", run_id, "--reason=late", "--set=target=lab").returncode == 2


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
