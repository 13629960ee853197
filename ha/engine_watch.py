"""Watching for the end of the engine VM on another host, between two turns.

The broker looks (`EngineLooks`), several times a second and only for so long as it was asked; the
agent asks again and again while there is something to watch, and rings its bell when it has changed
(`EngineWatch`). What is watched, and by which hosts, is decided in `ha.core.vigil`.
"""

from collections.abc import Callable

from ha.core.record import Record, judge_block
from ha.core.vigil import Vigil, mark_of
from ha.env.ports import BrokerEnv, BrokerError, BrokerUnreachable, Monitors, WhiteboardFailed
from ha.env.time_ports import Flag, Threads
from ha.recording import peer_engine

LONGEST_SECONDS = 10.0
ASK_SECONDS = 5.0
TROUBLE_SECONDS = 5.0


class EngineLooks:
    """The broker's part: looks at one block and at the lease, 4096 bytes each."""

    def __init__(self, env: BrokerEnv, every_seconds: float) -> None:
        self._env = env
        self._every_seconds = every_seconds

    def until_other(self, host_id: int, mark: str, seconds: float) -> str:
        """Look until the mark is another, so long at most; return the mark then."""
        clock = self._env.clock
        ends_at = clock.monotonic() + min(seconds, LONGEST_SECONDS)
        while True:
            seen = self._look(host_id)
            left_seconds = ends_at - clock.monotonic()
            if seen not in (None, mark) or not left_seconds > 0:
                return seen or mark
            clock.sleep(min(self._every_seconds, left_seconds))

    def _look(self, host_id: int) -> str | None:
        """Return the mark; None when storage does not answer, which is no news of the engine."""
        lease = self._env.vm_lease.look()
        try:
            block = self._env.whiteboard.read_blocks([host_id]).get(host_id, b"")
        except WhiteboardFailed:
            return None
        record = judge_block(host_id, block).record
        engine = peer_engine(record.engine_status) if isinstance(record, Record) else None
        return mark_of(lease, engine.vm if engine else None)


class EngineWatch:
    """The agent's part, in a thread of its own."""

    def __init__(self, broker: Monitors, ring: Callable[[], None], threads: Threads) -> None:
        """`ring` wakes the agent."""
        self._broker = broker
        self._ring = ring
        self._threads = threads
        self._vigil: Vigil | None = None
        self._news: Flag = threads.flag()
        self._rung: tuple[Vigil, str] | None = None

    def start(self) -> None:
        """Watch from now on whatever `keep` says."""
        self._threads.start("watch-engine", self._run)

    def keep(self, vigil: Vigil | None) -> None:
        """Watch this after a turn; None: nothing."""
        self._vigil = vigil
        self._news.set()

    def _run(self) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            while not self._news.is_set() and self._watch():
                pass

    def _watch(self) -> bool:
        """Watch for a while; False when there is nothing more to do until the next turn."""
        vigil = self._vigil
        if vigil is None:
            return False
        try:
            mark = self._broker.watch_engine(vigil.host_id, vigil.mark, ASK_SECONDS)
        except (BrokerUnreachable, BrokerError):
            self._news.wait(TROUBLE_SECONDS)
            return True
        if mark == vigil.mark or vigil != self._vigil:
            return True
        if self._rung == (vigil, mark):
            return False  # a turn has seen this, and has seen it otherwise
        self._rung = vigil, mark
        self._ring()
        return False
