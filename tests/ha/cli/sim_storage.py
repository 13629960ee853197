"""Storage for the command's tests: sanlock and the whiteboard, in memory."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ha.env.ports import LeaseHolder


@dataclass
class SimSanlock:
    """One sanlock for all hosts of a test; `refuses` is raised by a join."""

    initialised: list[tuple[str, ...]] = field(default_factory=list)
    joined: dict[str, int] = field(default_factory=dict)
    left: list[tuple[str, int]] = field(default_factory=list)
    refuses: Exception | None = None

    def lockspace(self, name: str, path: Path) -> "SimLockspace":
        assert path.exists(), path
        return SimLockspace(self, name)

    def initialise_lockspace(self, name: str, path: Path) -> None:
        assert path.stat().st_size >= 1024 * 1024
        self.initialised.append(("lockspace", name, path.name))

    def initialise_lease(self, lockspace: str, name: str, path: Path, *, offset_bytes: int) -> None:
        assert path.stat().st_size >= offset_bytes + 1024 * 1024
        self.initialised.append(("lease", lockspace, name, path.name, str(offset_bytes)))


@dataclass
class SimLockspace:
    sanlock: SimSanlock
    name: str

    def join(self, host_id: int) -> None:
        if self.sanlock.refuses is not None:
            raise self.sanlock.refuses
        self.sanlock.joined[self.name] = host_id

    def leave(self, host_id: int) -> None:
        self.sanlock.joined.pop(self.name)
        self.sanlock.left.append((self.name, host_id))

    def held(self, host_id: int) -> bool | None:
        return self.sanlock.joined.get(self.name) == host_id

    def holders(self) -> Sequence[LeaseHolder]:
        return ()


@dataclass
class SimWhiteboard:
    """A whiteboard in memory, shared by all paths of a test."""

    blocks: dict[int, bytes] = field(default_factory=dict)
    loses_writes: bool = False

    def at(self, path: Path) -> "SimWhiteboard":
        del path
        return self

    def read_blocks(self, host_ids: Sequence[int] | None) -> Mapping[int, bytes]:
        wanted: Iterable[int] = self.blocks if host_ids is None else host_ids
        return {h: self.blocks[h] for h in wanted if any(self.blocks.get(h, b""))}

    def write_block(self, host_id: int, block: bytes) -> None:
        if not self.loses_writes:
            self.blocks[host_id] = block
