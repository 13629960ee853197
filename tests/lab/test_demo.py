"""`make demo` on a cluster that an earlier demo left up."""

import pytest

from ha.core.record import judge_whiteboard
from tests.lab import demo
from tests.lab.care import unsettled
from tests.lab.cluster import Lab
from tests.lab.control_node import ControlNode
from tests.lab.demo_console import Console
from tests.lab.demo_stage import RealStage


def test_without_a_terminal_it_approves_nothing_unasked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "why_not", list)
    monkeypatch.setattr(demo, "UNATTENDED", False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    assert demo.up(Console()) == 2
    assert "DEMO_APPROVE=yes" in capsys.readouterr().err


@pytest.mark.lab
@pytest.mark.slow
def test_on_a_cluster_that_is_up_already_it_breaks_and_repairs_it_again(
    broken: Lab, control_node: ControlNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fixtures left hosts and server up, and the whiteboard broken, as a first demo might."""
    monkeypatch.setattr(demo, "UNATTENDED", True)
    demo.play(RealStage(broken, control_node.home), control_node, Console())
    assert unsettled(broken) == ""
    assert not [block for block in judge_whiteboard(broken.read_metadata()) if block.bad]
