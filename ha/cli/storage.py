"""`--connect-storage` and `--disconnect-storage`: the storage domain on this host, and off it."""

from collections.abc import Mapping

from ha.cli.host import Host, Refused
from ha.config import ConfigError
from ha.core.sighting import VmState
from ha.deploy_storage import LOCKSPACE_NAME
from ha.env.ports import LockspaceFailed
from ha.services import ServicesFailed
from ha.storage_connect import connect, disconnect, is_mounted_by_us
from ha.storage_domain import StorageDomain, StorageError

UNITS = ("ovirt-ha-agent", "ovirt-ha-broker")
STAYS = "The storage domain stays connected:"


def connect_storage(host: Host, options: Mapping[str, str]) -> None:
    """Mount the storage domain and prepare its volumes."""
    del options
    try:
        domain = host.domain()
        connect(domain, options=host.conf().mnt_options, mount=host.mount)
    except (ConfigError, StorageError, OSError) as error:
        raise Refused(f"The storage domain is not connected: {error}") from error
    host.say(f"The storage domain {domain.sd_uuid} is connected at {domain.directory}")


def disconnect_storage(host: Host, options: Mapping[str, str]) -> None:
    """Unmount the storage domain, when nothing on this host uses it; exit code 0: it is off."""
    del options
    try:
        _require_unused(host)
        domain = host.domain()
        _leave_lockspaces(host, domain)
        was_connected = disconnect(domain, unmount=host.unmount)
    except (ConfigError, StorageError, LockspaceFailed, ServicesFailed, OSError) as error:
        raise Refused(f"{STAYS} {error}") from error
    if was_connected and not (domain.is_block or is_mounted_by_us(domain)):
        host.say(f"{domain.mount} was mounted by somebody else, and stays mounted")
    word = "disconnected" if was_connected else "not connected: nothing to do"
    host.say(f"The storage domain {domain.sd_uuid} is {word}")


def _require_unused(host: Host) -> None:
    active = [unit for unit in UNITS if host.services.is_active(unit)]
    if active:
        stop = f"systemctl stop {' '.join(active)}"
        raise Refused(f"{STAYS} {', '.join(active)} run on this host. Stop them first: {stop}")
    state = host.engine_vm.sighting().state
    if state is VmState.UNKNOWN:
        raise Refused(
            f"{STAYS} libvirt does not answer, so it is not known whether the engine VM is running"
            " on the current host."
        )
    if state not in (VmState.MISSING, VmState.DOWN):
        raise Refused(f"{STAYS} the engine VM is on the current host, and it is {state.value}.")


def _leave_lockspaces(host: Host, domain: StorageDomain) -> None:
    """Give the host ids back, as sanlock keeps the storage open; never by force.

    Raises LockspaceFailed, also while a VM here holds a lease in the storage domain.
    """
    if not host.services.is_active("sanlock"):
        return
    places = {LOCKSPACE_NAME: domain.prepared(domain.lockspace), domain.sd_uuid: domain.ids}
    for name, path in places.items():
        for host_id in host.sanlock.joined_as(name):
            host.say(f"Leaving the lockspace {name}, host id {host_id}")
            host.sanlock.lockspace(name, path).leave(host_id)
        if left := host.sanlock.joined_as(name):
            raise LockspaceFailed(f"sanlock is still in the lockspace {name}, host ids {left}")
