"""A remote step's output in the run's log: whole lines, in time, and not without end."""

import logging
import time
from typing import Any

import pytest

from tasks.redaction import register_secret
from tasks.step_output import MOST_CHARACTERS, MOST_LINES, LoggedOutput
from tests.tasks.step_helpers import run_once, sh


@pytest.fixture(autouse=True)
def _heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "runbooks")


def test_lines_come_whole_however_they_are_read(caplog: pytest.LogCaptureFixture) -> None:
    output = LoggedOutput("h1", "copy", "/steps/copy/out")
    for chunk in ("on", "e\ntw", "o\n", "", "thr"):
        output(chunk)
    output.end()
    output.end()
    assert caplog.messages == ["h1 copy: one", "h1 copy: two", "h1 copy: thr"]


def test_a_flood_is_cut_and_its_place_told(caplog: pytest.LogCaptureFixture) -> None:
    output = LoggedOutput("h1", "copy", "/steps/copy/out")
    output("x" * 100_000)
    output("\n" + "line\n" * 5000)
    assert len(caplog.messages) == MOST_LINES + 1
    assert max(map(len, caplog.messages)) <= MOST_CHARACTERS + len("h1 copy: ")
    assert caplog.messages[-1] == "h1 copy: more output is in /steps/copy/out there"


def test_a_secret_does_not_reach_the_log(caplog: pytest.LogCaptureFixture) -> None:
    register_secret("hunter2-of-the-engine")
    LoggedOutput("h1", "copy", "/out")("password=hunter2-of-the-engine\n")
    assert "hunter2" not in caplog.text


@pytest.mark.usefixtures("real_time")
def test_a_step_is_heard_while_it_runs(shell: Any, caplog: pytest.LogCaptureFixture) -> None:
    began = time.time()
    script = "echo one; sleep 2; printf two"
    run_once(shell, sh(script), step="talk", timeout_seconds=20)
    heard = [(each.getMessage(), each.created - began) for each in caplog.records]
    assert [text for text, _ in heard] == ["h1 talk: one", "h1 talk: two"]
    assert heard[0][1] < heard[1][1] - 1.5
