"""The shared configuration's archive: five plain files, or an error; nothing is ever followed."""

import io
import tarfile

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ha.conf_archive import ARCHIVE_BYTES, MEMBERS, pack, unpack
from ha.storage_domain import StorageError
from tests.ha.fuzz.strategies import fuzz, texts

FILES = {name: f"# {name}\n" * 20 for name in MEMBERS}
DATA = pack(FILES)


def reads(data: bytes) -> dict[str, str] | StorageError:
    """What an archive comes to: its five files, no larger than it is itself, or an error."""
    try:
        files = unpack(data)
    except StorageError as error:
        assert len(str(error)) < 400, "an error is a line for people"  # noqa: PT017
        return error
    assert set(files) == set(MEMBERS)
    assert sum(len(text.encode()) for text in files.values()) < ARCHIVE_BYTES
    return dict(files)


def archive_of(*members: tarfile.TarInfo | str, kind: int = tarfile.GNU_FORMAT) -> bytes:
    """An archive with these members, names being plain files of a few bytes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=kind) as archive:
        for member in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            content = b"content" if isinstance(member, str) else b""
            info.size = info.size or len(content)
            archive.addfile(info, io.BytesIO(content.ljust(info.size, b"\0")))
    return packed.getvalue().ljust(ARCHIVE_BYTES, b"\0")


def special(kind: bytes, name: str = "vm.conf", to: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info


def test_the_archive_is_right() -> None:
    assert reads(DATA) == FILES
    assert isinstance(reads(archive_of(*MEMBERS)), dict)


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (special(tarfile.SYMTYPE, to="/etc/shadow"), "'vm.conf' is no plain file"),
        (special(tarfile.SYMTYPE, to="vm.conf"), "is no plain file"),
        (special(tarfile.LNKTYPE, to="version"), "is no plain file"),
        (special(tarfile.LNKTYPE, to="no such"), "is no plain file"),
        (special(tarfile.CHRTYPE), "is no plain file"),
        (special(tarfile.FIFOTYPE), "is no plain file"),
        (special(tarfile.DIRTYPE), "is no plain file"),
        (special(tarfile.GNUTYPE_SPARSE), "is no plain file"),
        (special(tarfile.XHDTYPE), "is no plain file"),
        (special(tarfile.REGTYPE, "../vm.conf"), "'../vm.conf' does not belong into it"),
        (special(tarfile.REGTYPE, "/etc/passwd"), "'/etc/passwd' does not belong into it"),
        (special(tarfile.REGTYPE, "./vm.conf"), "'./vm.conf' does not belong into it"),
        (special(tarfile.REGTYPE, "vm.conf\u202e"), "does not belong into it"),
        (special(tarfile.REGTYPE, "n" * 200), "is no plain file"),
        (special(tarfile.REGTYPE, "version"), "version is there twice"),
    ],
)
def test_a_member_that_is_none(member: tarfile.TarInfo, words: str) -> None:
    error = reads(archive_of(*(name for name in MEMBERS if name != "vm.conf"), member))
    assert isinstance(error, StorageError)
    assert words in str(error)


@pytest.mark.parametrize("name", MEMBERS)
def test_a_member_that_is_missing(name: str) -> None:
    error = reads(archive_of(*(each for each in MEMBERS if each != name)))
    assert isinstance(error, StorageError)
    assert f"lacks {name}" in str(error)


@pytest.mark.parametrize("size", [-1, ARCHIVE_BYTES, 2**33, 2**62])
def test_a_size_that_no_archive_has(size: int) -> None:
    header = tarfile.TarInfo("version").tobuf(tarfile.GNU_FORMAT)
    lies = tarfile.TarInfo("version")
    lies.size = size
    error = reads(lies.tobuf(tarfile.GNU_FORMAT) + DATA[len(header) :])
    assert isinstance(error, StorageError)
    assert f"'version' has {size} bytes" in str(error)


@pytest.mark.parametrize("size", [0, 512, 10240, ARCHIVE_BYTES - 1, ARCHIVE_BYTES + 512])
def test_an_archive_of_another_size(size: int) -> None:
    error = reads(DATA.ljust(size, b"\0")[:size])
    assert isinstance(error, StorageError)
    assert f"{size} bytes, not {ARCHIVE_BYTES}" in str(error)


def test_every_truncation() -> None:
    """Blocks of 512 bytes that never reached the storage."""
    used = len(DATA.rstrip(b"\0"))
    for size in range(0, ARCHIVE_BYTES, 128):
        found = reads(DATA[:size].ljust(ARCHIVE_BYTES, b"\0"))
        assert isinstance(found, StorageError) is (size < used), size


@fuzz
@given(at=st.integers(0, len(DATA.rstrip(b"\0"))), junk=st.binary(min_size=1, max_size=600))
@example(at=124, junk=b"\x80" + b"\xff" * 11)
@example(at=124, junk=b"\xff" * 12)
@example(at=156, junk=b"K")
def test_bytes_of_any_kind_anywhere(at: int, junk: bytes) -> None:
    reads((DATA[:at] + junk + DATA[at + len(junk) :])[:ARCHIVE_BYTES])


@fuzz
@given(st.binary(max_size=ARCHIVE_BYTES))
def test_bytes_of_any_kind(data: bytes) -> None:
    reads(data)
    reads(data.ljust(ARCHIVE_BYTES, b"\0"))


@fuzz
@given(st.fixed_dictionaries({name: texts for name in MEMBERS}))
@example({name: "x" * 4000 for name in MEMBERS})
@example({name: "\0" for name in MEMBERS})
def test_what_is_packed_is_read_the_same_or_not_packed(files: dict[str, str]) -> None:
    try:
        data = pack(files)
    except StorageError:
        return
    assert reads(data) == files
