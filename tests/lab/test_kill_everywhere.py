"""Runbooks on real hosts, killed with -9 wherever they come to: the same end, nothing twice.

RUNBOOKS_KILL=all kills every runbook at every point (`make kill-everywhere`). Otherwise it is a
sample: recover-lockspace, in the middle of and after its raw writes, and at its gates; what
test_runbook_killed.py does for metadata-too-new is not repeated.
"""

from collections.abc import Iterator

import pytest

from tasks.lockspace_area import faults
from tests.lab import care, half_deployed, lockspaces
from tests.lab.cluster import Lab
from tests.lab.control_node import ControlNode
from tests.lab.kill_cases import (
    CASES,
    CLEAN,
    DEPLOY_ANEW,
    EVERY_POINT,
    RECOVER,
    Case,
)
from tests.lab.kill_everywhere import (
    Ordeal,
    require_attached,
    require_each_gate_decided_once,
    require_nothing_twice,
)
from tests.lab.watched_commands import WatchedCommands

pytestmark = [pytest.mark.lab, pytest.mark.slow]
WRITES = ("initialise_lockspace", "write_maintenance_flag")
# More kills than an accident would explain, each followed at once by the next attempt.
SETTINGS = {"RUNBOOKS_CRASHES_MAX": "1000", "RUNBOOKS_PAUSE_SECONDS_MAX": "0"}


def wanted(point: str) -> bool:
    """Whether a run is to die there."""
    kind, step, *phase = point.split()
    if EVERY_POINT or kind == "gate" and phase != ["intent"]:
        return True
    name = step.partition("@")[0]
    return name in WRITES and (kind == "begun" or [kind, *phase] == ["change", "outcome"])


@pytest.fixture(scope="module")
def tireless(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlNode]:
    """A control node that goes on with a run however often it crashes."""
    node = ControlNode(tmp_path_factory.mktemp("tireless") / "home", lab, SETTINGS)
    node.prepare()
    try:
        node.serve()
        yield node
    finally:
        node.stop_serving()


@pytest.fixture
def commands(lab: Lab) -> Iterator[WatchedCommands]:
    watched = WatchedCommands(lab)
    care.wait_until_settled(lab)
    yield watched
    watched.remove()


@pytest.fixture
def mended(lab: Lab, tireless: ControlNode) -> Iterator[Lab]:
    """The lab; what a run that failed has left in it is mended."""
    yield lab
    going = tireless.latest()
    if going and not tireless.ended_as(going):
        tireless.read("cancel", going, accept=(0, 1))
    if faults(lockspaces.slots(lab)):
        lockspaces.mend(lab)
    if not lab.engine_answers():
        # The rescue system of a run that failed: HA starts the engine again.
        care.on_all(lab, "virsh", "destroy", "HostedEngine")
    for host in lab.hosts:
        lab.ssh(host.name, care.LEAVE_MAINTENANCE, check=False)
    care.mend(lab)


@pytest.mark.parametrize("case", CASES, ids=[case.runbook for case in CASES])
def test_killed(case: Case, mended: Lab, tireless: ControlNode, commands: WatchedCommands) -> None:
    each: Case | None = case
    while each is not None:
        survive(each, mended, tireless, commands)
        each = each.then


def survive(case: Case, lab: Lab, node: ControlNode, commands: WatchedCommands) -> None:
    """Run a runbook, kill it wherever it is to die, and judge what it came to."""
    boot = care.boot_of_engine(lab)
    case.prepare(lab, node)
    ordeal = play(case, node, commands)
    assert case.holds(lab)
    assert lab.overlaps() == []
    assert (care.boot_of_engine(lab) == boot) is not case.restarts_engine
    if not EVERY_POINT:
        struck = {point.split()[1].partition("@")[0] for point in ordeal.struck}
        assert struck == {*RECOVER.gates, *WRITES}


def play(case: Case, node: ControlNode, commands: WatchedCommands) -> Ordeal:
    """Run a runbook and kill it; nothing was done twice, and each gate decided once."""
    lab = node.lab
    parameters = case.parameters(lab, node.latest())
    commands.install()
    ordeal = Ordeal(lab, node, node.launch(case.runbook, **parameters), wanted)
    ended = ordeal.run()
    print(case.runbook, f"killed {len(ordeal.kills)} times:", *ordeal.kills, sep="\n  ")
    assert ended["state_type"] == "COMPLETED", ended["message"]
    assert node.ended_as(ordeal.run_id) == "completed"
    require_nothing_twice(ordeal, commands)
    lines = [line for _, line in commands.given().elements()]
    for beginning in case.once:
        assert sum(line.startswith(beginning) for line in lines) == 1, lines
    commands.remove()
    require_attached(ordeal)
    require_each_gate_decided_once(ordeal, case.gates)
    assert {point for point in ordeal.passed if wanted(point)} == ordeal.struck
    return ordeal


if EVERY_POINT:

    def test_clean_reinstall_killed(tmp_path_factory: pytest.TempPathFactory) -> None:
        with half_deployed.one_host(tmp_path_factory.mktemp("one-host"), SETTINGS) as node:
            commands = WatchedCommands(node.lab)
            half_deployed.break_off_in_the_storage(node.lab)
            play(CLEAN, node, commands)
            assert CLEAN.holds(node.lab)
            half_deployed.break_off_at_the_end(node.lab)
            half_deployed.leave_bootstrap_vm(node.lab)
            play(DEPLOY_ANEW, node, commands)
            assert DEPLOY_ANEW.holds(node.lab)
