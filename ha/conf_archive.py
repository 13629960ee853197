"""The shared configuration: a small tar on a volume of its own, from which every host is set up.

Upstream refuses an archive of any other size than 20480 bytes, so ours has exactly that.
"""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from ha.direct_io import read_direct, write_direct
from ha.storage_domain import StorageError

ARCHIVE_BYTES = 20480
MEMBERS = ("version", "fhanswers.conf", "hosted-engine.conf", "broker.conf", "vm.conf")
ARCHIVE_VERSION = "2.5.2"


def pack(files: Mapping[str, str]) -> bytes:
    """Return the archive's 20480 bytes; raises StorageError when the files need more."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in MEMBERS:
            content = files[name].encode("utf-8")
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o640
            archive.addfile(info, io.BytesIO(content))
    data = packed.getvalue().rstrip(b"\0")
    # tar ends with two empty records of 512 bytes.
    if len(data) + 1024 > ARCHIVE_BYTES:
        raise StorageError(f"The shared configuration does not fit into {ARCHIVE_BYTES} bytes")
    return data.ljust(ARCHIVE_BYTES, b"\0")


def unpack(data: bytes) -> Mapping[str, str]:
    """Return the files of an archive; raises StorageError when it is not one or not whole."""
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            members = {info.name: archive.extractfile(info) for info in archive}
            files = {
                name: member.read().decode("utf-8")
                for name, member in members.items()
                if member is not None
            }
    except (tarfile.TarError, UnicodeDecodeError) as error:
        raise StorageError(f"There is no shared configuration: {error}") from error
    missing = [name for name in MEMBERS if name not in files]
    if missing:
        raise StorageError(f"The shared configuration lacks {', '.join(missing)}")
    return files


def read_archive(volume: Path) -> Mapping[str, str]:
    """Read the archive from its volume; raises StorageError."""
    try:
        return unpack(read_direct(volume, 0, ARCHIVE_BYTES))
    except OSError as error:
        raise StorageError(f"{volume}: {error.strerror or error}") from error


def write_archive(volume: Path, files: Mapping[str, str]) -> None:
    """Write the archive to its volume and read it back; raises StorageError."""
    data = pack(files)
    try:
        write_direct(volume, 0, data)
    except OSError as error:
        raise StorageError(f"{volume}: {error.strerror or error}") from error


def refresh_vm_conf(volume: Path, vm_conf: Path) -> None:
    """Fetch vm.conf from the archive, replacing the host's copy in one step if it differs.

    Raises StorageError, also when the copy cannot be written.
    """
    text = read_archive(volume)["vm.conf"]
    try:
        if vm_conf.is_file() and vm_conf.read_text(encoding="utf-8") == text:
            return
        vm_conf.parent.mkdir(parents=True, exist_ok=True)
        fresh = vm_conf.with_name(f".{vm_conf.name}.new")
        fresh.write_text(text, encoding="utf-8")
        fresh.chmod(0o640)
        fresh.replace(vm_conf)
    except OSError as error:
        raise StorageError(f"{vm_conf}: {error.strerror or error}") from error
