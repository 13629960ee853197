"""A deployment's storage: found if it is there, made and emptied if it is not."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ha.conf_archive import ARCHIVE_BYTES, read_archive, unpack
from ha.core.record import RANGE_BYTES
from ha.direct_io import read_direct, write_direct
from ha.env.ports import Lockspace
from ha.storage_domain import ALIGN_BYTES, StorageDomain, StorageError, VolumeId
from ha.storage_owner import DIRECTORY_MODE, own

LOCKSPACE_NAME = "hosted-engine"
MIB = 1024 * 1024
METADATA_BYTES = 128 * MIB
LOCKSPACE_BYTES = 1024 * MIB
CONFIGURATION_BYTES = 1024 * MIB
# Leases for 2000 hosts with sectors of 512 bytes, as VDSM sizes them.
IDS_BYTES = 8 * MIB
# Upstream empties 1 MiB, so that old data beyond it shows up as records of hosts after 255.
EMPTIED_BYTES = -(-RANGE_BYTES // MIB) * MIB
_SPECIAL_BYTES = {"ids": IDS_BYTES, "leases": IDS_BYTES, "inbox": MIB, "outbox": MIB}
_UUID_NAME = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Sanlock(Protocol):
    """What a deployment and the verbs that repair need of sanlock. Each raises LockspaceFailed."""

    def lockspace(self, name: str, path: Path) -> Lockspace:
        """Return a lockspace at the start of a file or device."""

    def initialise_lockspace(self, name: str, path: Path, *, sector_bytes: int = 512) -> None:
        """Write an empty lockspace."""

    def lockspace_name(self, path: Path, *, sector_bytes: int) -> str:
        """Read the name of the lockspace at the start of a file or device."""

    def joined_as(self, name: str) -> Sequence[int]:
        """The host ids with which this host is in a lockspace, enters it or leaves it."""

    def initialise_lease(self, lockspace: str, name: str, path: Path, *, offset_bytes: int) -> None:
        """Write a free lease."""


@dataclass(frozen=True, slots=True)
class Found:
    """A hosted engine that the storage already holds: its configuration and the archive's place."""

    archive: Path
    files: Mapping[str, str]


def find_deployment(mount: Path, sd_uuid: str) -> Found | None:
    """Return the hosted engine on mounted storage, or None when there is none.

    Raises StorageError when there are several, when the domain asked for holds something else,
    or when a domain is there but its configuration cannot be read (a deployment that broke off).
    """
    domains = [
        place
        for place in sorted(mount.iterdir())
        if _UUID_NAME.fullmatch(place.name) and (not sd_uuid or place.name == sd_uuid)
    ]
    hosted = [place for place in domains if _descriptions(place, "HEMD")]
    if not hosted:
        if sd_uuid and domains:
            raise StorageError(f"{domains[0]} is there and is no hosted-engine storage domain")
        return None
    if len(hosted) > 1:
        names = ", ".join(place.name for place in hosted)
        raise StorageError(f"Several hosted engines in {mount}: {names}. Say which with sdUUID")
    volumes = _descriptions(hosted[0], "HECI")
    if len(volumes) != 1:
        raise StorageError(f"{hosted[0]} has no configuration volume: {remedy_for(hosted[0])}")
    try:
        return Found(volumes[0], read_archive(volumes[0]))
    except StorageError as error:
        raise StorageError(f"{error}: {remedy_for(hosted[0])}") from error


def find_on_devices(domain: StorageDomain) -> Found | None:
    """Return the hosted engine on a block domain's devices, or None when they are empty.

    Raises StorageError when something else is there: nobody has said that it may be overwritten.
    """
    device = domain.place(domain.configuration)
    try:
        data = read_direct(device, 0, ARCHIVE_BYTES)
    except OSError as error:
        raise StorageError(f"{device}: {error.strerror or error}") from error
    if not any(data):
        return None
    try:
        return Found(device, unpack(data))
    except StorageError as error:
        remedy = f"dd if=/dev/zero of={device} bs={ARCHIVE_BYTES} count=1 conv=notrunc"
        raise StorageError(
            f"{device} is not empty ({error}). If its content may go: {remedy}"
        ) from error


def remedy_for(directory: Path) -> str:
    """Say how to remove what a broken deployment left on storage."""
    return f"a deployment broke off here. Make sure that no host uses it, then: rm -r {directory}"


