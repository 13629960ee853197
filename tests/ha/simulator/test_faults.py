"""The table of faults: what is typed is understood or refused, and the refusal helps."""

import pytest

from ha.simulator.faults import FAULTS, UnknownFault, check_fault, list_of_faults

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
