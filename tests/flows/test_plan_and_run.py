"""Every runbook's plan says what its run then does, and changes nothing itself."""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from runbooks.catalogue import catalogue
from tasks.env import use_world
from tasks.journal import Entry, Journal, Kind, Phase
from tasks.plan import CONTROL_NODE, Command, Plan, State
from tasks.plan_paper import paper
from tasks.plan_run import make_plan
from tests.fake_cluster import FakeCluster
from tests.rehearsal import Rehearsal, rehearsals

ALL = rehearsals()
WORD = re.compile(r"\b(?:RUN|[A-Z][A-Z0-9]*(?:-[A-Z0-9]+)+)\b")
REISSUED = re.compile(r"^(.*)\.[0-9]+(@.*)?$")


@dataclass
class Words:
    """What the words in capitals of a plan turned out to be."""

    known: dict[str, str] = field(default_factory=dict)

    def fits(self, planned: str, executed: str) -> bool:
        """Tell whether an argument is the planned one, with its words replaced."""
        if planned == executed:
            return True
        words = WORD.findall(planned)
        pattern = "".join(
            "(.+)" if WORD.fullmatch(part) else re.escape(part)
            for part in re.split(f"({WORD.pattern})", planned)
        )
        found = re.fullmatch(pattern, executed, re.DOTALL)
        if not words or found is None:
            return False
        told = dict(zip(words, found.groups(), strict=True))
        return all(self.known.setdefault(word, told[word]) == told[word] for word in words)

    def same(self, planned: Command, executed: Command) -> bool:
        where = (planned.host, planned.step) == (executed.host, executed.step)
        return (
            where
            and len(planned.argv) == len(executed.argv)
            and all(map(self.fits, planned.argv, executed.argv))
        )


def executed_by(journal: Journal, run_id: str) -> Iterator[Command]:
    """Yield what a run sent to the hosts; a command that is given again counts once."""
    last: Command | None = None
    for entry in journal.entries(run_id, kinds=(Kind.REMOTE,)):
        if entry.phase is not Phase.INTENT:
            continue
        step = entry.step.removesuffix(f"@{entry.host}")
        command = Command(entry.host, step, tuple(entry.payload["argv"]))
        again = (
            last is not None
            and REISSUED.sub(r"\1", step) == REISSUED.sub(r"\1", last.step) != step
            and command.argv == last.argv
        )
        last = command
        if not again:
            yield command


def already(outcomes: Mapping[str, Entry], step: str) -> bool:
    return step in outcomes and outcomes[step].payload["value"] == "already"


def compare(plan: Plan, journal: Journal, run_id: str) -> None:
    outcomes = {
        entry.step: entry
        for entry in journal.entries(run_id, kinds=(Kind.CHANGE,))
        if entry.phase is Phase.OUTCOME
    }
    executed, words = list(executed_by(journal, run_id)), Words()
    for part in plan.parts:
        for command in part.commands:
            if command.host == CONTROL_NODE:
                continue
            if executed and words.same(command, executed[0]):
                executed.pop(0)
                continue
            skipped = part.state is State.UNLESS and already(outcomes, part.step)
            assert skipped, f"planned {command}, the run did {executed[:1]}"
    assert not executed, f"not in the plan: {executed}"


def done(entries: list[Entry], kinds: tuple[Kind, ...]) -> list[str]:
    return list(dict.fromkeys(each.step for each in entries if each.kind in kinds))


def commands_in(text: str) -> list[tuple[str, list[str]]]:
    """Return the commands of a paper with their hosts, as a shell would read them."""
    found = re.findall(r"^on (\S+):\n\n```sh\n(.*?)\n```$", text, re.DOTALL | re.MULTILINE)
    return [(host, shlex.split(command)) for host, command in found]


@pytest.fixture
def cluster(rehearsal: Rehearsal, tmp_path: Path) -> Iterator[FakeCluster]:
    with rehearsal.prepare(tmp_path) as cluster:
        yield cluster


def test_every_runbook_has_a_rehearsal() -> None:
    # What break-lock changes is the journal itself: tests/flows/test_break_lock.py cuts it off.
    assert set(ALL) == set(catalogue()) - {"break-lock"}


@pytest.mark.parametrize("rehearsal", ALL.values(), ids=ALL)
def test_the_run_does_what_the_plan_says(rehearsal: Rehearsal, cluster: FakeCluster) -> None:
    journal = cluster.world.journal
    before = rehearsal.end_state(cluster), rehearsal.mutations(cluster), journal.head()
    plan = make_plan(rehearsal.entry, rehearsal.procedure, rehearsal.parameters_for(cluster))
    text = paper(rehearsal.entry, plan, "lab", ["h1"])
    there = [each for each in plan.commands if each.host != CONTROL_NODE]
    assert commands_in(text) == [(each.host, list(each.argv)) for each in there]
    assert (rehearsal.end_state(cluster), rehearsal.mutations(cluster), journal.head()) == before
    assert not list(cluster.folder.rglob("steps/RUN.*"))
    assert plan.findings == ()
    with use_world(replace(cluster.world, ask=lambda gate, _shown: rehearsal.answer(gate))):
        rehearsal.attempt(cluster, "r1")
    compare(plan, journal, "r1")
    steps = (Kind.LOOK, Kind.CHECK, Kind.CHANGE, Kind.WAIT, Kind.GATE)
    assert [part.step for part in plan.parts] == done(journal.entries("r1"), steps)


def test_a_command_that_the_plan_does_not_have_is_noticed() -> None:
    words = Words()
    planned = Command("h1", "copy", ("sh", "if=/b/RUN/x", "SHA256-OF-BACKUP"))
    assert words.same(planned, Command("h1", "copy", ("sh", "if=/b/r1/x", "ab12")))
    for other in (
        Command("h2", "copy", planned.argv),
        Command("h1", "copy", ("sh", "if=/c/r1/x", "ab12")),
        Command("h1", "copy", ("sh", "if=/b/r1/x", "other")),
        Command("h1", "copy", ("sh", "if=/b/r2/x", "ab12")),
        Command("h1", "copy", ("sh", "if=/b/r1/x")),
    ):
        assert not words.same(planned, other), other
