"""Whether libvirt takes the leases of the VMs that it starts."""

import re
from pathlib import Path

from ha.env.ports import VmStartFailed

QEMU_CONF = Path("/etc/libvirt/qemu.conf")
# libvirt's virconf.c: strings in either quotes, and of a key that is there twice the first counts.
_SETTING = re.compile(r"^\s*lock_manager\s*=\s*(.*)$", re.MULTILINE)
_SANLOCK = re.compile(r"""("sanlock"|'sanlock')""")


def require_sanlock(qemu_conf: Path = QEMU_CONF) -> None:
    """Raise VmStartFailed unless libvirt is told to take leases from sanlock.

    Its default accepts a <lease> and holds nothing, so that the VM may run on two hosts at once.
    """
    try:
        setting = _SETTING.search(qemu_conf.read_text(errors="replace"))
    except OSError as error:
        found = f"it cannot be read ({error.strerror})"
    else:
        if setting is not None and _SANLOCK.match(setting[1]):
            return
        found = f"it says lock_manager = {setting[1].strip()}" if setting else "it does not say so"
    raise VmStartFailed(
        "libvirt would take no lease for the engine VM, and two hosts could run it at once:"
        f' {qemu_conf} must say lock_manager = "sanlock", and {found}. Set it there, and restart'
        " libvirtd (or virtqemud)"
    )
