"""A recorded night, told turn by turn to a person."""

import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from ha.core.facts import EngineStatus, Facts, Local, State
from ha.core.states import limit_of
from ha.core.vm_lease import UNKNOWN_LEASE
from ha.explain import passed_over
from ha.plain import one_line
from ha.recording import BadRecording, decision_of
from ha.replay import BAD_INPUT, READ_ERRORS, Replayed, problem_of, replay_what_is_whole
from ha.turn import Answer

WIDTH = 100
# Between two turns; with more the agent did not run, or saw nothing to decide on.
_GAP_TURNS = 3


def explain_main(path: Path, everything: bool, out: TextIO, err: TextIO) -> int:
    """Tell what happened, of turns that were alike only how many unless `everything`.

    Returns 0, or 2 with a line on `err` for each line of the file that could not be replayed.
    """
    teller = _Teller(out.write, everything)
    code = 0
    try:
        for one in replay_what_is_whole(path):
            if isinstance(one, BadRecording):
                err.write(f"replay: {path}: {one}\n")
                code = BAD_INPUT
            else:
                teller.turn(one)
    except READ_ERRORS as error:
        err.write(f"replay: {path}: {problem_of(error)}\n")
        return BAD_INPUT
    teller.end()
    return code


@dataclass(slots=True)
class _Teller:
    """Remembers what was told last, so that only changes are told."""

    write: Callable[[str], object]
    everything: bool
    last: Replayed | None = None
    told: dict[str, str] = field(default_factory=dict)
    gist: tuple[object, ...] = ()
    alike: int = 0

    def turn(self, one: Replayed) -> None:
        """Tell one turn, or count it."""
        begins = self.last is None or self.last.seed != one.seed or one.step == 0
        if begins:
            self._summary()
            self.told = {}
            self.write(f"== host id {one.settings.host_id}, agent's life {one.seed} ==\n")
        elif self.last is not None:
            self._gap(one.seen.now - self.last.seen.now, one)
        gist = _gist(one)
        if self.everything or begins or gist != self.gist:
            self._summary()
            self._tell(one)
        else:
            self.alike += 1
        self.last, self.gist = one, gist

    def end(self) -> None:
        """Tell of the last turns that were alike."""
        self._summary()

    def _tell(self, one: Replayed) -> None:
        states = [one.turn.answers[0].old, *(new for new in one.turn.states)]
        way = " -> ".join(state.value for state in _without_repeats(states))
        self.write(f"{_when(one)}  {way}, score {one.turn.memory.score}\n")
        sights = dict(_sights(one))
        fresh = [text for key, text in sights.items() if self.told.get(key) != text]
        gone = [f"no longer: {self.told[key]}" for key in self.told if key not in sights]
        self._row("saw", "; ".join([*fresh, *gone]) or "what it saw before")
        self.told = sights
        said: set[tuple[str, str]] = set()
        for answer, after in zip(one.turn.answers, [*one.turn.answers[1:], None], strict=True):
            self._answer(answer, after, said)
        self._row("score", _score(one))
        if one.recorded is not None and one.recorded != decision_of(one.turn):
            self._row("NOTE", f"recorded was {one.recorded}: another version decided otherwise")

    def _answer(self, answer: Answer, after: Answer | None, said: set[tuple[str, str]]) -> None:
        self._row("rule", f"{answer.rule}: {one_line(answer.why)}")
        over = [one for one in passed_over(answer) if one not in said]
        said.update(over)
        if over:
            self._row("", "not " + "; ".join(f"{name} ({one_line(why)})" for name, why in over))
        if after is not None and after.facts.result is not None:
            result = after.facts.result
            self._row("did", f"{result.action}: {'accepted' if result.succeeded else 'refused'}")
        limit = limit_of(answer.new)
        if limit and answer.timer_before is None and answer.timer_after is not None:
            seconds = float(getattr(answer.facts.timing, limit))
            self._row("limit", f"{limit.removesuffix('_seconds')}: {seconds:g} s from now")

    def _row(self, name: str, text: str) -> None:
        indent = " " * 10
        lines = textwrap.wrap(
            text,
            WIDTH,
            initial_indent=indent,
            subsequent_indent=indent,
            break_on_hyphens=False,  # names of rules have them, and are searched for
        )
        first = f"  {name:8}" + (lines[0].strip() if lines else "")
        self.write("\n".join([first, *lines[1:]]) + "\n")

    def _summary(self) -> None:
        if self.alike and self.last is not None:
            turns = "1 turn" if self.alike == 1 else f"{self.alike} turns"
            memory = self.last.turn.memory
            end = f"{memory.state.value}, score {memory.score}"
            self.write(f"  ...     {turns} alike until {_when(self.last)}: {end}\n")
        self.alike = 0

    def _gap(self, seconds: float, one: Replayed) -> None:
        if seconds > _GAP_TURNS * one.settings.timing.loop_seconds:
            self._summary()
            self.write(
                f"  ...     no turn for {seconds} s: the agent had no sight of broker or storage,"
                " or stood still\n"
            )


