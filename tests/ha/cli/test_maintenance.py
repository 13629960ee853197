"""`--set-maintenance`: each mode does what it names, and a lost write is never success."""

import threading

import pytest

from ha.config import LocalMaintenance
from ha.core.record import encode_global
from ha.core.sighting import VmSighting, VmState
from ha.env.ports import BrokerError, BrokerSilent, BrokerUnreachable
from ha.local_maintenance import load_local_maintenance, save_local_maintenance
from tests.ha.cli.sim import SimHost

BOTH = LocalMaintenance(engine=True, manual=True)
NEITHER = LocalMaintenance()
SET_KEY = "--set-shared-config local_maintenance True --type=ha"


def set_mode(host: SimHost, mode: str) -> int:
    return host.run("--set-maintenance", f"--mode={mode}")


def local(host: SimHost) -> LocalMaintenance:
    return load_local_maintenance(host.paths)


def test_global(host: SimHost) -> None:
    assert set_mode(host, "global") == 0
    assert host.broker.blocks[0] == encode_global(True)


def test_global_leaves_local_alone(host: SimHost) -> None:
    save_local_maintenance(host.paths, BOTH)
    assert set_mode(host, "global") == 0
    assert local(host) == BOTH
    assert "stays in local maintenance" in host.said


def test_local(host: SimHost) -> None:
    host.broker.blocks[0] = encode_global(True)
    assert set_mode(host, "local") == 0
    assert local(host) == BOTH
    assert host.broker.blocks[0] == encode_global(True)


def test_local_needs_no_broker(host: SimHost) -> None:
    host.broker.trouble = BrokerUnreachable("no socket")
    assert set_mode(host, "local") == 0


@pytest.mark.parametrize("state", [VmState.UP, VmState.PAUSED, VmState.POWERING_DOWN])
def test_local_is_refused_while_the_vm_is_here(host: SimHost, state: VmState) -> None:
    host.vm.state = state
    assert set_mode(host, "local") == 1
    assert host.complained.startswith(
        "Unable to enter local maintenance mode: the engine VM is running on the current host,"
        " please migrate it before entering local maintenance mode."
    )
    assert local(host) == NEITHER


def test_local_is_refused_when_nobody_knows_where_the_vm_is(host: SimHost) -> None:
    host.vm.state = VmState.UNKNOWN
    assert set_mode(host, "local") == 1
    assert local(host) == NEITHER


def test_a_start_that_was_under_way_when_the_flag_was_written_is_seen(host: SimHost) -> None:
    """The agent's turn had begun with a flag that was off."""

    def start() -> None:
        assert local(host) == BOTH
        host.vm.state = VmState.UP

    host.clock.naps.append(start)
    assert set_mode(host, "local") == 1
    assert "the engine VM is running on the current host" in host.complained
    assert local(host) == NEITHER


@pytest.mark.parametrize("was", [LocalMaintenance(engine=True), LocalMaintenance(manual=True)])
def test_a_flag_that_is_taken_back_is_as_it_was(host: SimHost, was: LocalMaintenance) -> None:
    save_local_maintenance(host.paths, was)
    host.vm.state = VmState.UP
    assert set_mode(host, "local") == 1
    assert local(host) == was


@pytest.mark.parametrize("command", ["--set-maintenance --mode=local", SET_KEY])
def test_a_libvirt_that_hangs_leaves_the_flag_and_that_is_said(
    host: SimHost, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """So it does while a start waits for the VM's lease, and the flag is what ends that start."""
    monkeypatch.setattr("ha.cli.maintenance.LOOK_SECONDS", 0.05)
    hung = threading.Event()

    def sighting() -> VmSighting:
        hung.wait(5)
        return VmSighting(VmState.UP)

    monkeypatch.setattr(host.vm, "sighting", sighting)
    code = host.run(*command.split())
    hung.set()
    assert code == 3
    assert local(host).on
    assert host.complained == (
        "Local maintenance is written, but it is not known whether the engine VM is on h1: libvirt"
        " has not answered within 0.05 s. A start that waits for the VM's lease is ended by the"
        " agent's next turn. Look again with hosted-engine --vm-status"
    )


def test_a_flag_that_cannot_be_taken_back_is_said(
    host: SimHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_disk() -> None:
        host.paths.ha_conf.with_name(".ha.conf.new").symlink_to("/dev/full")

    host.clock.naps.append(fill_disk)
    host.vm.state = VmState.UP
    assert set_mode(host, "local") == 1
    assert "the engine VM is running on the current host" in host.complained
    assert "The flag is still set: " in host.complained
    assert local(host) == BOTH


def test_none_clears_both_and_says_so(host: SimHost) -> None:
    save_local_maintenance(host.paths, BOTH)
    host.broker.blocks[0] = encode_global(True)
    assert set_mode(host, "none") == 0
    assert local(host) == NEITHER
    assert host.broker.blocks[0] == encode_global(False)
    assert "Local maintenance of this host was on and is cleared" in host.said
    assert "Global maintenance was on and is cleared" in host.said


def test_none_writes_nothing_when_all_is_off(host: SimHost) -> None:
    assert set_mode(host, "none") == 0
    assert host.broker.blocks == {}
    assert "was off" in host.said


def test_none_replaces_a_broken_block_0(host: SimHost) -> None:
    host.broker.blocks[0] = b"maintenance=x".ljust(4096, b"\0")
    assert set_mode(host, "none") == 0
    assert host.broker.blocks[0] == encode_global(False)


def test_none_with_an_unreachable_broker_tells_what_was_cleared(host: SimHost) -> None:
    save_local_maintenance(host.paths, BOTH)
    host.broker.trouble = BrokerUnreachable("no socket")
    assert set_mode(host, "none") == 1
    assert "Local maintenance of this host was on and is cleared" in host.said
    assert "Cannot connect to the HA daemon" in host.complained


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [("not_locked", "start ovirt-ha-agent"), ("lost_write", "try again"), ("storage", "refuses")],
)
def test_global_refused_by_the_broker(host: SimHost, kind: str, remedy: str) -> None:
    host.broker.trouble = BrokerError(kind, "why")
    assert set_mode(host, "global") == 1
    assert remedy in host.complained


def test_no_broker_and_no_answer_are_told_apart(host: SimHost) -> None:
    host.broker.trouble = BrokerUnreachable("/run/broker: no such file")
    assert set_mode(host, "global") == 1
    assert "Cannot connect to the HA daemon" in host.complained
    assert "(h1: /run/broker: no such file)" in host.complained
    assert "not known" not in host.complained

    host.broker.trouble = BrokerSilent("set_global_maintenance: no answer in 60 s")
    assert set_mode(host, "global") == 1
    assert host.complained == (
        "The HA daemon of h1 was asked and has not answered (set_global_maintenance: no answer in"
        " 60 s). It is not known whether the flag was or will be written; look at it with"
        " hosted-engine --vm-status"
    )


@pytest.mark.parametrize("mode", ["global", "none"])
def test_a_lost_write_is_no_success(host: SimHost, mode: str) -> None:
    host.broker.blocks[0] = encode_global(mode == "none")
    host.broker.loses_writes = True
    assert set_mode(host, mode) == 1
    assert "Global maintenance is not" in host.complained


def test_modes_as_upstream_refuses_them(host: SimHost) -> None:
    assert host.run("--set-maintenance") == 1
    assert host.complained == "You must specify a maintenance mode with --mode"
    assert set_mode(host, "x") == 1
    assert host.complained == "Invalid value 'x' for --mode"
