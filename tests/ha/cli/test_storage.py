"""`--disconnect-storage`: only when nothing here uses the storage, and as often as one likes."""

import errno
from pathlib import Path

import pytest

from ha.core.sighting import VmState
from ha.deploy_storage import LOCKSPACE_NAME
from ha.env.ports import LockspaceFailed
from ha.mounts import MountFailed
from ha.services import ServicesFailed
from ha.storage_connect import connect
from ha.storage_domain import StorageDomain
from tests.ha.cli.sim import SimHost
from tests.ha.cli.stopped import domain_of


class Mounts:
    """One mount, and what was asked of it."""

    def __init__(self) -> None:
        self.unmounted: list[Path] = []
        self.refuses = ""

    def unmount(self, target: Path) -> bool:
        if self.refuses:
            raise MountFailed(self.refuses)
        self.unmounted.append(target)
        return len(self.unmounted) == 1


@pytest.fixture
def mounts(host: SimHost) -> Mounts:
    mounts = Mounts()
    host.unmount = mounts.unmount
    return mounts


@pytest.fixture
def domain(host: SimHost, mounts: Mounts) -> StorageDomain:
    """A storage domain that is connected."""
    domain = domain_of(host)
    for volume in domain.volumes:
        host.write(domain.place(volume), "")
    host.write(domain.ids, "")
    connect(domain, mount=host.mount)
    host.services.active.add("sanlock")
    return domain


def test_it_is_unmounted_and_its_links_are_gone(
    host: SimHost, domain: StorageDomain, mounts: Mounts
) -> None:
    assert host.run("--disconnect-storage") == 0, host.complained
    assert host.said == f"The storage domain {domain.sd_uuid} is disconnected"
    assert mounts.unmounted == [domain.mount]
    assert not [domain.prepared(v) for v in domain.volumes if domain.prepared(v).is_symlink()]
    assert not (host.root / "run/vdsm/storage" / domain.sd_uuid).exists()
    assert all(link.is_symlink() for link in domain.links), "the other hosts use these"


def test_again_there_is_nothing_to_do(host: SimHost, domain: StorageDomain) -> None:
    assert host.run("--disconnect-storage") == 0
    assert host.run("--disconnect-storage") == 0
    assert host.said == f"The storage domain {domain.sd_uuid} is not connected: nothing to do"
    connect(domain, mount=host.mount)
    assert host.run("--disconnect-storage") == 0
    assert host.said.endswith("is disconnected")


@pytest.mark.parametrize("unit", ["ovirt-ha-agent", "ovirt-ha-broker"])
def test_refused_while_agent_or_broker_run(
    host: SimHost, domain: StorageDomain, mounts: Mounts, unit: str
) -> None:
    host.services.active.add(unit)
    assert host.run("--disconnect-storage") == 1
    assert host.complained == (
        f"The storage domain stays connected: {unit} run on this host. Stop them first:"
        f" systemctl stop {unit}"
    )
    assert mounts.unmounted == []


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (VmState.UP, "the engine VM is on the current host, and it is Up"),
        (VmState.PAUSED, "it is Paused"),
        (VmState.MIGRATION_DESTINATION, "it is Migration Destination"),
        (VmState.WAIT_FOR_LAUNCH, "it is WaitForLaunch"),
        (VmState.UNKNOWN, "libvirt does not answer"),
    ],
)
def test_refused_while_the_vm_may_be_here(
    host: SimHost, domain: StorageDomain, mounts: Mounts, state: VmState, word: str
) -> None:
    host.vm.state = state
    assert host.run("--disconnect-storage") == 1
    assert word in host.complained
    assert mounts.unmounted == []
    assert all(domain.prepared(volume).is_symlink() for volume in domain.volumes)


def test_host_ids_that_sanlock_holds_are_given_back(host: SimHost, domain: StorageDomain) -> None:
    host.sanlock.joined = {LOCKSPACE_NAME: 1, domain.sd_uuid: 1, "another": 7}
    assert host.run("--disconnect-storage") == 0, host.complained
    assert host.sanlock.left == [(LOCKSPACE_NAME, 1), (domain.sd_uuid, 1)]
    assert host.sanlock.joined == {"another": 7}


def test_a_sanlock_that_does_not_run_holds_nothing(host: SimHost, domain: StorageDomain) -> None:
    host.services.active.clear()
    host.sanlock.trouble = LockspaceFailed("no daemon", errno.ECONNREFUSED)
    assert host.run("--disconnect-storage") == 0, host.complained


@pytest.mark.parametrize("kind", ["services", "sanlock", "umount"])
def test_what_is_not_known_or_refused_changes_nothing(
    host: SimHost, domain: StorageDomain, mounts: Mounts, kind: str
) -> None:
    if kind == "services":
        host.services.trouble = ServicesFailed("systemd does not say")
    elif kind == "sanlock":
        host.sanlock.trouble = LockspaceFailed("a lease is in use", errno.EBUSY)
    else:
        mounts.refuses = "umount: target is busy"
    assert host.run("--disconnect-storage") == 1
    assert host.complained.startswith("The storage domain stays connected: ")
    assert all(domain.prepared(volume).is_symlink() for volume in domain.volumes)


def test_a_mount_that_somebody_else_made_stays(host: SimHost, mounts: Mounts) -> None:
    conf = host.paths.hosted_engine_conf
    conf.write_text(conf.read_text().replace("domainType=nfs", "domainType=posixfs"))
    domain = domain_of(host)
    link = domain.prepared(domain.metadata)
    link.parent.mkdir(parents=True)
    link.symlink_to(domain.place(domain.metadata))
    assert host.run("--disconnect-storage") == 0, host.complained
    assert f"{domain.mount} was mounted by somebody else, and stays mounted" in host.said
    assert mounts.unmounted == []
