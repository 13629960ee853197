"""Where the parts of the hosted-engine storage domain are on a host.

The places are upstream's: a file domain is mounted below `/rhev/data-center/mnt`, a block domain
consists of devices named `/dev/<domain>/<volume>`. `ha_agent/hosted-engine.metadata` and
`.lockspace` are links to a prepared volume below `/run/vdsm/storage`, which is itself a link.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ha.config import BLOCK_DOMAINS, FILE_DOMAINS

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
