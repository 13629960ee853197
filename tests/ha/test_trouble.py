"""What an agent does when something is wrong with its host: docs/trouble.md has the whole table."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ha.agent import LostSight
from ha.core.record import Record, Verdict, judge_block
from ha.core.sighting import VmSighting, VmState
from ha.env.ports import BrokerError, EnvError
from tests.ha.agent_bench import Host
from tests.ha.fakes import HOST_ID, UNREACHABLE, UP

UNKNOWN = {"vm": "unknown", "health": "unknown", "detail": "unknown"}
YEARS = 10 * 365 * 86400.0


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.mark.parametrize(
    "trouble", [UNREACHABLE, BrokerError("storage", "read error"), BrokerError("failed", "sanlock")]
)
def test_without_broker_storage_or_sanlock_nothing_is_decided_and_the_agent_ends(
    host: Host, trouble: EnvError
) -> None:
    """systemd starts it again; the VM, if it runs here, is left to sanlock."""
    lost = [lambda: None] * 8 + [lambda: setattr(host.broker, "trouble", trouble)]
    calls_before: list[str] = []
    with pytest.raises(LostSight):
        host.run(*lost, lambda: calls_before.extend(host.vm.calls), turns=100)
    assert host.vm.calls == calls_before
    assert host.states[-1] != "AgentStopped"  # it could not be written


def test_a_host_id_that_another_host_uses_is_never_written_to(host: Host) -> None:
    def taken() -> None:
        raise BrokerError("host_id_taken", "another host uses it")

    host.broker.lock_host_id = taken  # type: ignore[method-assign]
    with pytest.raises(LostSight):
        host.run(turns=100)
    assert host.broker.published == []
    assert host.vm.calls == []
    assert [note.split()[0] for note in host.broker.notes] == ["anomaly.duplicate-host-id"]


@pytest.mark.parametrize(
    "garbage", [b"\xff" * 4096, b"2|2|1|1|0|x|h".ljust(4096, b"\0"), b"1" * 4096]
)
def test_an_own_block_that_cannot_be_read_is_written_anew_by_the_next_turn(
    host: Host, garbage: bytes
) -> None:
    host.broker.blocks[HOST_ID] = garbage
    host.run(turns=0)
    assert judge_block(HOST_ID, host.broker.blocks[HOST_ID]).verdict is Verdict.OK


def test_a_jump_of_the_wall_clock_changes_dates_for_people_and_nothing_else(tmp_path: Path) -> None:
    def night(name: str, jumps: bool) -> tuple[list[object], list[str]]:
        (tmp_path / name).mkdir()
        host = Host(tmp_path / name)
        jump = iter([0.0, YEARS, -YEARS, 3600.0, -3600.0] * 20)
        plain = host.clock.wall
        if jumps:
            host.clock.wall = lambda: plain() + next(jump)  # type: ignore[method-assign]
        plan: list[Callable[[], None]] = [lambda: None] * 9
        host.run(*plan, host.health(UP), lambda: None, host.health(UNKNOWN), lambda: None)
        return [facts_of(record) for record in host.broker.published], host.vm.calls

    assert night("steady", False) == night("jumping", True)


def facts_of(record: Record) -> object:
    return (
        record.timestamp,
        record.score,
        record.state,
        record.engine_status,
        record.local_conf_timestamp,
        record.maintenance,
        record.stopped,
    )


def test_without_libvirt_the_state_of_the_vm_is_unknown_and_nothing_is_done(host: Host) -> None:
    """Also when it goes just after it told that the VM runs: what went before is no news."""
    host.health(UP)()
    host.run(
        lambda: None,
        lambda: (
            host.vm.callback(VmSighting(VmState.UNKNOWN)),
            host.broker.values.update({"engine-health": UNKNOWN}),
        ),  # type: ignore[arg-type, return-value]
        *[lambda: None] * 20,
        host.health(UP),
        lambda: None,
    )
    assert host.states[:2] == ["ReinitializeFSM", "EngineUp"]
    assert set(host.states[2:22]) == {"UnknownLocalVmState"}
    assert {record.score for record in host.broker.published[2:22]} == {3400}
    assert host.states[-2] == "EngineUp"
    assert host.vm.calls == []
