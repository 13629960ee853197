"""A lockspace that is really broken: found out in four ways, recovered, and the undo of it."""

from collections.abc import Iterator

import pytest

from flows.recover_lockspace import recover
from flows.restore_lockspace import restore_lockspace
from tasks.lockspace_area import ALIGN_BYTES, faults, held
from tasks.plan_run import make_plan
from tasks.refusal import CheckRefused
from tests.lab import care, lockspaces
from tests.lab.cluster import Lab
from tests.lab.control_node import APPROVED, ControlNode
from tests.lab.lockspaces import CORRUPTIONS, read_area, spoil

pytestmark = [pytest.mark.lab, pytest.mark.slow]
RECOVER = "recover-lockspace"
RESTORE = "restore-lockspace"


@pytest.fixture
def settled(lab: Lab, control_node: ControlNode) -> Iterator[Lab]:
    """The lab at work; whatever a test leaves is mended."""
    care.wait_until_settled(lab)
    yield lab
    for runbook in (RECOVER, RESTORE):
        if run_id := control_node.unfinished(runbook):
            control_node.read("cancel", run_id, accept=(0, 1))
    if faults(lockspaces.slots(lab)) or care.unsettled(lab):
        lockspaces.mend(lab)


def test_each_kind_of_damage_is_told_apart_and_a_sound_one_is_refused(
    settled: Lab, control_node: ControlNode
) -> None:
    entry = control_node.catalogue[RECOVER]
    with control_node.here():
        with pytest.raises(CheckRefused, match="nothing to repair: all 2000 slots"):
            recover.fn("lab")
        for what, damage in CORRUPTIONS.items():
            spoil(settled, damage())
            lockspaces.wait_until_lost(settled)
            plan = make_plan(entry, recover.fn, {"cluster": "lab"})
            assert plan.findings == ()
            [evidence] = [p.detail for p in plan.parts if p.task == "approve_lockspace_write"]
            assert f"slots 1-2000: **{what}**" in evidence
            code = what.split("(")[1].rstrip(")")
            assert evidence.count(f"| {code} | 0 |") == 3  # as each host's own sanlock reads it
            assert [part.task for part in plan.parts if part.kind == "gate"] == [
                "approve_stop_first",
                "approve_lockspace_write",
            ]
    # An agent that is out of sight of the storage for long enough begins anew.
    assert care.services(settled) <= {"active", "activating"}


def test_it_is_recovered_and_the_undo_restores_every_byte(
    settled: Lab, control_node: ControlNode
) -> None:
    node, boot = control_node, care.boot_of_engine(settled)
    spoil(settled, lockspaces.garbage())
    lockspaces.wait_until_lost(settled)
    before = read_area(settled, 8 * ALIGN_BYTES)
    run_id = node.launch(RECOVER)
    for _gate in ("approve_stop_first", "approve_lockspace_write"):
        node.wait_for_gate(run_id)
        node.answer(run_id, "approve")
    assert node.wait_for_end(run_id, 300)["state_type"] == "COMPLETED"
    assert faults(lockspaces.slots(settled)) == {}
    assert list(held(lockspaces.slots(settled))) == [1, 2, 3]
    assert care.unsettled(settled) == ""
    assert care.boot_of_engine(settled) == boot

    with node.here(), pytest.raises(CheckRefused, match="agent active, broker active"):
        restore_lockspace.fn("lab", run_id)
    care.on_all(settled, care.STOP)
    with node.here(lambda gate, shown: APPROVED):
        restore_lockspace.fn("lab", run_id)
    assert read_area(settled, 8 * ALIGN_BYTES) == before
    assert settled.engine_answers()
    assert care.boot_of_engine(settled) == boot
