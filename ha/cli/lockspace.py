"""`--reinitialize-lockspace`: an empty lockspace for the whiteboard, when nobody uses the old one.

Upstream's checks are skipped when block 0 is absent or one block cannot be read, and look at the
`stopped` flag alone. Here every block must be read; blocks and leases are watched for a change; and
sanlock must not be in the lockspace. What is proven live is never overwritten, with force or not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ha.cli.host import Host, Refused
from ha.cli.proof import AGENT, Failed, agent_of_this_host, keep, settle
from ha.config import ConfigError
from ha.config_files import read_agent_conf
from ha.core.leases import (
    DEFAULT_IO_TIMEOUT_SECONDS,
    HOST_IDS,
    Lease,
    dead_seconds,
    read_leases,
    renewal_seconds,
    sector_bytes_of,
)
from ha.core.record import GLOBAL_BLOCK, GlobalRecord, Record, judge_block
from ha.deploy_storage import LOCKSPACE_NAME
from ha.direct_io import PAGE_BYTES, read_direct
from ha.env.ports import EnvError, Whiteboard
from ha.services import ServicesFailed
from ha.storage_connect import connect
from ha.storage_domain import ALIGN_BYTES, StorageError

NOT_DONE = "The lockspace was not reinitialized."
FORCE = "--force"
# A live host writes its block every turn, and its lease at every renewal.
WATCHED_TURNS = 2.5
WATCHED_RENEWALS = 1.25


@dataclass(frozen=True, slots=True)
class _Storage:
    """The lockspace and the whiteboard of this host's storage domain."""

    path: Path
    sector_bytes: int
    whiteboard: Whiteboard

    def area(self) -> bytes:
        """Read the leases past all caches. Raises OSError."""
        return read_direct(self.path, 0, ALIGN_BYTES)


@dataclass(frozen=True, slots=True)
class _Look:
    """The shared storage at one moment."""

    blocks: Mapping[int, bytes]
    area: bytes


def reinitialize_lockspace(host: Host, options: Mapping[str, str]) -> None:
    """Write an empty lockspace; exit code 0 means that it was read back as one."""
    forced = "force" in options
    try:
        storage = _storage(host)
        seen = _look(storage)
        failed = [*_this_host(host), *_failed_blocks(seen.blocks)]
        settle(host, failed, refusal=NOT_DONE, force=FORCE, forced=forced)
        seen = _watch(host, storage, seen, named=failed, forced=forced)
        backup = keep(host, "lockspace", seen.area)
        if storage.area() != seen.area:
            raise Refused(f"{NOT_DONE} A host has just written its lease: {AGENT} runs somewhere")
    except (ConfigError, StorageError, EnvError, ServicesFailed, OSError) as error:
        raise Refused(f"{NOT_DONE} {error}") from error
    _write(host, storage, backup)


def _storage(host: Host) -> _Storage:
    domain = host.domain()
    connect(domain, options=host.conf().mnt_options, mount=host.mount)
    path = domain.prepared(domain.lockspace).resolve()
    old = read_direct(path, 0, ALIGN_BYTES)
    if len(old) != ALIGN_BYTES:
        raise StorageError(f"{path} has {len(old)} bytes, {ALIGN_BYTES} are needed")
    # The VM's lockspace is on the same storage, and not the one that is broken.
    sector_bytes = sector_bytes_of(read_direct(domain.ids, 0, PAGE_BYTES), old)
    return _Storage(path, sector_bytes, host.whiteboard(domain.prepared(domain.metadata)))


def _look(storage: _Storage) -> _Look:
    return _Look(storage.whiteboard.read_blocks(None), storage.area())


def _this_host(host: Host) -> list[Failed]:
    if failed := agent_of_this_host(host):
        return failed
    for host_id in host.sanlock.joined_as(LOCKSPACE_NAME):
        why = (
            f"sanlock of this host is in the lockspace {LOCKSPACE_NAME} with host id {host_id}. An"
            f" agent that stops gives it back: systemctl restart {AGENT}; systemctl stop {AGENT}"
        )
        failed.append(Failed("not-joined", why, overridable=False))
    return failed


def _failed_blocks(blocks: Mapping[int, bytes]) -> list[Failed]:
    failed = []
    judged = [judge_block(host_id, blocks[host_id]) for host_id in sorted(blocks)]
    flags = [block.record for block in judged if isinstance(block.record, GlobalRecord)]
    if not any(flag.maintenance for flag in flags):
        why = "block 0 says that it is off" if flags else "block 0 is absent or cannot be read"
        what = "Lockfile reset can be performed in global maintenance mode only"
        failed.append(Failed("global-maintenance", f"{what}: {why}"))
    for block in judged:
        record = block.record
        if block.bad:
            failed.append(Failed("readable-block", f"block {block.host_id}: {block.message}"))
        elif isinstance(record, Record) and record.stopped is not True:
            who = f"host {block.host_id} ({record.hostname})"
            what = "Lockfile reset cannot be performed with an active agent"
            failed.append(Failed("stopped-flag", f"{what}: {who} has not said that it stopped"))
    return failed