def _gist(one: Replayed) -> tuple[object, ...]:
    """What makes a turn worth telling when it differs from the turn before."""
    turn = one.turn
    peers = [(p.host_id, p.engine and (p.engine.vm, p.engine.health)) for p in turn.facts.alive]
    local = one.seen.local
    return (
        turn.states,
        turn.actions,
        turn.answers[-1].rule,
        tuple(penalty.name for penalty in turn.penalties if penalty.points != 0),
        (local.engine.vm, local.engine.health, local.engine.detail),
        (local.maintenance, one.seen.global_maintenance),
        local.lease,
        tuple(sorted(peers, key=lambda peer: peer[0])),
        turn.facts.liveness_known,
        turn.memory.retries,
    )


def _sights(one: Replayed) -> Iterator[tuple[str, str]]:
    """Yield what was seen that decisions rest on, by what it is about."""
    facts = one.turn.facts
    yield "vm", f"here {_engine(facts.local.engine)}"
    if facts.global_maintenance:
        yield "global", "global maintenance on"
    if facts.local.maintenance:
        yield "local", "local maintenance on"
    lease = facts.local.lease
    if lease != UNKNOWN_LEASE:
        owner = "" if lease.owner is None else f", of host id {lease.owner}"
        yield "lease", f"lease of the VM {lease.state.value}{owner}"
    yield from _host_sights(facts.local)
    yield from _peer_sights(one, facts)


def _host_sights(local: Local) -> Iterator[tuple[str, str]]:
    if local.network < 1:
        yield "network", f"network {local.network:.0%} of its probes"
    if not local.bridge:
        yield "bridge", "management bridge down"
    if not local.storage_domain:
        yield "storage", "storage domain not valid"


def _peer_sights(one: Replayed, facts: Facts) -> Iterator[tuple[str, str]]:
    if not facts.liveness_known:
        yield "liveness", "too short a history to know who is alive"
        return
    alive = {peer.host_id for peer in facts.alive}
    for peer in one.seen.peers:
        name = f"{one_line(peer.hostname)} (id {peer.host_id})"
        if peer.host_id not in alive:
            yield f"peer {peer.host_id}", f"{name} not alive"
        else:
            engine = _engine(peer.engine) if peer.engine else "no engine status"
            yield f"peer {peer.host_id}", f"{name} alive, score {peer.score}, {engine}"


def _engine(engine: EngineStatus) -> str:
    reason = f" ({one_line(engine.reason)})" if engine.reason else ""
    return f"VM {engine.vm.value}, health {engine.health.value}{reason}"


def _score(one: Replayed) -> str:
    taken = [
        f"{'all of it' if penalty.points is None else penalty.points} for {penalty.reason}"
        for penalty in one.turn.penalties
        if penalty.points != 0
    ]
    score, base = one.turn.memory.score, one.settings.score.base_score
    return f"{score}: {base} less {', '.join(taken)}" if taken else f"{score}: nothing is taken off"


def _without_repeats(states: list[State]) -> Iterator[State]:
    last = None
    for state in states:
        if state is not last:
            yield state
        last = state


def _when(one: Replayed) -> str:
    """The time of day here, or where the recording has none the host's monotonic clock."""
    if one.wall is None:
        return f"{one.seen.now} s"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.wall))
