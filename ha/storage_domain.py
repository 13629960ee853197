"""Where the parts of the hosted-engine storage domain are on a host, and how they get there.

The places are upstream's: a file domain is mounted below `/rhev/data-center/mnt`, a block domain
consists of devices named `/dev/<domain>/<volume>`. `ha_agent/hosted-engine.metadata` and
`.lockspace` are links to a prepared volume below `/run/vdsm/storage`, which is itself a link.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ha import mounts
from ha.config import BLOCK_DOMAINS, FILE_DOMAINS
from ha.storage_owner import own_devices

FILE_SYSTEMS = {"nfs": "nfs", "nfs3": "nfs", "nfs4": "nfs", "glusterfs": "glusterfs"}
ALIGN_BYTES = 1024 * 1024
# VDSM keeps 100 lease slots of a block domain's `leases` volume for itself.
BLOCK_VM_LEASE_OFFSET_BYTES = 101 * ALIGN_BYTES

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_KEYS = {
    "metadata": ("metadata_image_UUID", "metadata_volume_UUID"),
    "lockspace": ("lockspace_image_UUID", "lockspace_volume_UUID"),
    "configuration": ("conf_image_UUID", "conf_volume_UUID"),
    "engine_disk": ("vm_disk_id", "vm_disk_vol_id"),
}


class StorageError(Exception):
    """Raised when the storage domain cannot be connected or is not what the host expects."""


@dataclass(frozen=True, slots=True)
class VolumeId:
    """The two UUIDs that name one volume of a storage domain."""

    image: str
    volume: str


@dataclass(frozen=True, slots=True)
class StorageDomain:
    """The storage domain of one hosted engine, as places on this host."""

    sd_uuid: str
    domain_type: str
    server_path: str
    metadata: VolumeId
    lockspace: VolumeId
    configuration: VolumeId
    engine_disk: VolumeId
    root: Path = Path("/")

    @property
    def is_block(self) -> bool:
        """Whether the volumes are devices."""
        return self.domain_type in BLOCK_DOMAINS

    @property
    def mount(self) -> Path:
        """The directory that holds the domain's own directory."""
        return mount_point(self.domain_type, self.server_path, self.root)

    @property
    def directory(self) -> Path:
        """The domain's own directory below the mount."""
        return self.mount / self.sd_uuid

    @property
    def ha_agent(self) -> Path:
        """The directory with the links that upstream's tools look for."""
        return self.directory / "ha_agent"

    @property
    def devices(self) -> Path:
        """The directory of a block domain's devices."""
        return self.root / "dev" / self.sd_uuid

    @property
    def ids(self) -> Path:
        """The sanlock lockspace of the domain, which guards the VM lease."""
        return self.special("ids")

    def special(self, name: str) -> Path:
        """The place of one of the domain's own volumes: metadata, ids, leases, inbox, outbox."""
        return self.devices / name if self.is_block else self.directory / "dom_md" / name

    def place(self, volume: VolumeId) -> Path:
        """The file or device that holds a volume."""
        if self.is_block:
            return self.devices / volume.volume
        return self.directory / "images" / volume.image / volume.volume

    def prepared(self, volume: VolumeId) -> Path:
        """The name below /run under which a connected host uses a volume."""
        return self.root / "run/vdsm/storage" / self.sd_uuid / volume.image / volume.volume

    @property
    def vm_lease(self) -> tuple[Path, int]:
        """The place and the offset in bytes of the lease on the engine disk."""
        if self.is_block:
            return self.special("leases"), BLOCK_VM_LEASE_OFFSET_BYTES
        disk = self.place(self.engine_disk)
        return disk.with_name(f"{disk.name}.lease"), 0

    @property
    def links(self) -> dict[Path, VolumeId]:
        """The links in `ha_agent`, each with its volume."""
        return {
            self.ha_agent / "hosted-engine.metadata": self.metadata,
            self.ha_agent / "hosted-engine.lockspace": self.lockspace,
        }

    @property
    def volumes(self) -> tuple[VolumeId, ...]:
        """All volumes that a host prepares."""
        return self.metadata, self.lockspace, self.configuration, self.engine_disk

    @property
    def device_places(self) -> tuple[Path, ...]:
        """The devices of a block domain that a host needs."""
        special = tuple(self.special(name) for name in ("metadata", "ids", "leases"))
        return (*special, *(self.place(volume) for volume in self.volumes))


