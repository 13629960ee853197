"""The broker: what it does for the agent and the command, on the ports of one host.

Every read comes from storage and every write is done and read back before it is answered: there is
no copy in memory that could show a host that is gone or a flag that was never written.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from ha.core.record import BLOCK_BYTES, GLOBAL_BLOCK, MAX_HOST_ID, encode_global
from ha.engine_watch import EngineLooks
from ha.env.live_hosts import LiveHosts
from ha.env.ports import (
    BrokerEnv,
    BrokerError,
    LockspaceFailed,
    LostWrite,
    Report,
    WhiteboardFailed,
)
from ha.errand import Errand, Unfinished
from ha.host_lease import HostLease
from ha.monitors import Monitors

GLOBAL_WRITE_ATTEMPTS = 3
LEAVE_SECONDS = 40.0

log = logging.getLogger(__name__)


class BrokerService:
    """Serves one host id; safe to call from several threads.

    Refusals are BrokerError: "not_locked" when the lease on the host id is not held, "joining"
    while it is being taken, "lost_write" when storage forgot a write, "storage" when it fails,
    "host_id_taken", "lockspace" and "failed" when sanlock does.
    """

    def __init__(
        self,
        env: BrokerEnv,
        host_id: int,
        *,
        interval_seconds: float = 10.0,
        watch_seconds: float = 0.25,
    ) -> None:
        self._env = env
        self._host_id = host_id
        self._monitors = Monitors(env, interval_seconds)
        self._lease = HostLease(
            env.lockspace, env.vm_lockspace, host_id, clock=env.clock, threads=env.threads
        )
        self._looks = EngineLooks(env, watch_seconds)
        self._live: tuple[LiveHosts, float] | None = None

    def start(self) -> None:
        """Start the monitors."""
        self._monitors.start()

    def stop(self, *, host_goes_down: bool = False) -> None:
        """Stop the monitors, and leave the lockspaces if the host goes down.

        Else they stay. The engine VM may run here and needs them, and a broker that is restarted,
        as by an update, would have to wait for them again.
        """
        self._monitors.stop()
        if host_goes_down:
            leaving = Errand(
                "leave-lockspaces",
                self._lease.leave_both,
                LockspaceFailed,
                LEAVE_SECONDS,
                clock=self._env.clock,
                threads=self._env.threads,
            )
            try:
                leaving.ask()
            except Unfinished as error:
                log.warning("The lockspaces are not left: %s", error)

    def monitors(self) -> Mapping[str, object]:
        """Return the monitors' latest values."""
        return self._monitors.values()

    def read_blocks(self, host_ids: Sequence[int] | None) -> Mapping[int, bytes]:
        """Read blocks from storage."""
        for host_id in host_ids or ():
            if not GLOBAL_BLOCK <= host_id <= MAX_HOST_ID:
                raise BrokerError("bad_request", f"no host id from 0 to {MAX_HOST_ID}: {host_id}")
        with _storage_trouble():
            return self._env.whiteboard.read_blocks(host_ids)

    def write_block(self, block: bytes) -> None:
        """Write this host's block, while the lease on its id is held."""
        if len(block) != BLOCK_BYTES:
            raise BrokerError("bad_request", f"a block has {BLOCK_BYTES} bytes, not {len(block)}")
        self._lease.require()
        with _storage_trouble():
            self._env.whiteboard.write_block(self._host_id, block)

    def set_global_maintenance(self, on: bool) -> None:
        """Write block 0, while the lease is held; tried again when storage shows another block.

        Upstream keeps one write waiting and so loses this one when the agent's comes after it.
        """
        self._lease.require()
        block = encode_global(on)
        for attempt in range(1, GLOBAL_WRITE_ATTEMPTS + 1):
            try:
                with _storage_trouble():
                    self._env.whiteboard.write_block(GLOBAL_BLOCK, block)
                log.info("Global maintenance is written as %s", "on" if on else "off")
                return
            except BrokerError as refusal:
                if refusal.kind != "lost_write" or attempt == GLOBAL_WRITE_ATTEMPTS:
                    raise
                log.warning("%s; writing it again", refusal)

    def lock_host_id(self) -> None:
        """Take the lease on this host's id in both lockspaces; "joining" until it is held."""
        self._lease.lock()

    def release_host_id(self) -> None:
        """Leave the whiteboard's lockspace; the VM's stays, as the VM may run here."""
        self._lease.release()

    def host_id_locked(self) -> bool:
        """Whether the lease on this host's id is held in both lockspaces."""
        return self._lease.locked()

    def watch_engine(self, host_id: int, mark: str, seconds: float) -> str:
        """Look at a host's engine and the VM's lease until their mark is another."""
        if not GLOBAL_BLOCK < host_id <= MAX_HOST_ID:
            raise BrokerError("bad_request", f"no host id from 1 to {MAX_HOST_ID}: {host_id}")
        return self._looks.until_other(host_id, mark, seconds)

    def set_live_hosts(
        self, host_ids: Sequence[int], report: Report | None = None, dead_ids: Sequence[int] = ()
    ) -> None:
        """Keep the agent's lists of hosts alive and dead, and its report."""
        told = LiveHosts(tuple(host_ids), 0.0, report, tuple(dead_ids))
        self._live = told, self._env.clock.monotonic()

    def live_hosts(self) -> LiveHosts:
        """Return them with their age."""
        if self._live is None:
            return LiveHosts((), None)
        told, at = self._live
        return replace(told, age_seconds=self._env.clock.monotonic() - at)

    def notify(self, event: str, detail: str, since: float | None = None) -> None:
        """Queue a notification."""
        self._env.notifier.notify(event, detail, since)


@contextmanager
def _storage_trouble() -> Iterator[None]:
    try:
        yield
    except LostWrite as error:
        raise BrokerError("lost_write", str(error)) from error
    except WhiteboardFailed as error:
        raise BrokerError("storage", str(error)) from error
