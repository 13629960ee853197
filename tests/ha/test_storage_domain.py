"""Where the storage domain's parts are, and the links that lead to them."""

from pathlib import Path
from typing import Any

import pytest

from ha.mounts import MountFailed, is_mounted
from ha.storage_connect import connect, mount_storage, prepare_links
from ha.storage_domain import StorageError, escape_server_path, mount_point, storage_domain_of

KEYS = (
    *("sdUUID", "metadata_image_UUID", "metadata_volume_UUID", "lockspace_image_UUID"),
    *("lockspace_volume_UUID", "conf_image_UUID", "conf_volume_UUID", "vm_disk_id"),
    "vm_disk_vol_id",
)


def uuid(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-000000000000"


VALUES = {
    **{key: uuid(number) for number, key in enumerate(KEYS)},
    "domainType": "nfs",
    "storage": "srv:/a_b/c",
}
BLOCK = {**VALUES, "domainType": "fc", "storage": ""}


def make(values: dict[str, str], root: Path) -> Any:
    """The domain, with its volumes there."""
    domain = storage_domain_of(values, root)
    for place in (*domain.device_places, *(domain.place(volume) for volume in domain.volumes)):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    return domain


def test_escaping() -> None:
    assert escape_server_path("srv:/a_b/c") == "srv:_a__b_c"


@pytest.mark.parametrize(
    ("kind", "server", "place"),
    [
        ("nfs", "srv:/a_b/c", "srv:_a__b_c"),
        ("nfs4", "srv:/a/", "srv:_a"),
        ("glusterfs", "srv:/vol", "glusterSD/srv:_vol"),
        ("fc", "", "blockSD"),
    ],
)
def test_mount_point(kind: str, server: str, place: str) -> None:
    assert mount_point(kind, server) == Path("/rhev/data-center/mnt") / place


def test_places_on_files() -> None:
    domain = storage_domain_of(VALUES)
    top = f"/rhev/data-center/mnt/srv:_a__b_c/{uuid(0)}"
    assert str(domain.ids) == f"{top}/dom_md/ids"
    assert str(domain.place(domain.metadata)) == f"{top}/images/{uuid(1)}/{uuid(2)}"
    assert domain.vm_lease == (Path(f"{top}/images/{uuid(7)}/{uuid(8)}.lease"), 0)


def test_places_on_devices() -> None:
    domain = storage_domain_of(BLOCK)
    assert str(domain.ids) == f"/dev/{uuid(0)}/ids"
    assert str(domain.place(domain.metadata)) == f"/dev/{uuid(0)}/{uuid(2)}"
    assert str(domain.ha_agent) == f"/rhev/data-center/mnt/blockSD/{uuid(0)}/ha_agent"
    lease, offset_bytes = domain.vm_lease
    assert str(lease) == f"/dev/{uuid(0)}/leases"
    assert offset_bytes % (1024 * 1024) == 0


def test_every_missing_key_is_named() -> None:
    with pytest.raises(StorageError, match="sdUUID, metadata_volume_UUID, storage"):
        storage_domain_of({**VALUES, "sdUUID": "", "metadata_volume_UUID": "../x", "storage": ""})
    with pytest.raises(StorageError, match="floppy"):
        storage_domain_of({**VALUES, "domainType": "floppy"})


@pytest.mark.parametrize("values", [VALUES, BLOCK])
def test_links(values: dict[str, str], tmp_path: Path) -> None:
    domain = make(values, tmp_path)
    prepare_links(domain)
    for name, volume in domain.links.items():
        assert name.readlink() == domain.prepared(volume)
        assert domain.prepared(volume).readlink() == domain.place(volume)


def test_a_wrong_link_is_replaced_and_a_right_one_left_alone(tmp_path: Path) -> None:
    domain = make(VALUES, tmp_path)
    prepare_links(domain)
    right, wrong = domain.links
    inode = right.lstat().st_ino
    wrong.unlink()
    wrong.symlink_to("/var/run/vdsm/storage/old")
    prepare_links(domain)
    assert wrong.readlink() == domain.prepared(domain.links[wrong])
    assert right.lstat().st_ino == inode
    assert len(list(domain.ha_agent.iterdir())) == 2


def test_a_plain_file_is_not_replaced(tmp_path: Path) -> None:
    domain = make(VALUES, tmp_path)
    domain.ha_agent.mkdir()
    (domain.ha_agent / "hosted-engine.metadata").write_text("data of an old deployment")
    with pytest.raises(StorageError, match="not a link"):
        prepare_links(domain)


def test_a_missing_volume_is_named(tmp_path: Path) -> None:
    domain = make(VALUES, tmp_path)
    domain.place(domain.lockspace).unlink()
    with pytest.raises(StorageError, match=uuid(4)):
        prepare_links(domain)


def test_connect_mounts_once(tmp_path: Path) -> None:
    asked: list[object] = []

    def mount(*arguments: object) -> None:
        asked.append(arguments)
        make(VALUES, tmp_path)

    domain = storage_domain_of(VALUES, tmp_path)
    connect(domain, options="soft", mount=mount)
    assert asked == [("nfs", "srv:/a_b/c", domain.mount, "soft")]


def test_connect_says_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no storage domain"):
        connect(storage_domain_of(VALUES, tmp_path), mount=lambda *arguments: None)
    with pytest.raises(StorageError, match=f"Devices.*{uuid(2)}"):
        connect(storage_domain_of(BLOCK, tmp_path))


def test_mount_that_fails(tmp_path: Path) -> None:
    def refuse(*arguments: object) -> None:
        raise MountFailed("mount: access denied")

    with pytest.raises(StorageError, match="access denied"):
        mount_storage("nfs", "srv:/a", tmp_path, mount=refuse)
    with pytest.raises(StorageError, match="first"):
        mount_storage("posixfs", "/dev/x", tmp_path)


def test_is_mounted() -> None:
    assert is_mounted(Path("/proc"))
    assert not is_mounted(Path("/proc/self"))
    assert not is_mounted(Path("/no/such"))
