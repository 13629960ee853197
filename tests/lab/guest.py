"""The engine stand-in: a disk with a small Linux that stands for the engine VM.

Debian's cloud kernel and a busybox initramfs on a hybrid ISO, written as a raw disk. It answers
the health page with upstream's text, takes SSH, shuts down on the ACPI button and writes a
heartbeat, with the name of the host it runs on, to its own disk. The commands by which an engine is
upgraded are stand-ins, too; what they change outlives a reboot, on a partition of the disk.
"""

import hashlib
import shutil
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.lab.commands import run
from tests.lab.image import locked
from tests.lab.keys import Keys
from tests.lab.network import ENGINE_ADDRESS

HEALTH_PATH = "/ovirt-engine/services/health"
HEALTH_TEXT = "DB Up!Welcome to Health Status!"
DISK_BYTES = 64 << 20
LANES_OFFSET_BYTES = 32 << 20
LANES = 2048
LANE_BYTES = 8192
SECTOR_BYTES = 512
# Behind the heartbeat's lanes; the second entry of the partition table in the MBR leads there.
DATA_OFFSET_BYTES = 48 << 20
SECOND_ENTRY_AT = 446 + 16
LINUX_PARTITION = 0x83
COMMANDS = (
    *("dnf", "rpm", "needs-restarting"),
    *("engine-setup", "engine-upgrade-check", "engine-backup"),
)
FIRST_VERSIONS = "ovirt-engine 1.0-1\novirt-engine-setup 1.0-1\nlab-base 1.0-1\n"
HERE = Path(__file__).parent
# Every virtio part is a module in Debian's cloud kernel; in an order that insmod can load.
MODULES = (
    *("drivers/virtio/virtio_ring.ko", "drivers/virtio/virtio.ko"),
    *("drivers/virtio/virtio_pci_modern_dev.ko", "drivers/virtio/virtio_pci_legacy_dev.ko"),
    *("drivers/virtio/virtio_pci.ko", "net/core/failover.ko", "drivers/net/net_failover.ko"),
    *("drivers/net/virtio_net.ko", "drivers/block/virtio_blk.ko"),
    *("drivers/acpi/button.ko", "drivers/input/evdev.ko"),
)
# busybox acpid runs /etc/acpi/<type>/<value> for a button's event: PWRF is the power button.
POWER_BUTTON = "#!/bin/sh\nsync\npoweroff -f\n"
COMMAND_LINE = (
    f"console=ttyS0 quiet nokaslr panic=1 lab.ip={ENGINE_ADDRESS} "
    f"lab.lanes={LANES_OFFSET_BYTES // SECTOR_BYTES}"
)
BOOT_MENU = f"""\
SERIAL 0 115200
DEFAULT engine
PROMPT 0
TIMEOUT 1
LABEL engine
 KERNEL /vmlinuz
 INITRD /initrd.img
 APPEND {COMMAND_LINE}
"""


def engine_disk(cache: Path, image_root: Path, keys: Keys, say: Callable[[str], None]) -> Path:
    """The raw disk of the engine stand-in, made first if the cache does not have it."""
    own = ("guest.py", "guest_init.sh", "guest_commands.sh")
    sources = [*(HERE / name for name in own), keys.private("engine")]
    recipe = b"\0".join(
        [str(image_root).encode(), keys.public("client").encode()]
        + [source.read_bytes() for source in sources]
    )
    disk = cache / "engines" / f"{hashlib.sha256(recipe).hexdigest()[:16]}.raw"
    if not disk.exists():
        with locked(cache / "engines.lock"), tempfile.TemporaryDirectory(dir=cache) as work:
            say("making the disk of the engine stand-in (once)")
            draft = _make(Path(work), image_root, keys)
            disk.parent.mkdir(exist_ok=True)
            draft.replace(disk)
    return disk


def _make(work: Path, image_root: Path, keys: Keys) -> Path:
    kernel = image_root / "usr/lib/lab/kernel"
    (vmlinuz,) = (kernel / "boot").glob("vmlinuz-*")
    (modules,) = (kernel / "lib/modules").glob("*")
    user_land = work / "initramfs"
    _fill(user_land, image_root, keys)
    for module in MODULES:
        shutil.copy(modules / "kernel" / module, user_land / "lib")
    boot = work / "boot"
    (boot / "isolinux").mkdir(parents=True)
    shutil.copy("/usr/lib/ISOLINUX/isolinux.bin", boot / "isolinux")
    shutil.copy("/usr/lib/syslinux/modules/bios/ldlinux.c32", boot / "isolinux")
    (boot / "isolinux/isolinux.cfg").write_text(BOOT_MENU)
    shutil.copy(vmlinuz, boot / "vmlinuz")
    pack = f"find . | cpio --quiet -o -H newc --owner=0:0 | gzip -1 > {boot / 'initrd.img'}"
    run(["sh", "-c", f"cd {user_land} && {pack}"])
    disk = work / "engine.raw"
    _write_bootable(boot, disk)
    _add_data(work, disk)
    return disk


