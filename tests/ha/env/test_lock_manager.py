"""A VM is started only by a libvirt that takes its lease."""

from pathlib import Path

import pytest

from ha.env.lock_manager import require_sanlock
from ha.env.ports import VmStartFailed
from tests.lab.host_files import FILES


def conf(folder: Path, text: str) -> Path:
    place = folder / "qemu.conf"
    place.write_text(text)
    return place


@pytest.mark.parametrize(
    "text",
    [
        FILES["etc/libvirt/qemu.conf"],
        'lock_manager = "sanlock"',
        'user = "root"\n  lock_manager="sanlock"  # as ovirt\n',
        "lock_manager = 'sanlock'\n",
        '#lock_manager = "lockd"\nlock_manager = "sanlock"\n',
    ],
)
def test_a_libvirt_that_takes_leases_from_sanlock(tmp_path: Path, text: str) -> None:
    require_sanlock(conf(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "it does not say so"),
        ('#lock_manager = "sanlock"\n', "it does not say so"),
        ('old_lock_manager = "sanlock"\n', "it does not say so"),
        ('lock_manager = "nop"\n', 'it says lock_manager = "nop"'),
        ('lock_manager = "lockd"\nlock_manager = "sanlock"\n', 'it says lock_manager = "lockd"'),
        ("lock_manager = sanlock\n", "it says lock_manager = sanlock"),
    ],
)
def test_one_that_does_not_is_refused(tmp_path: Path, text: str, found: str) -> None:
    with pytest.raises(VmStartFailed, match="restart libvirtd") as refused:
        require_sanlock(conf(tmp_path, text))
    assert found in str(refused.value)


def test_one_that_cannot_be_asked_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VmStartFailed, match="cannot be read"):
        require_sanlock(tmp_path / "nowhere")
