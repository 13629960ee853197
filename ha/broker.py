"""The broker: what it does for the agent and the command, on the ports of one host.

Every read comes from storage and every write is done and read back before it is answered: there is
no copy in memory that could show a host that is gone or a flag that was never written.
"""

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from ha.core.record import BLOCK_BYTES, GLOBAL_BLOCK, MAX_HOST_ID, encode_global
from ha.env.ports import (
    BrokerEnv,
    BrokerError,
    HostIdTaken,
    LiveHosts,
    Lockspace,
    LockspaceFailed,
    LostWrite,
    WhiteboardFailed,
)
from ha.monitors import Monitors

GLOBAL_WRITE_ATTEMPTS = 3

log = logging.getLogger(__name__)


class BrokerService:
    """Serves one host id; safe to call from several threads.

    Refusals are BrokerError: "not_locked" when the lease on the host id is not held, "lost_write"
    when storage forgot a write, "storage" when it fails, "failed" when sanlock does.
    """

    def __init__(self, env: BrokerEnv, host_id: int, *, interval_seconds: float = 10.0) -> None:
        self._env = env
        self._host_id = host_id
        self._monitors = Monitors(env, interval_seconds)
        self._joining = threading.Lock()
        self._live: tuple[tuple[int, ...], float] | None = None

    def start(self) -> None:
        """Start the monitors."""
        self._monitors.start()

    def stop(self) -> None:
        """Stop the monitors. The leases stay: a broker that is restarted must not lose them."""
        self._monitors.stop()

    def monitors(self) -> Mapping[str, object]:
        """Return the six monitors' latest values."""
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
        self._require_lease()
        with _storage_trouble():
            self._env.whiteboard.write_block(self._host_id, block)

    def set_global_maintenance(self, on: bool) -> None:
        """Write block 0, while the lease is held; tried again when storage shows another block.

        Upstream keeps one write waiting and so loses this one when the agent's comes after it.
        """
        self._require_lease()
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
        """Take the lease on this host's id in the VM's lockspace and the whiteboard's.

        Both at once, as each takes 21 s with sanlock's default.
        """
        both = (self._env.vm_lockspace, self._env.lockspace)
        with self._joining, _sanlock_trouble(), ThreadPoolExecutor(len(both)) as pool:
            for joined in [pool.submit(_join, lockspace, self._host_id) for lockspace in both]:
                joined.result()

    def release_host_id(self) -> None:
        """Leave the whiteboard's lockspace; the VM's stays, as the VM may run here."""
        with self._joining, _sanlock_trouble():
            self._env.lockspace.leave(self._host_id)

    def host_id_locked(self) -> bool:
        """Whether the lease on this host's id is held in both lockspaces."""
        with _sanlock_trouble():
            both = (self._env.lockspace, self._env.vm_lockspace)
            return all(lockspace.held(self._host_id) is True for lockspace in both)

    def set_live_hosts(self, host_ids: Sequence[int]) -> None:
        """Keep the agent's list of hosts alive."""
        self._live = tuple(host_ids), self._env.clock.monotonic()

    def live_hosts(self) -> LiveHosts:
        """Return that list and its age."""
        live = self._live
        if live is None:
            return LiveHosts((), None)
        host_ids, at = live
        return LiveHosts(host_ids, self._env.clock.monotonic() - at)

    def notify(self, event: str, detail: str) -> None:
        """Queue a notification."""
        self._env.notifier.notify(event, detail)

    def _require_lease(self) -> None:
        with _sanlock_trouble():
            held = self._env.lockspace.held(self._host_id)
        if held is not True:
            raise BrokerError("not_locked", f"the lease on host id {self._host_id} is not held")


def _join(lockspace: Lockspace, host_id: int) -> None:
    if lockspace.held(host_id) is not True:
        log.info("Host id is not locked, trying to lock")
        lockspace.join(host_id)


@contextmanager
def _storage_trouble() -> Iterator[None]:
    try:
        yield
    except LostWrite as error:
        raise BrokerError("lost_write", str(error)) from error
    except WhiteboardFailed as error:
        raise BrokerError("storage", str(error)) from error


@contextmanager
def _sanlock_trouble() -> Iterator[None]:
    try:
        yield
    except HostIdTaken as error:
        raise BrokerError("failed", f"the host id is taken: {error}") from error
    except LockspaceFailed as error:
        raise BrokerError("failed", str(error)) from error
