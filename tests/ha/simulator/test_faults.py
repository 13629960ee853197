"""The table of faults: what is typed is understood or refused, and the refusal helps."""

import pytest

from ha.simulator.cluster import Cluster
from ha.simulator.faults import FAULTS, UnknownFault, check_fault, list_of_faults
from ha.simulator.site import Plan

HOSTS = ("host1", "host2")


@pytest.mark.parametrize(
    "words",
    [
        "power-off host2",
        "power-off all",
        "migrate host1 host2",
        "clock-jump host1 -86400",
        "storage-slow host1 3",
        "garbage 52",
        "maintenance global",
        "local-maintenance host1 off",
    ],
)
def test_a_fault_is_understood(words: str) -> None:
    check_fault(HOSTS, words)


@pytest.mark.parametrize(
    "words",
    [
        "power-off host3",
        "power-off",
        "power-off host1 host2",
        "maintenance local",
        "storage-slow host1 nan",
        "storage-slow host1 -1",
        "storage-slow host1 inf",
        "garbage 2001",
        "garbage -1",
        "garbage 1.5",
        "packet-loss host1 1.1",
        "",
        "power-of host1",
    ],
)
def test_what_does_not_fit_is_refused(words: str) -> None:
    with pytest.raises(UnknownFault):
        check_fault(HOSTS, words)


def test_the_refusal_says_what_would_fit() -> None:
    with pytest.raises(UnknownFault, match=r"'power-off HOST'.*hosts are host1, host2"):
        check_fault(HOSTS, "power-off host3")
    with pytest.raises(UnknownFault, match="power-off HOST +it loses its power"):
        check_fault(HOSTS, "explode host1")


def test_every_fault_is_listed() -> None:
    assert len(list_of_faults().splitlines()) == len(FAULTS)


EXAMPLES = {"SECONDS": "3", "OFFSET": "60", "SHARE": "0.5", "NUMBER": "1", "PPM": "200"}


@pytest.mark.parametrize("words", [fault.words for fault in FAULTS])
def test_each_fault_can_be_done_at_any_time(words: str) -> None:
    hosts = iter(("host1", "host2"))
    parts = [next(hosts) if part == "HOST" else EXAMPLES.get(part, part) for part in words.split()]
    said = " ".join(part.split("|")[0] for part in parts)
    with Cluster(Plan(hosts=2, first="host1")) as made:
        for at in (0, 50, 200):  # before anything runs, while nothing is known, with the engine up
            made.run_until(at)
            made.do(said)
        made.do("power-off all")
        made.do(said)
        made.run_until(230)
        assert made.invariants.broken == []
