"""A rescue medium for the engine VM: a CD with a small Linux that says so on the console.

It heeds the power button and keeps its hands off the VM's disk: heartbeats come from the engine
stand-in alone.
"""

import shutil
import tempfile
from pathlib import Path

from tests.lab.commands import run
from tests.lab.guest import MODULES, POWER_BUTTON

UP = "rescue medium: up"
INIT = f"""\
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/sbin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in $(cat /lib/modules.order); do insmod "/lib/$module"; done
acpid -l /tmp/acpid.log -p /tmp/acpid.pid
echo "{UP}" >/dev/console
while :; do sleep 60; done
"""
BOOT_MENU = """\
SERIAL 0 115200
DEFAULT rescue
PROMPT 0
TIMEOUT 1
LABEL rescue
 KERNEL /vmlinuz
 INITRD /initrd.img
 APPEND console=ttyS0 quiet nokaslr panic=1
"""
ISOLINUX = (
    Path("/usr/lib/ISOLINUX/isolinux.bin"),
    Path("/usr/lib/syslinux/modules/bios/ldlinux.c32"),
)


def make_rescue_medium(image_root: Path, target: Path) -> None:
    """Write the image of the CD."""
    with tempfile.TemporaryDirectory() as folder:
        user_land, disc = Path(folder) / "initramfs", Path(folder) / "disc"
        _fill(user_land, image_root)
        (disc / "isolinux").mkdir(parents=True)
        for file in ISOLINUX:
            shutil.copy(file, disc / "isolinux")
        (disc / "isolinux/isolinux.cfg").write_text(BOOT_MENU)
        (vmlinuz,) = (image_root / "usr/lib/lab/kernel/boot").glob("vmlinuz-*")
        shutil.copy(vmlinuz, disc / "vmlinuz")
        pack = f"find . | cpio --quiet -o -H newc --owner=0:0 | gzip -1 > {disc / 'initrd.img'}"
        run(["sh", "-c", f"cd {user_land} && {pack}"])
        argv = [
            *("xorriso", "-as", "mkisofs", "-quiet", "-R", "-V", "RESCUE", "-o", str(target)),
            *("-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat", "-no-emul-boot"),
            *("-boot-load-size", "4", "-boot-info-table", str(disc)),
        ]
        run(argv)


def _fill(folder: Path, image_root: Path) -> None:
    for name in ("bin", "sbin", "dev", "proc", "sys", "tmp", "lib", "etc/acpi/PWRF"):
        (folder / name).mkdir(parents=True)
    shutil.copy(image_root / "usr/bin/busybox", folder / "bin/busybox")
    (modules,) = (image_root / "usr/lib/lab/kernel/lib/modules").glob("*")
    for module in MODULES:
        shutil.copy(modules / "kernel" / module, folder / "lib")
    order = "\n".join(Path(module).name for module in MODULES)
    (folder / "lib/modules.order").write_text(f"{order}\n")
    for name, text in (("init", INIT), ("etc/acpi/PWRF/00000080", POWER_BUTTON)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
