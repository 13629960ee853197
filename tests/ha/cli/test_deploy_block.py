"""`--deploy` on devices: nothing is overwritten that holds something, and a broken one goes on."""

import re
from pathlib import Path

import pytest

from ha.core.record import Record, encode_record
from ha.deploy_vacant import require_vacant
from ha.env.ports import LockspaceFailed
from ha.storage_domain import StorageDomain, StorageError, storage_domain_of
from tests.ha.cli.sim import SimHost
from tests.ha.cli.sim_storage import area_of, lease_sector
from tests.ha.deployed import KEYS

MIB = 1024 * 1024
ANSWERS = {
    "domainType": "str:fc",
    "sdUUID": f"str:{KEYS['sdUUID']}",
    "metadataImageUUID": f"str:{KEYS['metadata_image_UUID']}",
    "metadataVolumeUUID": f"str:{KEYS['metadata_volume_UUID']}",
    "lockspaceImageUUID": f"str:{KEYS['lockspace_image_UUID']}",
    "lockspaceVolumeUUID": f"str:{KEYS['lockspace_volume_UUID']}",
    "confImageUUID": f"str:{KEYS['conf_image_UUID']}",
    "confVolUUID": f"str:{KEYS['conf_volume_UUID']}",
    "imgUUID": f"str:{KEYS['vm_disk_id']}",
    "volUUID": f"str:{KEYS['vm_disk_vol_id']}",
}
SIZES_MIB = {"metadata": 9, "lockspace": 1, "configuration": 1, "engine_disk": 16}
STOPPED = Record(1, 1, 0, "{}", "old-h1", stopped=True)


@pytest.fixture
def domain(tmp_path: Path) -> StorageDomain:
    return storage_domain_of(KEYS, tmp_path)


@pytest.fixture
def blank(bare: SimHost, domain: StorageDomain) -> SimHost:
    """A host that sees empty devices."""
    lines = [f"OVEHOSTED_STORAGE/{key}={value}" for key, value in ANSWERS.items()]
    text = (bare.root / "answers").read_text()
    kept = [line for line in text.splitlines() if not line.startswith("OVEHOSTED_STORAGE/")]
    bare.write(bare.root / "answers", "\n".join([*kept, *lines, ""]))
    sizes = {domain.place(getattr(domain, name)): size for name, size in SIZES_MIB.items()}
    sizes |= {domain.special(n): size for n, size in (("metadata", 1), ("ids", 8), ("leases", 103))}
    for device, size_mib in sizes.items():
        device.parent.mkdir(parents=True, exist_ok=True)
        with device.open("wb") as file:
            file.truncate(size_mib * MIB)

    def publish(unit: str) -> None:
        if unit == "ovirt-ha-agent":
            bare.whiteboard.blocks[1] = b"1".ljust(4096, b"\0")

    bare.services.on_enable = publish
    return bare


def put(device: Path, offset_bytes: int, data: bytes) -> None:
    with device.open("r+b") as file:
        file.seek(offset_bytes)
        file.write(data)


def deploy(host: SimHost) -> int:
    return host.run("--deploy", f"--config-append={host.root}/answers")


def begins(device: Path) -> bytes:
    with device.open("rb") as file:
        return file.read(9 * MIB)


def test_empty_devices(blank: SimHost, domain: StorageDomain) -> None:
    assert deploy(blank) == 0, blank.complained
    image = (blank.root / "image.raw").read_bytes()
    assert domain.place(domain.engine_disk).read_bytes()[: len(image)] == image


def used(domain: StorageDomain, what: str) -> tuple[Path, int, bytes, str]:
    """A device, what is put there and where, and what is said of it."""
    lease, lease_offset = domain.vm_lease
    free = area_of("hosted-engine")
    live = area_of("hosted-engine", h3=lease_sector("hosted-engine", 3, 77))
    whiteboard, space = domain.place(domain.metadata), domain.place(domain.lockspace)
    return {
        "record": (whiteboard, 4096, encode_record(STOPPED), "(hosts 1 old-h1)"),
        "last block": (whiteboard, 2000 * 4096 + 8, b"x", "(no host's record)"),
        "live lease": (space, 0, live, "(host id 3 was not given back by lab-h3)"),
        "other lockspace": (space, 0, area_of("other"), "(the lockspace 'other')"),
        "no lockspace": (space, 4096, b"XFSB", "(no lockspace)"),
        "ids": (domain.ids, 0, free, "(the lockspace 'hosted-engine')"),
        "lease": (lease, lease_offset, b"\x10\x20", "(no lease on this engine disk)"),
        "disk": (domain.place(domain.engine_disk), 1024, b"\x53\xef", "(it does not begin as "),
    }[what]


@pytest.mark.parametrize(
    "what",
    [
        "record", "last block", "live lease", "other lockspace", "no lockspace", "ids", "lease",
        "disk",
    ],
)  # fmt: skip
def test_what_holds_something_is_refused(blank: SimHost, domain: StorageDomain, what: str) -> None:
    device, offset_bytes, data, words = used(domain, what)
    put(device, offset_bytes, data)
    before = begins(device)
    assert deploy(blank) == 1
    assert f"{device} is not empty {words}" in blank.complained
    assert "OVEHOSTED_STORAGE/confVolUUID" in blank.complained
    assert "nothing behind" in blank.complained
    assert blank.sanlock.initialised == []
    assert begins(device) == before
    [remedy] = re.findall("dd (if=.*)", blank.complained)
    dd = dict(word.split("=", 1) for word in remedy.split())
    assert (dd["of"], dd["bs"]) == (str(device), str(MIB))
    put(device, int(dd["seek"]) * MIB, bytes(int(dd["count"]) * MIB))
    assert deploy(blank) == 0, blank.complained


def test_an_engine_disk_that_is_not_written_may_hold_one(
    blank: SimHost, domain: StorageDomain
) -> None:
    text = (blank.root / "answers").read_text()
    lines = [line for line in text.splitlines() if "ovfArchive" not in line]
    blank.write(blank.root / "answers", "\n".join([*lines, ""]))
    put(domain.place(domain.engine_disk), 0, b"engine")
    assert deploy(blank) == 0, blank.complained
    assert begins(domain.place(domain.engine_disk)).startswith(b"engine")


def test_a_deployment_that_broke_off_goes_on(blank: SimHost) -> None:
    blank.sanlock.refuses = LockspaceFailed("sanlock does not answer")
    assert deploy(blank) == 1
    assert "sanlock does not answer" in blank.complained
    blank.sanlock.refuses = None
    assert deploy(blank) == 0, blank.complained


@pytest.mark.usefixtures("sanlock_daemon", "blank")
def test_what_sanlock_itself_leaves_behind(domain: StorageDomain) -> None:
    """Free leases are nothing, a host id that is held is something; as sanlock writes them."""
    lockspace = pytest.importorskip("ha.env.lockspace")
    place, (lease, offset_bytes) = domain.place(domain.lockspace), domain.vm_lease
    lockspace.initialise_lockspace("hosted-engine", place, io_timeout_seconds=1)
    lockspace.initialise_lockspace(domain.sd_uuid, domain.ids, io_timeout_seconds=1)
    disk = domain.engine_disk.volume
    lockspace.initialise_lease(domain.sd_uuid, disk, lease, offset_bytes=offset_bytes)
    require_vacant(domain, None)
    joined = lockspace.SanlockLockspace("hosted-engine", place, io_timeout_seconds=1)
    joined.join(1)
    try:
        with pytest.raises(StorageError, match="host id 1 was not given back"):
            require_vacant(domain, None)
    finally:
        joined.leave(1)
    require_vacant(domain, None)
