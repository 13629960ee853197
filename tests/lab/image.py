"""The root file system that all lab hosts share: built once, cached by the hash of its recipe."""

import fcntl
import hashlib
import inspect
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.commands import LabError, run
from tests.lab.host_files import FILES, LINKS, MASKED_UNITS

SUITE = "bookworm"
PACKAGES = (
    # a small Debian that boots and is driven over SSH
    *("systemd", "systemd-sysv", "dbus", "libpam-systemd", "openssh-server", "ca-certificates"),
    *("iproute2", "iputils-ping", "procps", "kmod", "nftables", "curl", "less"),
    # what the HA monitor needs
    *("sanlock", "python3", "python3-sanlock", "python3-libvirt"),
    *("libvirt-daemon", "libvirt-daemon-system", "libvirt-daemon-system-systemd"),
    *("libvirt-daemon-driver-qemu", "libvirt-clients", "libvirt-sanlock"),
    *("qemu-system-x86", "qemu-utils"),
    # packages are upgraded as on oVirt's hosts, and made there (rpmbuild calls file)
    *("dnf", "rpm", "createrepo-c", "file"),
    # parts of the engine stand-in: its user land and its SSH server
    *("busybox-static", "dropbear-bin"),
)
SHIM = "usr/lib/lab/rlimit.so"
HERE = Path(__file__).parent
# vdsm:kvm own the storage domain in oVirt, by number, as every host must agree on them.
OVIRT_USER, OVIRT_GROUP = 36, 36
MACHINE_APT_OPTIONS = ("Acquire::http", "Acquire::Check-", "Acquire::Retries", "Acquire::Force")

# Run by mmdebstrap with the root as $1, before its apt configuration goes away. The kernel is
# unpacked beside the system: only the engine stand-in boots it.
FETCH_KERNEL = """set -e
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
mkdir -p "$1/usr/lib/lab/kernel"; cd "$1/usr/lib/lab/kernel"
package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: //p' | head -n 1)
apt-get download "$package"
dpkg-deb -x ./*.deb .
rm ./*.deb
"""


def recipe_hash() -> str:
    """The name of the image that this source tree asks for."""
    data = (SUITE, PACKAGES, FETCH_KERNEL, MASKED_UNITS, sorted(FILES.items()), LINKS)
    steps = [inspect.getsource(step) for step in (_bootstrap, _configure)]
    shim = (HERE / "rlimit_shim.c").read_text()
    return hashlib.sha256(repr((data, steps, shim)).encode()).hexdigest()[:16]


def remove_unused_images(cache: Path, used: set[Path]) -> None:
    """Drop images of other recipes, half a gigabyte each, but for those a lab stands on."""
    with locked(cache / "images.lock"):
        for image in (cache / "images").iterdir():
            if image.name != recipe_hash() and image / "root" not in used:
                shutil.rmtree(image)


def image_root(cache: Path, say: Callable[[str], None]) -> Path:
    """The root directory of the host image, built first if the cache does not have it."""
    image = cache / "images" / recipe_hash()
    if not (image / "root").is_dir():
        with locked(cache / "images.lock"):
            if not (image / "root").is_dir():
                say("building the host image (once, about a minute)")
                _build(image)
    return image / "root"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path`, which is made if absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def machine_sources() -> list[str]:
    """The lines of sources.list that this machine's own apt uses for Debian's release."""
    wanted = ("$(REPO_URI) $(RELEASE) $(COMPONENT)",)
    listing = run(["apt-get", "indextargets", "--format", *wanted, "Created-By: Packages"]).stdout
    found = [line.split() for line in listing.splitlines()]
    releases = (SUITE, f"{SUITE}-updates", f"{SUITE}-security")
    lines = [
        f"deb {uri} {release} {component}"
        for uri, release, component in dict.fromkeys(map(tuple, found))
        if release in releases and component == "main"
    ]
    if not any(f" {SUITE} " in line for line in lines):
        raise LabError(f"this machine's apt configuration names no mirror of Debian {SUITE}")
    return lines


def machine_apt_options() -> list[str]:
    """How this machine's apt reaches its mirror: proxies, certificates, retries, date checks."""
    lines = run(["apt-config", "dump"]).stdout.splitlines()
    return [line for line in lines if line.startswith(MACHINE_APT_OPTIONS) and '""' not in line]


def _build(image: Path) -> None:
    draft = image.with_name(f"{image.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    (draft / "root").mkdir(parents=True)
    _bootstrap(draft)
    _configure(draft / "root")
    shutil.rmtree(image, ignore_errors=True)
    draft.rename(image)


def _bootstrap(draft: Path) -> None:
    apt_options = draft / "apt.conf"
    apt_options.write_text("\n".join(machine_apt_options()) + "\n")
    fetch_kernel = draft / "fetch-kernel"
    fetch_kernel.write_text(f"#!/bin/sh\n{FETCH_KERNEL}")
    fetch_kernel.chmod(0o755)
    left_out = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*")
    argv = [
        *("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--format=directory"),
        *("--aptopt=APT::Install-Recommends false", "--aptopt=Acquire::Languages none"),
        f"--aptopt={apt_options}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in left_out),
        "--dpkgopt=force-unsafe-io",
        # before udev's package makes a group kvm of some other number
        f"--essential-hook=echo kvm:x:{OVIRT_GROUP}: >> $1/etc/group",
        f"--customize-hook={fetch_kernel}",
        f"--include={','.join(PACKAGES)}",
        *(SUITE, str(draft / "root"), "-"),
    ]
    run(argv, stdin="\n".join(machine_sources()) + "\n", timeout_seconds=1200)


def _configure(root: Path) -> None:
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()  # each host has its own, made and known before it boots
    (root / "etc/machine-id").write_text("")
    for unit in MASKED_UNITS:
        link = root / "etc/systemd/system" / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    for name, text in FILES.items():
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    for name, aim in LINKS.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(aim)
    (root / "rhev/data-center/mnt").mkdir(parents=True)
    (root / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
    chroot = ["chroot", str(root)]
    user = ["--uid", str(OVIRT_USER), "--gid", str(OVIRT_GROUP), "--no-create-home"]
    run([*chroot, "useradd", *user, "--shell", "/usr/sbin/nologin", "vdsm"])
    run([*chroot, "usermod", "--append", "--groups", "kvm", "sanlock"])
    shim = root / SHIM
    run(["gcc", "-O2", "-shared", "-fPIC", "-o", str(shim), str(HERE / "rlimit_shim.c")])
    os.sync()