def _watch(
    host: Host, storage: _Storage, seen: _Look, *, named: Sequence[Failed], forced: bool
) -> _Look:
    """Wait as long as a live host could stay silent; return what is there at the end.

    `named` are the failed checks that force has overridden already.
    """
    leases = read_leases(seen.area, storage.sector_bytes)
    used = [lease for lease in leases if lease.timestamp]
    for lease in used:
        host.say(f"The lease on {_name(lease)} was not given back")
    io_timeouts = (lease.io_timeout_seconds for lease in leases)
    io_timeout_seconds = max(io_timeouts, default=DEFAULT_IO_TIMEOUT_SECONDS)
    turn_seconds = read_agent_conf(host.paths.agent_conf).timing.loop_seconds
    wait_seconds = max(
        WATCHED_TURNS * turn_seconds, WATCHED_RENEWALS * renewal_seconds(io_timeout_seconds)
    )
    dead_after_seconds = dead_seconds(io_timeout_seconds)
    if used and not forced:
        wait_seconds = max(wait_seconds, dead_after_seconds)
    host.say(f"Watching the blocks and the leases for {wait_seconds:.0f} s")
    host.clock.sleep(wait_seconds)
    later = _look(storage)
    failed = [*_this_host(host), *_alive(storage, seen, later)]
    failed += [each for each in _failed_blocks(later.blocks) if each not in named]
    if wait_seconds < dead_after_seconds:
        failed += [_not_free(lease, wait_seconds, dead_after_seconds) for lease in used]
    settle(host, failed, refusal=NOT_DONE, force=FORCE, forced=forced)
    return later


def _not_free(lease: Lease, watched_seconds: float, dead_after_seconds: int) -> Failed:
    why = (
        f"the lease on {_name(lease)} was not given back, and stood still for"
        f" {watched_seconds:.0f} s only: sanlock takes a host for dead after {dead_after_seconds} s"
    )
    return Failed("lease-free", why)


def _alive(storage: _Storage, seen: _Look, later: _Look) -> list[Failed]:
    failed = [
        Failed("liveness", f"host {host_id} has just written its block", overridable=False)
        for host_id in sorted(seen.blocks.keys() | later.blocks.keys())
        if host_id != GLOBAL_BLOCK and seen.blocks.get(host_id) != later.blocks.get(host_id)
    ]
    if seen.area != later.area:
        before = set(read_leases(seen.area, storage.sector_bytes))
        after = read_leases(later.area, storage.sector_bytes)
        changed = [_name(lease) for lease in after if lease not in before and lease.timestamp]
        why = f"a host has just written its lease: {', '.join(changed) or 'which is not known'}"
        failed.append(Failed("liveness", why, overridable=False))
    return failed


def _name(lease: Lease) -> str:
    return f"host id {lease.host_id} ({lease.owner_name or 'unnamed'})"


def _write(host: Host, storage: _Storage, backup: Path) -> None:
    way_back = (
        f"Way back, while every agent is stopped: dd if={backup} of={storage.path}"
        f" bs={ALIGN_BYTES} count=1 conv=notrunc,fsync"
    )
    try:
        host.sanlock.initialise_lockspace(
            LOCKSPACE_NAME, storage.path, sector_bytes=storage.sector_bytes
        )
        why = _not_empty(host, storage)
    except (EnvError, OSError) as error:
        raise Refused(
            f"It is not known what the lockspace holds now: {error}\n{way_back}"
        ) from error
    if why:
        raise Refused(f"The lockspace was written, but {why}\n{way_back}")
    host.say(
        f"The lockspace {LOCKSPACE_NAME} at {storage.path} is initialized and reads as empty:"
        f" {HOST_IDS[storage.sector_bytes]} free leases, sector {storage.sector_bytes},"
        f" align {ALIGN_BYTES}"
    )
    host.say(way_back)
    host.say(f"Now start the agents on all hosts: systemctl start {AGENT}")


def _not_empty(host: Host, storage: _Storage) -> str:
    """Say why what is read back is no empty lockspace; nothing when it is one."""
    found = host.sanlock.lockspace_name(storage.path, sector_bytes=storage.sector_bytes)
    if found != LOCKSPACE_NAME:
        return f"sanlock reads the name {found!r}"
    leases = read_leases(storage.area(), storage.sector_bytes)
    if len(leases) != HOST_IDS[storage.sector_bytes]:
        return f"only {len(leases)} leases are read back: the write was lost"
    for lease in leases:
        wrong = lease.space_name != LOCKSPACE_NAME or not lease.align_1m
        if wrong or lease.sector_bytes != storage.sector_bytes:
            return f"the lease on {_name(lease)} is not the one written: the write was lost"
        if lease.timestamp:
            return f"the lease on {_name(lease)} is in use: a host has written it meanwhile"
    return ""
