"""The runbooks that are killed in the lab: how each is prepared, and what it must come to."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.lockspace_area import faults, held
from tasks.witnesses import block_at
from tests.lab import care, lockspaces, versions
from tests.lab.cluster import Lab
from tests.lab.control_node import ControlNode
from tests.lab.deploy import ANSWERS
from tests.lab.half_deployed import BOOTSTRAP, DOMAIN
from tests.lab.lockspaces import read_area, spoil, zeros
from tests.lab.rescue_medium import UP, make_rescue_medium

EVERY_POINT = os.environ.get("RUNBOOKS_KILL") == "all"
MEDIUM = "/var/tmp/rescue.iso"
FLAGS = "cat /var/lib/ovirt-hosted-engine-ha/ha.conf"
STOPPED = {"inactive"}


@dataclass(frozen=True)
class Case:
    """A runbook in the lab: how it is prepared, its parameters, its gates, and what it leaves."""

    runbook: str
    holds: Callable[[Lab], bool]
    prepare: Callable[[Lab, ControlNode], None] = lambda lab, node: None
    # The run before it is the last one that was launched, as by `prepare` or the case before.
    parameters: Callable[[Lab, str], Mapping[str, str]] = lambda lab, before: {}
    gates: tuple[str, ...] = ()
    once: tuple[str, ...] = ()  # what is given once in the whole cluster: beginnings of commands
    then: "Case | None" = None  # the runbook that takes the first one's effect back
    restarts_engine: bool = False


def lose_lockspace(lab: Lab, node: ControlNode) -> None:
    spoil(lab, zeros())
    lockspaces.wait_until_lost(lab)


def lockspace_is_sound(lab: Lab) -> bool:
    slots = lockspaces.slots(lab)
    return not faults(slots) and list(held(slots)) == [1, 2, 3] and not care.unsettled(lab)


def lockspace_is_lost_again(lab: Lab) -> bool:
    return read_area(lab) == zeros() and care.services(lab) == STOPPED


def stop_all(lab: Lab, node: ControlNode) -> None:
    care.on_all(lab, care.STOP)


def of_run(lab: Lab, before: str) -> Mapping[str, str]:
    return {"run_id": before}


def one_host_is_out(lab: Lab) -> bool:
    said = care.on_all(lab, FLAGS)
    return sorted(text.count("=True") for text in said.values()) == [0, 0, 2]


def put_bad_block(lab: Lab, node: ControlNode) -> None:
    lab.put_block(care.BAD_HOST_ID, care.BAD_BLOCK)


def block_is_bad_again(lab: Lab) -> bool:
    block = block_at(care.whiteboard(lab), care.BAD_HOST_ID)
    return block == care.BAD_BLOCK and care.services(lab) == STOPPED


def leave_a_run_at_its_gate(lab: Lab, node: ControlNode) -> None:
    put_bad_block(lab, node)
    node.wait_for_gate(node.launch("metadata-too-new", canary=care.idle_host(lab)))


def put_medium(lab: Lab, node: ControlNode) -> None:
    root = lab.machine(care.engine_host(lab)).root
    make_rescue_medium(Path(lab.parts.state.image), root / MEDIUM.lstrip("/"))


def begin_with_the_old(lab: Lab, node: ControlNode) -> None:
    versions.begin_with_the_old(lab)


def is_settled(lab: Lab) -> bool:
    return not care.unsettled(lab)


def is_upgraded(lab: Lab) -> bool:
    return versions.all_are_new(lab) and not care.unsettled(lab)


def hands_are_off(lab: Lab) -> bool:
    return care.states(lab) == care.HANDS_OFF


def host_out(lab: Lab, before: str) -> Mapping[str, str]:
    said = care.on_all(lab, FLAGS)
    return {"host": next(host for host, text in said.items() if "=True" in text)}


def domain_is_gone(lab: Lab) -> bool:
    return lab.ssh("h1", "test", "-e", DOMAIN, check=False).returncode == 1


def engine_runs_anew(lab: Lab) -> bool:
    lab.wait_for_engine()
    return lab.ssh("h1", "test", "-e", BOOTSTRAP, check=False).returncode == 1


RECOVER = Case(
    "recover-lockspace",
    lockspace_is_sound,
    lose_lockspace,
    gates=("approve_stop_first", "approve_lockspace_write"),
    once=("sanlock direct init", "dd"),
    then=Case(
        "restore-lockspace",
        lockspace_is_lost_again,
        stop_all,
        of_run,
        gates=("approve_lockspace_restore",),
        once=("dd",),
    )
    if EVERY_POINT
    else None,
)
REST = [
    Case(
        "metadata-too-new",
        is_settled,
        put_bad_block,
        gates=("approve_write",),
        once=("dd",),
        then=Case(
            "restore-metadata",
            block_is_bad_again,
            stop_all,
            of_run,
            gates=("approve_restore",),
            once=("dd",),
        ),
    ),
    Case(
        "local-maintenance",
        one_host_is_out,
        parameters=lambda lab, before: {"host": care.engine_host(lab)},
        once=("virsh",),
        then=Case("end-local-maintenance", is_settled, parameters=host_out),
    ),
    Case(
        "enter-global-maintenance",
        hands_are_off,
        parameters=lambda lab, before: {"reason": "a test of the lab"},
        then=Case("leave-global-maintenance", is_settled),
    ),
    Case("engine-console", is_settled),
    Case("watch", is_settled),
    Case(
        "boot-rescue",
        is_settled,
        put_medium,
        lambda lab, before: {"medium": MEDIUM, "console_says": UP},
        gates=("approve_rescue", "approve_rescue_done"),
        restarts_engine=True,
    ),
    *(
        Case(
            runbook,
            is_upgraded,
            begin_with_the_old,
            gates=("approve_upgrade", "approve_rest"),
        )
        for runbook in ("upgrade", "upgrade-howto")
    ),
    # The last one: the run that is broken keeps its lease of global maintenance.
    Case(
        "break-lock",
        lambda lab: care.services(lab) == STOPPED,
        leave_a_run_at_its_gate,
        gates=("approve_break",),
    ),
]
# On a host of its own, on which a deployment broke off.
CLEAN = Case(
    "clean-reinstall",
    domain_is_gone,
    parameters=lambda lab, before: {"host": "h1", "purge_storage": "true"},
    gates=("approve_cleaning", "approve_purge"),
)
DEPLOY_ANEW = Case(
    "clean-reinstall",
    engine_runs_anew,
    parameters=lambda lab, before: {
        "host": "h1",
        "purge_storage": "true",
        "answer_file": ANSWERS,
    },
    gates=("approve_cleaning", "approve_purge"),
    once=("hosted-engine --deploy",),
)
CASES = [RECOVER, *(REST if EVERY_POINT else [])]
