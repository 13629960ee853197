"""`--set-maintenance`: the cluster's flag through the broker, this host's in ha.conf.

Upstream writes all three flags in every mode, so that one mode silently ends another. Here each
mode touches what it names, and `none` says what it cleared.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ha.cli.host import Host, Refused
from ha.cli.notice import wait_for_notice
from ha.config import LocalMaintenance
from ha.core.record import GLOBAL_BLOCK, GlobalRecord, judge_block
from ha.core.sighting import VmState
from ha.env.ports import BrokerError, BrokerUnreachable
from ha.local_maintenance import load_local_maintenance, save_local_maintenance

MODES = ("global", "local", "none")
NO_BROKER = "Cannot connect to the HA daemon, please check the logs."
VM_IS_HERE = (
    "Unable to enter local maintenance mode: the engine VM is running on the current host, please"
    " migrate it before entering local maintenance mode."
)
_REMEDIES = {
    "not_locked": "The broker holds no lease on this host's id: start ovirt-ha-agent first",
    "lost_write": "The flag read back from the storage is not the one written: try again",
}


def set_maintenance(host: Host, options: Mapping[str, str]) -> None:
    """Enter or leave maintenance; exit code 0 means that it was read back.

    The cluster's flag is read back from storage, and every live host has taken notice of it; exit
    code 3 (NOT_PROVEN) means that the flag is there and a live host has not.
    """
    mode = options.get("mode")
    if mode is None:
        raise Refused("You must specify a maintenance mode with --mode")
    if mode not in MODES:
        raise Refused(f"Invalid value '{mode}' for --mode")
    if mode == "global":
        _write_global(host, on=True)
        host.say("Global maintenance is on")
        if load_local_maintenance(host.paths).on:
            host.say("This host stays in local maintenance")
        _wait_for_notice(host, on=True)
    elif mode == "local":
        _enter_local(host)
    else:
        _leave_both(host)


def _enter_local(host: Host) -> None:
    require_vm_elsewhere(host)
    _write_local(host, on=True)
    host.say("This host is in local maintenance")


def require_vm_elsewhere(host: Host) -> None:
    """Refuse local maintenance while the engine VM is here, or may be."""
    state = host.engine_vm.sighting().state
    if state is VmState.UNKNOWN:
        raise Refused(
            "Unable to enter local maintenance mode: libvirt does not answer, so it is not known"
            " whether the engine VM is running on the current host."
        )
    if state not in (VmState.MISSING, VmState.DOWN):
        raise Refused(VM_IS_HERE)


def _leave_both(host: Host) -> None:
    """Clear this host's flags first: they need nobody else."""
    if load_local_maintenance(host.paths).on:
        _write_local(host, on=False)
        host.say("Local maintenance of this host was on and is cleared")
    else:
        host.say("Local maintenance of this host was off")
    flag = _read_global(host)
    if flag is False:
        host.say("Global maintenance was off")
        return
    _write_global(host, on=False)
    was = "was on" if flag else "could not be read"
    host.say(f"Global maintenance {was} and is cleared")
    _wait_for_notice(host, on=False)


def _read_global(host: Host) -> bool | None:
    """Return the flag on the storage, None when block 0 holds something else."""
    with _broker_answers():
        found = host.broker.read_blocks([GLOBAL_BLOCK])
    if GLOBAL_BLOCK not in found:
        return False
    record = judge_block(GLOBAL_BLOCK, found[GLOBAL_BLOCK]).record
    return bool(record.maintenance) if isinstance(record, GlobalRecord) else None


def _write_global(host: Host, *, on: bool) -> None:
    with _broker_answers():
        host.broker.set_global_maintenance(on)
    if _read_global(host) is not on:
        raise Refused(
            f"Global maintenance is not {'on' if on else 'off'}: another host changed the flag"
            " at the same time. Look at --vm-status and try again"
        )


def _wait_for_notice(host: Host, *, on: bool) -> None:
    with _broker_answers():
        wait_for_notice(host, on=on)


def _write_local(host: Host, *, on: bool) -> None:
    flags = LocalMaintenance(engine=on, manual=on)
    try:
        save_local_maintenance(host.paths, flags)
    except OSError as error:
        raise Refused(f"{host.paths.ha_conf}: {error.strerror}") from error
    if load_local_maintenance(host.paths) != flags:
        raise Refused(f"{host.paths.ha_conf} was changed by another program: try again")


@contextmanager
def _broker_answers() -> Iterator[None]:
    """Turn the broker's trouble into a refusal."""
    try:
        yield
    except BrokerUnreachable as error:
        raise Refused(NO_BROKER) from error
    except BrokerError as error:
        raise Refused(f"{_REMEDIES.get(error.kind, 'The broker refuses')} ({error})") from error
