"""sanlock's leases in virtual time: what is on storage, and the daemon of each host.

The rules are those of sanlock 3.8, in units of its io_timeout (io). Joining takes 2 io and 1 s. A
host id is renewed every 2 io; its holder loses it 8 io after the last renewal that succeeded, and
ends who uses it. The others take it for dead 8 io and 60 s after the last renewal that they saw.
"""

import errno
from collections.abc import Callable, Sequence

from ha.core.leases import LeaseHolder
from ha.simulator.leases import WATCHDOG_SECONDS, Area, Lease, Request, Seen, Slot, Space
from ha.simulator.processes import Boot
from ha.simulator.schedule import Schedule
from ha.simulator.storage import StoragePath
from ha.simulator.time_sim import HostTime

JOIN_EXTRA_SECONDS = 1.0
POLL_SECONDS = 1.0
OK = 0
# sanlock_rv.h.
IDLIVE = -243
HOSTID_BUSY = -262
ERROR = -201
AIO_TIMEOUT = -202
BAD_MAGIC = -223


class Sanlock:
    """The daemon of one host, from boot to boot."""

    def __init__(
        self,
        schedule: Schedule,
        name: str,
        path: StoragePath,
        *,
        boot: Boot,
        time: HostTime,
        io_seconds: float,
    ) -> None:
        self._schedule = schedule
        self._name = name
        self._path = path
        self._boot = boot
        self._time = time
        self._io = io_seconds
        self._dead_seconds = 8 * io_seconds + WATCHDOG_SECONDS
        self.spaces: dict[str, Space] = {}

    def join(self, area: Area, host_id: int) -> Request:
        """Take a host id. Answers 0 or an errno."""
        request = Request(self._schedule.flag())
        present = self.spaces.get(area.name)
        if present is not None:
            same = present.host_id == host_id
            held = errno.EEXIST if present.held else errno.EINPROGRESS
            request.end(held if same else errno.EINVAL)
        elif not area.readable:
            request.end(BAD_MAGIC)
        else:
            space = self.spaces[area.name] = Space(area, host_id, request)
            slot = area.slot(host_id)
            before = self._seen(host_id, slot)
            self._watch_owner(space, before, request)
        return request

    def leave(self, area: Area, host_id: int) -> int:
        """Give a host id back; answers 0 or an errno, EAGAIN while a join of it is ended."""
        space = self.spaces.get(area.name)
        if space is None or space.host_id != host_id:
            return errno.ENOENT
        if not space.joining.over.is_set():
            self._later(POLL_SECONDS, lambda: self._refuse(space, space.joining, ERROR))
            return errno.EAGAIN
        if space.held is None or space.users:
            return errno.EBUSY if space.held else errno.EINPROGRESS
        slot = area.slot(host_id)
        if self._reaches_storage() and self._owns(space):
            slot.timestamp = 0
        del self.spaces[area.name]
        return OK

    def holders(self, area: Area) -> Sequence[LeaseHolder]:
        """The host ids seen in use; none before the first renewal."""
        space = self.spaces.get(area.name)
        if space is None:
            return ()
        return tuple(
            LeaseHolder(host_id, self._state(seen), seen.generation, seen.timestamp)
            for host_id, seen in sorted(space.seen.items())
        )

    def acquire(self, lease: Lease, lost: Callable[[], None]) -> Request:
        """Take a lease; waits while its owner looks stale. `lost` is called if it is lost later."""
        request = Request(self._schedule.flag())
        self._try(lease, lost, None, request)
        return request

    def release(self, lease: Lease, lost: Callable[[], None]) -> None:
        """Give a lease back, or say that who used it has ended."""
        space = self.spaces.get(lease.area.name)
        if space is None or lost not in space.users:
            return
        space.users.remove(lost)
        if space.held:
            if lease.owner == space.host_id and self._reaches_storage():
                lease.owner = 0
        elif not space.users:
            del self.spaces[lease.area.name]

    def hand_over(
        self,
        lease: Lease,
        lost: Callable[[], None],
        heir: "Sanlock",
        heirs_lost: Callable[[], None],
    ) -> None:
        """Pass a lease on to another host that is in its lockspace, as a live migration does."""
        self.release(lease, lost)
        space = heir.spaces[lease.area.name]
        lease.owner, lease.generation = space.host_id, space.generation
        space.users.append(heirs_lost)

    def _reaches_storage(self) -> bool:
        return self._path.works and self._path.delay_seconds < self._io

    def _owns(self, space: Space) -> bool:
        slot = space.area.slot(space.host_id)
        ours = (slot.owner, slot.generation) == (self._name, space.generation)
        return ours and space.area.readable

    def _watch_owner(self, space: Space, before: Seen, request: Request) -> None:
        """Wait for a foreign owner of the host id to be dead, then take it."""
        if request.over.is_set():
            return
        slot = space.area.slot(space.host_id)
        foreign = slot.timestamp != 0 and slot.owner != self._name
        if foreign and slot.timestamp != before.timestamp:
            self._refuse(space, request, HOSTID_BUSY)
        elif foreign and self._schedule.now - before.live_at <= self._dead_seconds:
            self._later(POLL_SECONDS, lambda: self._watch_owner(space, before, request))
        elif not self._reaches_storage():
            self._later(self._io, lambda: self._refuse(space, request, AIO_TIMEOUT))
        else:
            found = (slot.owner, slot.generation, slot.timestamp)
            seconds = 2 * self._io + JOIN_EXTRA_SECONDS
            self._later(seconds, lambda: self._take(space, found, request))

    def _take(self, space: Space, found: tuple[str, int, int], request: Request) -> None:
        slot = space.area.slot(space.host_id)
        if request.over.is_set():
            return
        if not self._reaches_storage():
            self._refuse(space, request, AIO_TIMEOUT)
        elif (slot.owner, slot.generation, slot.timestamp) != found:
            self._refuse(space, request, HOSTID_BUSY)
        else:
            space.generation = slot.generation + 1
            slot.owner, slot.generation = self._name, space.generation
            slot.timestamp = self._stamp()
            space.held, space.renewed_at = True, self._schedule.now
            self._later(2 * self._io, lambda: self._renew(space))
            request.end(OK)

    def _refuse(self, space: Space, request: Request, code: int) -> None:
        if not request.over.is_set():  # it may have been given up
            del self.spaces[space.area.name]
            request.end(code)

    def _renew(self, space: Space) -> None:
        if self.spaces.get(space.area.name) is not space or not space.held:
            return
        now, limit_seconds = self._schedule.now, 8 * self._io
        expired = now - space.renewed_at >= limit_seconds
        if expired or not self._owns(space):  # as after a freeze, also with storage that answers
            self._lose(space)
        elif self._reaches_storage():
            space.area.slot(space.host_id).timestamp = self._stamp()
            space.renewed_at = now
            self._look_at_others(space)
            self._later(2 * self._io, lambda: self._renew(space))
        else:
            left_seconds = space.renewed_at + limit_seconds - now
            self._later(min(self._io, left_seconds), lambda: self._renew(space))

    def _look_at_others(self, space: Space) -> None:
        for host_id, slot in space.area.slots.items():
            seen = space.seen.get(host_id)
            stands = seen and (seen.timestamp, seen.generation) == (slot.timestamp, slot.generation)
            if not stands and slot.generation:
                space.seen[host_id] = self._seen(host_id, slot)

    def _lose(self, space: Space) -> None:
        space.held = None
        for lost in list(space.users):
            lost()
        if not space.users:
            self.spaces.pop(space.area.name, None)

    def _try(
        self, lease: Lease, lost: Callable[[], None], seen: Seen | None, request: Request
    ) -> None:
        """Take a lease that is free or whose owner is dead; look again in a second if not sure.

        `seen` is what was known of the owner when it was first met.
        """
        space = self.spaces.get(lease.area.name)
        if space is None or not space.held:
            return request.end(-errno.ENOENT)
        if self._reaches_storage():
            if lease.owner in (0, space.host_id):
                return self._get(lease, space, lost, request)
            slot = lease.area.slot(lease.owner)
            if seen is None or (seen.host_id, seen.generation) != (lease.owner, lease.generation):
                seen = self._known(space, lease) or self._seen(lease.owner, slot)
            if slot.timestamp == 0 or slot.generation != lease.generation:
                return self._get(lease, space, lost, request)  # it has given up, or rebooted
            if slot.timestamp != seen.timestamp:
                return request.end(IDLIVE)
            if self._schedule.now - seen.live_at > self._dead_seconds:
                return self._get(lease, space, lost, request)
        return self._later(POLL_SECONDS, lambda: self._try(lease, lost, seen, request))

    def _get(self, lease: Lease, space: Space, lost: Callable[[], None], request: Request) -> None:
        lease.owner, lease.generation = space.host_id, space.generation
        space.users.append(lost)
        request.end(OK)

    def _known(self, space: Space, lease: Lease) -> Seen | None:
        known = space.seen.get(lease.owner)
        return known if known is not None and known.generation == lease.generation else None

    def _seen(self, host_id: int, slot: Slot) -> Seen:
        return Seen(host_id, slot.timestamp, slot.generation, self._schedule.now)

    def _state(self, seen: Seen) -> str:
        age_seconds = self._schedule.now - seen.live_at
        if seen.timestamp == 0:
            return "free"
        if age_seconds <= 8 * self._io:
            return "live"
        return "fail" if age_seconds <= self._dead_seconds else "dead"

    def _stamp(self) -> int:
        return max(1, int(self._time.monotonic()))

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        self._schedule.after(seconds, call, self._boot)