def escape_server_path(server_path: str) -> str:
    """Return the directory name of a mount, as upstream escapes `server:/path`."""
    return server_path.replace("_", "__").replace("/", "_")


def mount_point(domain_type: str, server_path: str, root: Path = Path("/")) -> Path:
    """Return the directory below which the domains of one storage server are found."""
    base = root / "rhev/data-center/mnt"
    if domain_type in BLOCK_DOMAINS:
        return base / "blockSD"
    name = escape_server_path(server_path.rstrip("/"))
    return base / "glusterSD" / name if domain_type == "glusterfs" else base / name


def storage_domain_of(values: Mapping[str, str], root: Path = Path("/")) -> StorageDomain:
    """Return the storage domain that the keys of hosted-engine.conf name.

    Raises StorageError with every key that is missing or no UUID, or an unknown domain type.
    """
    kind = values.get("domainType", "")
    if kind not in BLOCK_DOMAINS + FILE_DOMAINS:
        raise StorageError(f"Unknown domainType {kind!r} in hosted-engine.conf")
    keys = ["sdUUID", *(key for pair in _KEYS.values() for key in pair)]
    wrong = [key for key in keys if not _UUID.fullmatch(values.get(key, ""))]
    if kind in FILE_DOMAINS and not values.get("storage"):
        wrong.append("storage")
    if wrong:
        raise StorageError(f"Missing or no UUID in hosted-engine.conf: {', '.join(wrong)}")
    volumes = {name: VolumeId(values[i], values[v]) for name, (i, v) in _KEYS.items()}
    return StorageDomain(values["sdUUID"], kind, values.get("storage", ""), root=root, **volumes)


def connect(
    domain: StorageDomain, *, options: str = "", mount: Callable[..., None] = mounts.mount
) -> None:
    """Mount the domain when it is not mounted yet, and prepare the links to its volumes.

    Raises StorageError when it cannot be mounted or a volume is not there.
    """
    if domain.is_block:
        verify_devices(domain)
        own_devices(domain.device_places)
    else:
        mount_storage(
            domain.domain_type, domain.server_path, domain.root, options=options, mount=mount
        )
        if not domain.directory.is_dir():
            raise StorageError(f"There is no storage domain {domain.sd_uuid} in {domain.mount}")
    prepare_links(domain)


def mount_storage(
    domain_type: str,
    server_path: str,
    root: Path = Path("/"),
    *,
    options: str = "",
    mount: Callable[..., None] = mounts.mount,
) -> Path:
    """Mount the storage of file domains at its place, unless something is mounted there.

    Returns the place. Raises StorageError.
    """
    target = mount_point(domain_type, server_path, root)
    if not mounts.is_mounted(target):
        kind = FILE_SYSTEMS.get(domain_type)
        if kind is None:
            raise StorageError(f"Mount {server_path} at {target} first")
        target.mkdir(parents=True, exist_ok=True)
        try:
            mount(kind, server_path, target, options)
        except mounts.MountFailed as error:
            raise StorageError(str(error)) from error
    return target


def verify_devices(domain: StorageDomain) -> None:
    """Raise StorageError with every device of a block domain that is not there."""
    missing = [str(place) for place in domain.device_places if not place.exists()]
    if missing:
        raise StorageError(f"Devices of the storage domain are missing: {', '.join(missing)}")


def prepare_links(domain: StorageDomain) -> None:
    """Make the links to the volumes below /run and in `ha_agent`; right ones are left alone.

    Raises StorageError when a volume is not there or something else stands in a link's place.
    """
    for volume in domain.volumes:
        place = domain.place(volume)
        if not place.exists():
            raise StorageError(f"Volume {place} is not on the storage")
        _link(domain.prepared(volume), place)
    for name, volume in domain.links.items():
        _link(name, domain.prepared(volume))


def _link(name: Path, target: Path) -> None:
    if name.is_symlink() and os.readlink(name) == str(target):
        return
    if name.exists() and not name.is_symlink():
        raise StorageError(f"{name} is not a link; an old deployment? Move it away first")
    name.parent.mkdir(parents=True, exist_ok=True)
    # Several hosts prepare the same shared link at once, so it is replaced in one step.
    fresh = name.with_name(f".{name.name}.{os.uname().nodename}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(name)
