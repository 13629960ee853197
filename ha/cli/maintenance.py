"""`--set-maintenance`: the cluster's flag through the broker, this host's in ha.conf.

Upstream writes all three flags in every mode, so that one mode silently ends another. Here each
mode touches what it names, and `none` says what it cleared.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn

from ha.cli.host import Host, Refused
from ha.cli.notice import NOT_PROVEN, wait_for_notice
from ha.config import ConfigError, LocalMaintenance
from ha.core.record import GLOBAL_BLOCK, GlobalRecord, judge_block
from ha.core.sighting import VmState
from ha.env.ports import BrokerError, BrokerSilent, BrokerUnreachable, VmTrouble
from ha.errand import Broken, Errand, Unfinished
from ha.local_maintenance import load_local_maintenance, save_local_maintenance

MODES = ("global", "local", "none")
NO_BROKER = "Cannot connect to the HA daemon, please check the logs."
VM_IS_HERE = (
    "Unable to enter local maintenance mode: the engine VM is running on the current host, please"
    " migrate it before entering local maintenance mode."
)
VM_IS_ANYWHERE = (
    "Unable to enter local maintenance mode: libvirt does not answer, so it is not known whether"
    " the engine VM is running on the current host."
)
NOT_KNOWN = (
    "It is not known whether the flag was or will be written; look at it with hosted-engine"
    " --vm-status"
)
# A start that the agent began before it could read the flag has come to libvirt by then.
SETTLE_SECONDS = 2.0
LOOK_SECONDS = 10.0
_REMEDIES = {
    "not_locked": "The broker holds no lease on this host's id: start ovirt-ha-agent first",
    "lost_write": "The flag read back from the storage is not the one written: try again",
}


def set_maintenance(host: Host, options: Mapping[str, str]) -> None:
    """Enter or leave maintenance; exit code 0 means that it was read back.

    The cluster's flag is read back from storage, and every live host has taken notice of it. With
    this host's flag written, the engine VM is seen not to be here. Exit code 3 (NOT_PROVEN) means
    that the flag is there, but a host has not taken notice, or libvirt does not answer.
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
    enter_local(host, LocalMaintenance(engine=True, manual=True))
    host.say("This host is in local maintenance")


def enter_local(host: Host, flags: LocalMaintenance) -> None:
    """Write flags that take this host out of service, then see that the engine VM is not here.

    In this order no start slips through: one that the agent makes before it can read the flag is
    seen, and one that waits for the VM's lease is ended. Raises Refused and ConfigError; the flags
    are then what they were before, but for NOT_PROVEN.
    """
    before = load_local_maintenance(host.paths)
    _write_local(host, flags)
    host.clock.sleep(SETTLE_SECONDS)
    looking = Errand(
        "look-at-engine-vm",
        host.engine_vm.sighting,
        VmTrouble,
        LOOK_SECONDS,
        clock=host.clock,
        threads=host.threads,
    )
    try:
        state = looking.ask().state
    except (Unfinished, Broken) as error:
        raise Refused(
            "Local maintenance is written, but it is not known whether the engine VM is on"
            f" {host.name}: libvirt has not answered within {LOOK_SECONDS:g} s. A start that waits"
            " for the VM's lease is ended by the agent's next turn. Look again with hosted-engine"
            " --vm-status",
            NOT_PROVEN,
        ) from error
    if state not in (VmState.MISSING, VmState.DOWN):
        _take_back(host, before, VM_IS_ANYWHERE if state is VmState.UNKNOWN else VM_IS_HERE)


def _take_back(host: Host, flags: LocalMaintenance, why: str) -> NoReturn:
    try:
        _write_local(host, flags)
    except (Refused, ConfigError) as error:
        raise Refused(f"{why}\nThe flag is still set: {error}") from error
    raise Refused(why)


def _leave_both(host: Host) -> None:
    """Clear this host's flags first: they need nobody else."""
    if load_local_maintenance(host.paths).on:
        _write_local(host, LocalMaintenance())
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
    with _broker_answers(host):
        found = host.broker.read_blocks([GLOBAL_BLOCK])
    if GLOBAL_BLOCK not in found:
        return False
    record = judge_block(GLOBAL_BLOCK, found[GLOBAL_BLOCK]).record
    return bool(record.maintenance) if isinstance(record, GlobalRecord) else None


def _write_global(host: Host, *, on: bool) -> None:
    with _broker_answers(host, silence=NOT_KNOWN):
        host.broker.set_global_maintenance(on)
    if _read_global(host) is not on:
        raise Refused(
            f"Global maintenance is not {'on' if on else 'off'}: another host changed the flag"
            " at the same time. Look at --vm-status and try again"
        )


def _wait_for_notice(host: Host, *, on: bool) -> None:
    with _broker_answers(host):
        wait_for_notice(host, on=on)


def _write_local(host: Host, flags: LocalMaintenance) -> None:
    try:
        save_local_maintenance(host.paths, flags)
    except OSError as error:
        raise Refused(f"{host.paths.ha_conf}: {error.strerror}") from error
    if load_local_maintenance(host.paths) != flags:
        raise Refused(f"{host.paths.ha_conf} was changed by another program: try again")


@contextmanager
def _broker_answers(host: Host, *, silence: str = "") -> Iterator[None]:
    """Turn the broker's trouble into a refusal; `silence`: what follows when it says nothing."""
    try:
        yield
    except BrokerSilent as error:
        problem = f"The HA daemon of {host.name} was asked and has not answered ({error})."
        raise Refused(f"{problem} {silence}".rstrip()) from error
    except BrokerUnreachable as error:
        raise Refused(f"{NO_BROKER} ({host.name}: {error})") from error
    except BrokerError as error:
        raise Refused(f"{_REMEDIES.get(error.kind, 'The broker refuses')} ({error})") from error
