"""The runbook through kill -9 at the gate, in the write and after it: on it goes, written once."""

import re
import signal
from collections.abc import Callable

import pytest

from tasks.journal import Kind, Phase
from tests.lab.care import BAD_HOST_ID, idle_host, unsettled
from tests.lab.cluster import Lab
from tests.lab.control_node import RUNBOOK, ControlNode
from tests.lab.watched_dd import WatchedDd

pytestmark = [pytest.mark.lab, pytest.mark.slow]
UNATTENDED_SECONDS = 120
NO_LONGER_FOLLOWING = 130


def test_a_run_goes_on_through_every_kill_and_writes_once(
    broken: Lab, control_node: ControlNode, dd: WatchedDd
) -> None:
    node, canary = control_node, idle_host(broken)
    run_id = started_and_left_with_ctrl_c(node, canary)
    node.wait_for_gate(run_id)
    # At the gate nothing of the run is running; who would wake it is killed.
    node.kill(node.record.runner_pid)
    dd.hold()
    node.answer(run_id, "approve")
    dd.wait_until_held(UNATTENDED_SECONDS)
    node.kill(*node.engines(run_id))
    took = [continued(broken, sent(node, run_id, times=2))]
    # Both die, and the write ends while nobody looks.
    node.kill(node.record.runner_pid, *node.engines(run_id))
    dd.release()
    took.append(continued(broken, written(node, run_id)))
    attempt = node.attempts(run_id)
    node.kill(*node.engines(run_id))
    took.append(continued(broken, lambda: node.attempts(run_id) > attempt))
    ended = node.wait_for_end(run_id)
    assert ended["state_type"] == "COMPLETED", ended["message"]
    assert node.call("follow", run_id) == 0
    print("continued after", took)
    require_written_once(node, dd, run_id, canary)
    assert unsettled(broken) == ""
    assert broken.overlaps() == []


def started_and_left_with_ctrl_c(node: ControlNode, canary: str) -> str:
    """Start a run, press Ctrl-C when it is under way, and return its id as it was told."""
    following = node.begin("run", RUNBOOK, "--cluster=lab", f"--param=canary={canary}")
    run_id = node.wait_for_run()
    following.send_signal(signal.SIGINT)
    said, _ = following.communicate(timeout=20)
    assert following.returncode == NO_LONGER_FOLLOWING
    assert "the run goes on" in said
    told = re.search(r"runbook follow (\w+)", said)
    assert told
    assert node.status(told[1])["run"]["id"] == run_id
    return run_id


def continued(lab: Lab, holds: Callable[[], bool]) -> float:
    """Wait until the run shows that it goes on, unattended; return how many seconds it took."""
    return lab.wait_until(holds, UNATTENDED_SECONDS, "the run goes on by itself")


def sent(node: ControlNode, run_id: str, times: int) -> Callable[[], bool]:
    """Whether so many attempts of the run have sent the write, or attached to it."""
    return lambda: len(node.entries(run_id, Kind.REMOTE, Phase.INTENT, "write_zeros@")) >= times


def written(node: ControlNode, run_id: str) -> Callable[[], bool]:
    """Whether the run knows how the write ended."""
    return lambda: bool(node.entries(run_id, Kind.REMOTE, Phase.OUTCOME, "write_zeros@"))


def require_written_once(node: ControlNode, dd: WatchedDd, run_id: str, canary: str) -> None:
    """Hold the host's own log of its writes, and the journal, against each other."""
    (zeros,) = dd.begun()
    assert zeros.startswith(f"{canary}: ")
    assert f"seek={BAD_HOST_ID} count=1" in zeros
    assert dd.ended() == [f"{canary}: 0"]
    (outcome,) = node.entries(run_id, Kind.REMOTE, Phase.OUTCOME, "write_zeros@")
    assert (outcome.payload["exit_code"], outcome.payload["how"]) == (0, "attached")
    notes = [note.payload["what"] for note in node.entries(run_id, Kind.GATE, Phase.NOTE)]
    assert sorted(notes) in (["asked"], ["asked", "told"]), "each at most once"
    (decision,) = node.entries(run_id, Kind.GATE, Phase.DECISION)
    assert decision.actor == "ann"
    assert node.attempts(run_id) >= 5  # started, resumed, and after each of three kills
    assert node.ended_as(run_id) == "completed"
