"""clean-reinstall refuses a host that belongs to a cluster, whoever can see that."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.clean_reinstall import clean_reinstall
from ha.core.record import Record, encode_record
from tests.failed_install import CLEAN, FailedInstall, failed_install, refused
from tests.fake_cluster import unreachable
from tests.fake_host import DOWN, FakeHost


@pytest.fixture
def failed(tmp_path: Path) -> Iterator[FailedInstall]:
    with failed_install(tmp_path) as failed:
        yield failed


def published(failed: FailedInstall, *ids: int) -> None:
    """Records of hosts of which none writes any more."""
    for n in ids:
        record = Record(n, 5, 3400, DOWN, f"h{n}", extra="state=EngineDown\n")
        failed.cluster.put(n, encode_record(record))


def test_it_refuses_the_only_live_host_of_a_cluster(failed: FailedInstall) -> None:
    """Its peers are down and the engine is ill; nobody else writes."""
    published(failed, 2)
    failed.host.set("ovirt-ha-agent", "active")
    failed.cluster.publish()
    refused(failed, "h1 has published on .*1: h1 .*so have others: 2: h2 .EngineDown")


@pytest.fixture
def two_hosts(tmp_path: Path) -> Iterator[FailedInstall]:
    """The storage is not connected on the host that is to be cleaned."""
    with failed_install(tmp_path, ids=(1, 2)) as failed:
        failed.host.shared = tmp_path / "not-connected"
        yield failed


def test_it_refuses_a_member_whose_storage_is_not_connected(two_hosts: FailedInstall) -> None:
    published(two_hosts, 1, 2)
    refused(two_hosts, "h1 has published on .*, which h2 sees .1: h1 .*others: 2: h2")


def test_it_refuses_a_member_that_has_another_host_id_there(two_hosts: FailedInstall) -> None:
    name = two_hosts.host.root / "bin/hostname"
    name.write_text("#!/bin/sh\necho h7\n")
    name.chmod(0o755)
    published(two_hosts, 2, 7)
    refused(two_hosts, "h1 has published on .*, which h2 sees .7: h7 .*others: 2: h2")


def test_a_host_that_never_was_a_member_is_cleaned(two_hosts: FailedInstall) -> None:
    published(two_hosts, 2)
    two_hosts.cluster.answers = [CLEAN]
    clean_reinstall.fn("lab", "h1")
    [(_, evidence)] = two_hosts.cluster.asked
    assert "whiteboard that h2 sees" in evidence
    assert "2: h2 (EngineDown); live: none" in evidence


def test_the_gate_names_hosts_that_could_not_be_asked(two_hosts: FailedInstall) -> None:
    two_hosts.cluster.hosts["h2"].trouble = unreachable("h2")
    two_hosts.cluster.answers = [CLEAN]
    clean_reinstall.fn("lab", "h1")
    [(_, evidence)] = two_hosts.cluster.asked
    assert "could not be asked what it sees: h2 (192.0.2.9, port 22)" in evidence


def unreadable(host: FakeHost) -> None:
    find = host.root / "bin/find"
    find.write_text(
        "#!/bin/sh\n/usr/bin/find \"$@\"; echo 'find: /rhev/x: Permission denied' >&2; exit 1\n"
    )
    find.chmod(0o755)


def test_it_refuses_where_storage_cannot_be_searched(failed: FailedInstall) -> None:
    unreadable(failed.host)
    refused(failed, "h1: `find -L /rhev .*could not search all: .*Permission denied")


def test_the_gate_names_hosts_that_cannot_search_theirs(two_hosts: FailedInstall) -> None:
    unreadable(two_hosts.cluster.hosts["h2"])
    two_hosts.cluster.answers = [CLEAN]
    clean_reinstall.fn("lab", "h1")
    [(_, evidence)] = two_hosts.cluster.asked
    assert "could not be asked what it sees: h2: `find -L /rhev" in evidence
