"""What `--reinitialize-lockspace` writes, and that a write that is not proven is no success."""

from collections.abc import Callable

import pytest

from ha.core.leases import read_leases
from ha.env.ports import LockspaceFailed
from tests.ha.cli.sim import SimHost
from tests.ha.cli.sim_storage import area_of, lease_sector, put_area
from tests.ha.cli.stopped import area, domain_of, lockspace_of, stop_all

VERB = "--reinitialize-lockspace"


@pytest.fixture
def stored(host: SimHost) -> SimHost:
    return stop_all(host)


def torn(host: SimHost) -> None:
    host.sanlock.after_write = lambda: put_area(
        lockspace_of(host), area_of("hosted-engine")[: 512 * 8] + bytes(512 * 8)
    )


def taken(host: SimHost) -> None:
    sector = lease_sector("hosted-engine", 1, 9)
    host.sanlock.after_write = lambda: put_area(
        lockspace_of(host), area_of("hosted-engine", h1=sector)
    )


def other_name(host: SimHost) -> None:
    host.sanlock.after_write = lambda: put_area(lockspace_of(host), area_of("another"))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda host: setattr(host.sanlock, "loses_writes", True), "It is not known what"),
        (lambda host: setattr(host.sanlock, "write_fails", LockspaceFailed("I/O")), "I/O"),
        (torn, "only 1992 leases are read back"),
        (taken, "the lease on host id 1 (lab-h1) is in use"),
        (other_name, "sanlock reads the name 'another'"),
    ],
)
def test_a_write_that_is_not_proven_is_no_success(
    stored: SimHost, spoil: Callable[[SimHost], object], words: str
) -> None:
    """Upstream's broker swallows what went wrong, and the command ends with 0."""
    spoil(stored)
    assert stored.run(VERB) == 1
    assert words in stored.complained
    assert "Way back, while every agent is stopped: dd if=" in stored.complained


def test_sectors_of_4096_bytes_as_the_vms_lockspace_has_them(stored: SimHost) -> None:
    domain_of(stored).ids.write_bytes(area_of("sd", sector_bytes=4096))
    assert stored.run(VERB) == 0, stored.complained
    assert stored.sanlock.sector_bytes == 4096
    assert len(read_leases(area(stored), 4096)) == 250
    assert "250 free leases, sector 4096" in stored.said