def _fill(folder: Path, image_root: Path, keys: Keys) -> None:
    """Lay out the initramfs: busybox, a shell, dropbear and what they read."""
    for name in ("bin", "sbin", "dev", "proc", "sys", "tmp", "lib", "data"):
        (folder / name).mkdir(parents=True)
    for name in ("run", "log", "lib"):
        (folder / "var" / name).mkdir(parents=True)
    shutil.copy(image_root / "usr/bin/busybox", folder / "bin/busybox")
    _copy_with_libraries(image_root, "/usr/sbin/dropbear", folder)
    (folder / "bin/dropbear").symlink_to("/usr/sbin/dropbear")
    # busybox's own shell runs its applet rpm, whatever else bears that name.
    _copy_with_libraries(image_root, "/usr/bin/dash", folder)
    (folder / "bin/sh").symlink_to("/usr/bin/dash")
    shutil.copy(HERE / "guest_init.sh", folder / "init")
    for name in COMMANDS:
        shutil.copy(HERE / "guest_commands.sh", folder / "usr/sbin" / name)
        (folder / "usr/sbin" / name).chmod(0o755)
    texts = {
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
        "etc/group": "root:x:0:\n",
        "etc/shells": "/bin/sh\n",
        "etc/acpi/PWRF/00000080": POWER_BUTTON,
        "root/.ssh/authorized_keys": f"{keys.public('client')}\n",
        f"www{HEALTH_PATH}": HEALTH_TEXT,
        "lib/modules.order": "\n".join(Path(module).name for module in MODULES) + "\n",
    }
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for name in ("init", "etc/acpi/PWRF/00000080"):
        (folder / name).chmod(0o755)
    for name in ("root", "root/.ssh"):
        (folder / name).chmod(0o700)
    (folder / "root/.ssh/authorized_keys").chmod(0o600)
    _convert_host_key(image_root, keys.private("engine"), folder / "etc/dropbear/host_key")


def _copy_with_libraries(image_root: Path, program: str, folder: Path) -> None:
    listing = run(["chroot", str(image_root), "ldd", program]).stdout
    words = [word for word in listing.split() if word.startswith("/")]
    for word in [program, *words]:
        target = folder / word.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image_root / word.lstrip("/"), target)


def _convert_host_key(image_root: Path, private_key: Path, target: Path) -> None:
    """Rewrite an OpenSSH key in dropbear's own format, with the image's own tool."""
    target.parent.mkdir(parents=True)
    # The dynamic loader of the image finds the image's libraries: nothing is left in its root.
    libraries = f"{image_root}/usr/lib/x86_64-linux-gnu"
    loader = f"{image_root}/usr/lib64/ld-linux-x86-64.so.2"
    converter = f"{image_root}/usr/bin/dropbearconvert"
    argv = [loader, "--library-path", libraries, converter, "openssh", "dropbear"]
    run([*argv, str(private_key), str(target)])
    target.chmod(0o600)


def _write_bootable(boot: Path, disk: Path) -> None:
    argv = [
        *("xorriso", "-as", "mkisofs", "-quiet", "-R", "-V", "ENGINE", "-o", str(disk)),
        *("-isohybrid-mbr", "/usr/lib/ISOLINUX/isohdpfx.bin"),
        *("-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat", "-no-emul-boot"),
        *("-boot-load-size", "4", "-boot-info-table", str(boot)),
    ]
    run(argv)
    if disk.stat().st_size > LANES_OFFSET_BYTES:
        raise ValueError(f"the boot image takes {disk.stat().st_size} bytes of the heartbeat's")
    with disk.open("r+b") as raw:
        raw.truncate(DISK_BYTES)


def _add_data(work: Path, disk: Path) -> None:
    """Add the partition that keeps the stand-in's packages, its logs and its remote steps."""
    engine = work / "data/lib/engine"
    engine.mkdir(parents=True)
    (work / "data/log").mkdir()
    for name in ("installed", "available"):
        (engine / name).write_text(FIRST_VERSIONS)
    size_bytes = DISK_BYTES - DATA_OFFSET_BYTES
    image = work / "data.img"
    options = ["-q", "-F", "-t", "ext4", "-d", str(work / "data")]
    run(["mke2fs", *options, str(image), f"{size_bytes >> 10}k"])
    sectors = (DATA_OFFSET_BYTES // SECTOR_BYTES, size_bytes // SECTOR_BYTES)
    # Status, first and last sector in the old three-byte form (unused), type, start, length.
    entry = struct.pack("<B3sB3sII", 0, b"\xff" * 3, LINUX_PARTITION, b"\xff" * 3, *sectors)
    with disk.open("r+b") as raw:
        raw.seek(SECOND_ENTRY_AT)
        raw.write(entry)
        raw.seek(DATA_OFFSET_BYTES)
        raw.write(image.read_bytes())
