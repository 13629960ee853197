"""The shared storage, and each host's way to it: delays, hangs, lost and torn writes.

A request of a host without its storage hangs, as on NFS: a write that was under way lands when the
storage is back, unless the host has lost its power. Only so many requests hang at once; what comes
after them is refused, as by the real adapter.
"""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from math import inf
from random import Random

from ha.core.record import BLOCK_BYTES, MAX_HOST_ID
from ha.env.ports import LostWrite, WhiteboardFailed
from ha.simulator.schedule import Schedule

REQUEST_SECONDS = 0.002
# As in ha.env.whiteboard.
TURN_SECONDS = 8.0
READERS = 4
WRITERS = 1
# What storage writes in one piece.
SECTOR_BYTES = 512

Asked = Callable[[str, int], None]
"""Told when a host asks for a write: its name, the block's number."""
Written = Callable[[str, int, bytes], None]
"""Told when a write has landed, with what is there now."""


class Storage:
    """What is on the storage: the whiteboard's blocks, and the engine VM's configuration."""

    def __init__(self, blocks: MutableMapping[int, bytes] | None = None) -> None:
        self.blocks: MutableMapping[int, bytes] = {} if blocks is None else blocks
        self.on_request: list[Asked] = []
        self.on_write: list[Written] = []

    def put(self, number: int, block: bytes) -> None:
        """Put a block there, whoever did it."""
        self.blocks[number] = block

    def write(self, host: str, number: int, block: bytes) -> None:
        """Have a host's write land."""
        self.blocks[number] = block
        for told in self.on_write:
            told(host, number, block)

    def read(self, host_ids: Sequence[int] | None) -> dict[int, bytes]:
        """Return the blocks that are not empty."""
        wanted = sorted(self.blocks) if host_ids is None else sorted(set(host_ids))
        found = {number: self.blocks.get(number, b"\0") for number in wanted}
        return {number: block for number, block in found.items() if block[0]}


class _Write:
    """A write under way; two with the same content are two."""

    __slots__ = ("block", "number")

    def __init__(self, number: int, block: bytes) -> None:
        self.number = number
        self.block = block


class StoragePath:
    """One host's way to the storage."""

    def __init__(self, schedule: Schedule, storage: Storage, host: str, random: Random) -> None:
        self._schedule = schedule
        self._storage = storage
        self._host = host
        self._random = random
        self._back = schedule.flag()
        self._back.set()
        self._fast = schedule.flag()
        self._under_way: list[_Write] = []
        self._hung = {READERS: 0, WRITERS: 0}
        self.slow_seconds = 0.0
        self.refuses = False
        self._lose_writes = 0
        self._tear_writes = 0

    @property
    def works(self) -> bool:
        """Whether a request would come back at all, and well."""
        return self._back.is_set() and not self.refuses

    @property
    def delay_seconds(self) -> float:
        """How long a request takes."""
        return REQUEST_SECONDS + self.slow_seconds if self._back.is_set() else inf

    def lose(self) -> None:
        """Let every request hang from now on."""
        self._back.clear()

    def refuse(self) -> None:
        """Refuse every request from now on."""
        self.refuses = True

    def lose_a_write(self) -> None:
        """Forget the next write, and say that it was done."""
        self._lose_writes += 1

    def tear_a_write(self) -> None:
        """Write only a part of the next one, and say that it was done."""
        self._tear_writes += 1

    def restore(self) -> None:
        """Let requests come back, and land the writes that hung."""
        self._back.set()
        self.refuses, self.slow_seconds = False, 0.0
        self._fast.set()
        self._fast = self._schedule.flag()
        self._hung = {READERS: 0, WRITERS: 0}
        self._land()

    def cut_power(self) -> None:
        """Lose what is under way: it is there, not there, or torn."""
        for request in self._under_way:
            number, block = request.number, request.block
            match self._random.randrange(3):
                case 0:
                    self._storage.write(self._host, number, block)
                case 1:
                    self._tear(number, block)
        self._under_way.clear()
        self._hung = {READERS: 0, WRITERS: 0}

    def reach(self) -> None:
        """Wait in a task for as long as a read takes. Raises WhiteboardFailed."""
        self._wait(READERS)

    def read_blocks(self, host_ids: Sequence[int] | None) -> Mapping[int, bytes]:
        """Read blocks, in a task. Raises WhiteboardFailed."""
        self.reach()
        return self._storage.read(host_ids)

    def write_block(self, number: int, block: bytes) -> None:
        """Write a block and read it back, in a task. Raises WhiteboardFailed, LostWrite."""
        for told in self._storage.on_request:
            told(self._host, number)
        request = _Write(number, block)
        self._under_way.append(request)
        try:
            self._wait(WRITERS)
        except WhiteboardFailed:
            self._under_way.remove(request)
            raise
        if request in self._under_way:
            self._under_way.remove(request)
            self._land_one(number, block)
        if self._storage.blocks.get(number) != block:
            raise LostWrite(f"whiteboard: block {number} is not what was written")

    def _wait(self, most: int) -> None:
        if self.refuses:
            raise WhiteboardFailed("whiteboard: Input/output error")
        if self._hung[most] >= most:
            self._schedule.sleep(TURN_SECONDS)
            if self._hung[most] >= most:
                raise WhiteboardFailed("whiteboard: earlier requests have not come back")
        if not self._back.is_set():
            self._hung[most] += 1  # for good: who gives up leaves a hanging thread behind
            self._back.wait()
        if self.slow_seconds:
            self._fast.wait(self.slow_seconds)
        self._schedule.sleep(REQUEST_SECONDS)
        if self.refuses:
            raise WhiteboardFailed("whiteboard: Input/output error")

    def _land(self) -> None:
        under_way, self._under_way = self._under_way, []
        for request in under_way:
            self._land_one(request.number, request.block)

    def _land_one(self, number: int, block: bytes) -> None:
        if self._lose_writes:
            self._lose_writes -= 1
        elif self._tear_writes:
            self._tear_writes -= 1
            self._tear(number, block)
        else:
            self._storage.write(self._host, number, block)

    def _tear(self, number: int, block: bytes) -> None:
        old = self._storage.blocks.get(number, b"").ljust(BLOCK_BYTES, b"\0")
        cut = SECTOR_BYTES * self._random.randrange(1, BLOCK_BYTES // SECTOR_BYTES)
        self._storage.write(self._host, number, block[:cut] + old[cut:])


class SimWhiteboard:
    """The whiteboard, as one host reaches it."""

    def __init__(self, schedule: Schedule, path: StoragePath) -> None:
        self._schedule = schedule
        self._path = path

    def read_blocks(self, host_ids: Sequence[int] | None) -> Mapping[int, bytes]:
        """Return the non-empty blocks among these ids; None reads the whole range.

        Raises WhiteboardFailed, and ValueError for an id outside 0..2000.
        """
        self._schedule.check()
        for host_id in host_ids or ():
            _check(host_id)
        return self._path.read_blocks(host_ids)

    def write_block(self, host_id: int, block: bytes) -> None:
        """Write one block and read it back.

        Raises WhiteboardFailed, LostWrite, and ValueError for a wrong id or size.
        """
        self._schedule.check()
        if len(block) != BLOCK_BYTES:
            raise ValueError(f"a block has {BLOCK_BYTES} bytes, not {len(block)}")
        _check(host_id)
        self._path.write_block(host_id, block)


def _check(host_id: int) -> None:
    if not 0 <= host_id <= MAX_HOST_ID:
        raise ValueError(f"host id {host_id} is outside 0..{MAX_HOST_ID}")