def create_file_domain(domain: StorageDomain, disk_bytes: int) -> None:
    """Make a file domain's directories and volumes; raises StorageError and OSError."""
    if domain.directory.exists():
        raise StorageError(f"{domain.directory} is already there: {remedy_for(domain.directory)}")
    for name in ("dom_md", "images", "ha_agent"):
        _make_directory(domain.directory / name, domain.directory)
    for name, size_bytes in _SPECIAL_BYTES.items():
        _make_file(domain.special(name), size_bytes)
    _write_text(domain.special("metadata"), _domain_metadata(domain))
    volumes = (
        (domain.metadata, METADATA_BYTES, "HEMD", "hosted-engine.metadata"),
        (domain.lockspace, LOCKSPACE_BYTES, "HESD", "hosted-engine.lockspace"),
        (domain.configuration, CONFIGURATION_BYTES, "HECI", "HostedEngineConfigurationImage"),
        (domain.engine_disk, disk_bytes, "HEVD", "Hosted Engine Image"),
    )
    for volume, size_bytes, kind, description in volumes:
        place = domain.place(volume)
        _make_directory(place.parent, domain.directory)
        _make_file(place, size_bytes)
        text = _volume_metadata(domain, volume, size_bytes, f"{kind}|{description}")
        _write_text(place.with_name(f"{place.name}.meta"), text)
    _make_file(domain.vm_lease[0], ALIGN_BYTES)


def empty_whiteboard(domain: StorageDomain) -> None:
    """Zero the whole whiteboard and the configuration, and read back; raises StorageError."""
    metadata, conf = domain.place(domain.metadata), domain.place(domain.configuration)
    require_room(metadata, EMPTIED_BYTES)
    try:
        for offset_bytes in range(0, EMPTIED_BYTES, MIB):
            write_direct(metadata, offset_bytes, bytes(MIB))
        write_direct(conf, 0, bytes(ARCHIVE_BYTES))
        empty = all(
            not any(read_direct(metadata, offset_bytes, MIB))
            for offset_bytes in range(0, EMPTIED_BYTES, MIB)
        )
    except OSError as error:
        raise StorageError(f"{metadata}: {error.strerror or error}") from error
    if not empty:
        raise StorageError(f"{metadata}: zeroes were written but something else is read")


def initialise_leases(domain: StorageDomain, sanlock: Sanlock) -> None:
    """Write both lockspaces and the engine VM's lease. Raises LockspaceFailed, StorageError."""
    lease, offset_bytes = domain.vm_lease
    require_room(lease, offset_bytes + ALIGN_BYTES)
    sanlock.initialise_lockspace(LOCKSPACE_NAME, domain.place(domain.lockspace))
    sanlock.initialise_lockspace(domain.sd_uuid, domain.ids)
    sanlock.initialise_lease(
        domain.sd_uuid, domain.engine_disk.volume, lease, offset_bytes=offset_bytes
    )


def require_room(place: Path, size_bytes: int) -> None:
    """Raise StorageError when a file or device is too small, and OSError."""
    with place.open("rb") as storage:
        room_bytes = storage.seek(0, os.SEEK_END)
    if room_bytes < size_bytes:
        raise StorageError(f"{place} has {room_bytes} bytes, {size_bytes} are needed")


def _descriptions(directory: Path, kind: str) -> list[Path]:
    """Return the volumes of one kind: the .meta files beside the volumes tell."""
    found = []
    for meta in sorted(directory.glob("images/*/*.meta")):
        if f"DISKTYPE={kind}" in meta.read_text(encoding="utf-8").splitlines():
            found.append(meta.with_suffix(""))
    return found


def _make_directory(directory: Path, top: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for place in (top, directory):
        own(place, DIRECTORY_MODE)


def _make_file(place: Path, size_bytes: int) -> None:
    with place.open("xb") as file:
        file.truncate(size_bytes)
    own(place)


def _write_text(place: Path, text: str) -> None:
    place.write_text(text, encoding="utf-8")
    own(place)


def _domain_metadata(domain: StorageDomain) -> str:
    return (
        "ALIGNMENT=1048576\nBLOCK_SIZE=512\nCLASS=Data\nDESCRIPTION=hosted_storage\n"
        f"REMOTE_PATH={domain.server_path}\nROLE=Regular\nSDUUID={domain.sd_uuid}\n"
        "TYPE=NFS\nVERSION=5\n"
    )


def _volume_metadata(
    domain: StorageDomain, volume: VolumeId, size_bytes: int, description: str
) -> str:
    kind, _, alias = description.partition("|")
    return (
        f"CAP={size_bytes}\nDESCRIPTION={alias}\nDISKTYPE={kind}\nDOMAIN={domain.sd_uuid}\n"
        f"FORMAT=RAW\nIMAGE={volume.image}\nLEGALITY=LEGAL\nTYPE=PREALLOCATED\nVOLTYPE=LEAF\nEOF\n"
    )
