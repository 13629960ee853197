"""Runbooks on real hosts, killed with -9 wherever they come to: the same end, nothing twice.

RUNBOOKS_KILL=all kills every runbook at every point (`make kill-everywhere`). Otherwise it is a
sample: recover-lockspace, in the middle of and after its raw writes, and at its gates; what
test_runbook_killed.py does for metadata-too-new is not repeated.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.lockspace_area import faults, held
from tests.lab import care, lockspaces
from tests.lab.cluster import Lab
from tests.lab.control_node import ControlNode
from tests.lab.kill_everywhere import (
    Ordeal,
    require_attached,
    require_each_gate_decided_once,
    require_nothing_twice,
)
from tests.lab.lockspaces import spoil, zeros
from tests.lab.rescue_medium import UP, make_rescue_medium
from tests.lab.watched_commands import WatchedCommands

pytestmark = [pytest.mark.lab, pytest.mark.slow]
EVERY_POINT = os.environ.get("RUNBOOKS_KILL") == "all"
WRITES = ("initialise_lockspace", "write_maintenance_flag")
# More kills than an accident would explain, each followed at once by the next attempt.
SETTINGS = {"RUNBOOKS_CRASHES_MAX": "1000", "RUNBOOKS_PAUSE_SECONDS_MAX": "0"}
MEDIUM = "/var/tmp/rescue.iso"
FLAGS = "cat /var/lib/ovirt-hosted-engine-ha/ha.conf"


@dataclass(frozen=True)
class Case:
    """A runbook in the lab: how it is prepared, its parameters, its gates, and what it leaves."""

    runbook: str
    holds: Callable[[Lab], bool]
    prepare: Callable[[Lab], None] = lambda lab: None
    parameters: Callable[[Lab], Mapping[str, str]] = lambda lab: {}
    gates: tuple[str, ...] = ()
    once: tuple[str, ...] = ()  # what is given once in the whole cluster: beginnings of commands
    then: "Case | None" = None  # the runbook that takes the first one's effect back
    restarts_engine: bool = False


def lose_lockspace(lab: Lab) -> None:
    spoil(lab, zeros())
    lockspaces.wait_until_lost(lab)


def lockspace_is_sound(lab: Lab) -> bool:
    slots = lockspaces.slots(lab)
    return not faults(slots) and list(held(slots)) == [1, 2, 3] and not care.unsettled(lab)


def one_host_is_out(lab: Lab) -> bool:
    said = care.on_all(lab, FLAGS)
    return sorted(text.count("=True") for text in said.values()) == [0, 0, 2]


def put_bad_block(lab: Lab) -> None:
    lab.put_block(care.BAD_HOST_ID, care.BAD_BLOCK)


def put_medium(lab: Lab) -> None:
    root = lab.machine(care.engine_host(lab)).root
    make_rescue_medium(Path(lab.parts.state.image), root / MEDIUM.lstrip("/"))


def is_settled(lab: Lab) -> bool:
    return not care.unsettled(lab)


def hands_are_off(lab: Lab) -> bool:
    return care.states(lab) == care.HANDS_OFF


def host_out(lab: Lab) -> Mapping[str, str]:
    said = care.on_all(lab, FLAGS)
    return {"host": next(host for host, text in said.items() if "=True" in text)}


LOCKSPACE_GATES = ("approve_stop_first", "approve_lockspace_write")
CASES = [
    Case(
        "recover-lockspace",
        lockspace_is_sound,
        lose_lockspace,
        gates=LOCKSPACE_GATES,
        once=("sanlock direct init", "dd"),
    )
]
if EVERY_POINT:
    CASES += [
        Case(
            "metadata-too-new",
            is_settled,
            put_bad_block,
            gates=("approve_write",),
            once=("dd",),
        ),
        Case(
            "local-maintenance",
            one_host_is_out,
            parameters=lambda lab: {"host": care.engine_host(lab)},
            once=("virsh",),
            then=Case("end-local-maintenance", is_settled, parameters=host_out),
        ),
        Case(
            "enter-global-maintenance",
            hands_are_off,
            parameters=lambda lab: {"reason": "a test of the lab"},
            then=Case("leave-global-maintenance", is_settled),
        ),
        Case("engine-console", is_settled),
        Case(
            "boot-rescue",
            is_settled,
            put_medium,
            lambda lab: {"medium": MEDIUM, "console_says": UP},
            gates=("approve_rescue", "approve_rescue_done"),
            restarts_engine=True,
        ),
    ]


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
    case.prepare(lab)
    parameters = case.parameters(lab)
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
    assert case.holds(lab)
    assert lab.overlaps() == []
    assert (care.boot_of_engine(lab) == boot) is not case.restarts_engine
    if not EVERY_POINT:
        struck = {point.split()[1].partition("@")[0] for point in ordeal.struck}
        assert struck == {*case.gates, *WRITES}
