"""`--clean-metadata`: empty one host's block on the whiteboard, when that host is proven gone.

Three witnesses speak: the block itself (it must not change while it is watched), sanlock (the lease
on the host id must be free to take, so the host does not run) and the `stopped` flag, which force
overrides by name.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ha.cli.host import Host, Refused
from ha.cli.proof import Failed, agent_of_this_host, keep, settle
from ha.config import ConfigError
from ha.config_files import read_agent_conf
from ha.core.record import BLOCK_BYTES, MAX_HOST_ID, Record, judge_block
from ha.deploy_storage import LOCKSPACE_NAME
from ha.env.ports import EnvError, HostIdTaken, Whiteboard
from ha.services import ServicesFailed
from ha.storage_connect import connect
from ha.storage_domain import StorageDomain, StorageError

# A live host writes every turn; two and a half turns without a write are not a coincidence.
WATCHED_TURNS = 2.5
_HOST_ID = re.compile("[0-9]{1,9}")
NOT_DONE = "The metadata was not cleaned."


def clean_metadata(host: Host, options: Mapping[str, str]) -> None:
    """Empty the block of this host, or of --host-id; exit code 0 means that it reads as empty."""
    try:
        conf = host.conf()
        host_id = _host_id(options.get("host-id"), conf.host_id)
        domain = host.domain()
        connect(domain, options=conf.mnt_options, mount=host.mount)
        whiteboard = host.whiteboard(domain.prepared(domain.metadata))
        block = whiteboard.read_blocks([host_id]).get(host_id)
        failed = [*agent_of_this_host(host), *_unclean(host_id, block)]
        forced = "force-cleanup" in options
        settle(host, failed, refusal=NOT_DONE, force="--force-cleanup", forced=forced)
        if block is None:
            host.say(f"Metadata for host {host_id} is missing: nothing to clean")
            return
        _require_silence(host, whiteboard, host_id, block)
        with _host_id_taken(host, domain, host_id):
            _empty(host, whiteboard, host_id, block)
    except (ConfigError, StorageError, EnvError, ServicesFailed, OSError) as error:
        raise Refused(f"{NOT_DONE} {error}") from error


def _host_id(given: str | None, own: int) -> int:
    if given is None:
        return own
    if not _HOST_ID.fullmatch(given) or not 1 <= int(given) <= MAX_HOST_ID:
        raise Refused(f"Invalid value '{given}' for --host-id: 1 to {MAX_HOST_ID} is possible")
    return int(given)


def _unclean(host_id: int, block: bytes | None) -> list[Failed]:
    judged = judge_block(host_id, block or b"")
    if judged.bad:
        return [Failed("readable-block", f"block {host_id}: {judged.message}")]
    record = judged.record
    if isinstance(record, Record) and record.stopped is not True:
        who = f"host {host_id} ({record.hostname})"
        return [
            Failed(
                "stopped-flag",
                f"Cannot clean unclean metadata block: {who} did not say that it stopped",
            )
        ]
    return []


def _require_silence(host: Host, whiteboard: Whiteboard, host_id: int, block: bytes) -> None:
    wait_seconds = WATCHED_TURNS * read_agent_conf(host.paths.agent_conf).timing.loop_seconds
    host.say(f"Watching the block of host {host_id} for {wait_seconds:.0f} s")
    host.clock.sleep(wait_seconds)
    if whiteboard.read_blocks([host_id]).get(host_id) != block:
        raise Refused(f"Host {host_id} is alive: it has just written its block")


@contextmanager
def _host_id_taken(host: Host, domain: StorageDomain, host_id: int) -> Iterator[None]:
    """Hold the lease on the host id while its block is emptied, as its own agent would."""
    lockspace = host.sanlock.lockspace(LOCKSPACE_NAME, domain.prepared(domain.lockspace))
    if lockspace.held(host_id):
        yield
        return
    host.say(f"Taking the lease on host id {host_id}; this takes up to a few minutes")
    try:
        lockspace.join(host_id)
        yield
    except HostIdTaken as error:
        raise Refused(
            f"sanlock refuses host id {host_id}: the host runs, or this host still holds its own id"
            " because its agent was killed. An agent that is stopped gives it back:"
            f" systemctl restart ovirt-ha-agent; systemctl stop ovirt-ha-agent. {error}"
        ) from error
    finally:
        # Also after a join that was interrupted, which sanlock would go on with.
        lockspace.leave(host_id)


def _empty(host: Host, whiteboard: Whiteboard, host_id: int, block: bytes) -> None:
    backup = keep(host, f"block-{host_id}", block)
    if whiteboard.read_blocks([host_id]).get(host_id) != block:
        raise Refused(f"Host {host_id} is alive: it has just written its block")
    whiteboard.write_block(host_id, bytes(BLOCK_BYTES))
    if host_id in whiteboard.read_blocks([host_id]):
        raise Refused(f"The block of host {host_id} was written again: the host runs")
    host.say(f"Way back: write the backup {backup} over block {host_id} while its agent is stopped")
    host.say(f"The metadata of host {host_id} is cleaned")
