"""The shared configuration: a small tar on a volume of its own, from which every host is set up.

Upstream refuses an archive of any other size than 20480 bytes, so ours has exactly that. Headers
are read one by one here: `tarfile` follows links and believes sizes that no archive can have.
"""

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ha.direct_io import read_direct, write_direct
from ha.storage_domain import StorageError
from ha.whole_file import write_whole

ARCHIVE_BYTES = 20480
MEMBERS = ("version", "fhanswers.conf", "hosted-engine.conf", "broker.conf", "vm.conf")
ARCHIVE_VERSION = "2.5.2"
CHANGED = "Update failed. The configuration file was changed by somebody else, try again."
_NO_ARCHIVE = "There is no shared configuration"


def pack(files: Mapping[str, str]) -> bytes:
    """Return the archive's 20480 bytes.

    Raises StorageError when the files need more or are no text.
    """
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in MEMBERS:
            content = _encoded(name, files[name])
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o640
            archive.addfile(info, io.BytesIO(content))
    data = packed.getvalue().rstrip(b"\0")
    # tar ends with two empty records of 512 bytes.
    if len(data) + 1024 > ARCHIVE_BYTES:
        raise StorageError(f"The shared configuration does not fit into {ARCHIVE_BYTES} bytes")
    return data.ljust(ARCHIVE_BYTES, b"\0")


def _encoded(name: str, text: str) -> bytes:
    try:
        content = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise StorageError(f"{name} cannot be written: {error.reason}") from error
    if b"\0" in content:
        raise StorageError(f"{name} cannot be written: it has NUL bytes")
    return content


def unpack(data: bytes) -> Mapping[str, str]:
    """Return the files of an archive; raises StorageError when it is not one or not whole.

    It must hold the five files, each once and each a plain one, and nothing else.
    """
    files: dict[str, str] = {}
    for name, content in _members(data):
        if name not in MEMBERS:
            raise StorageError(f"{_NO_ARCHIVE}: {name!r} does not belong into it")
        if name in files:
            raise StorageError(f"{_NO_ARCHIVE}: {name} is there twice")
        try:
            files[name] = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise StorageError(f"{_NO_ARCHIVE}: {name} is not UTF-8: {error}") from error
        if b"\0" in content:
            raise StorageError(f"{_NO_ARCHIVE}: {name} has NUL bytes: it was not written whole")
    missing = [name for name in MEMBERS if name not in files]
    if missing:
        raise StorageError(f"The shared configuration lacks {', '.join(missing)}")
    return files


def _members(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each file. Raises StorageError."""
    if len(data) != ARCHIVE_BYTES:
        raise StorageError(f"{_NO_ARCHIVE}: {len(data)} bytes, not {ARCHIVE_BYTES}")
    start = 0
    while any(header := data[start : start + tarfile.BLOCKSIZE]):
        try:
            info = tarfile.TarInfo.frombuf(header, "utf-8", "strict")
        except (tarfile.TarError, ValueError) as error:
            raise StorageError(f"{_NO_ARCHIVE}: {error} at byte {start}") from error
        if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.name.endswith("/"):
            raise StorageError(f"{_NO_ARCHIVE}: {info.name!r} is no plain file")
        content_at = start + tarfile.BLOCKSIZE
        if not 0 <= info.size <= ARCHIVE_BYTES - content_at - tarfile.BLOCKSIZE:
            raise StorageError(f"{_NO_ARCHIVE}: {info.name!r} has {info.size} bytes")
        yield info.name, data[content_at : content_at + info.size]
        start = content_at - -info.size // tarfile.BLOCKSIZE * tarfile.BLOCKSIZE


def read_raw(volume: Path) -> bytes:
    """Read the archive's bytes from its volume; raises StorageError."""
    try:
        return read_direct(volume, 0, ARCHIVE_BYTES)
    except OSError as error:
        raise StorageError(f"{volume}: {error.strerror or error}") from error


def read_archive(volume: Path) -> Mapping[str, str]:
    """Read the files of the archive from its volume; raises StorageError."""
    return unpack(read_raw(volume))


def write_archive(volume: Path, files: Mapping[str, str]) -> None:
    """Write the archive to its volume and read it back; raises StorageError."""
    _write(volume, pack(files))


def update_archive(
    volume: Path, seen: bytes, files: Mapping[str, str], *, keep: Callable[[bytes], object]
) -> None:
    """Write other files in place of the archive that was `seen`, which `keep` gets before.

    Raises StorageError, also when somebody else has changed it since it was seen; then nothing is
    written.
    """
    data = pack(files)
    keep(seen)
    if checksum(read_raw(volume)) != checksum(seen):
        raise StorageError(CHANGED)
    _write(volume, data)


def checksum(data: bytes) -> str:
    """Return the SHA-256 of an archive."""
    return hashlib.sha256(data).hexdigest()


def _write(volume: Path, data: bytes) -> None:
    try:
        write_direct(volume, 0, data)
    except OSError as error:
        raise StorageError(f"{volume}: {error.strerror or error}") from error


def refresh_file(path: Path, text: str, *, mode: int) -> None:
    """Replace the host's copy of one of the archive's files if it differs.

    Raises StorageError when it cannot be written.
    """
    try:
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            return
        write_whole(path, text, mode=mode)
    except (OSError, UnicodeError) as error:
        raise StorageError(f"{path}: {error}") from error
