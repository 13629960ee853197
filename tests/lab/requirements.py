"""What this machine lacks for the lab, in words that say what to do about it."""

import os
import shutil
import sys
from pathlib import Path

from tests.lab.cgroups import unified
from tests.lab.commands import run

COMMANDS = {
    "mmdebstrap": "mmdebstrap",
    "apt-get": "apt",
    "systemd-nspawn": "systemd-container",
    "bindfs": "bindfs",
    "fusermount3": "fuse3",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "nft": "nftables",
    "socat": "socat",
    "ssh": "openssh-client",
    "gcc": "gcc",
    "cpio": "cpio",
    "xorriso": "xorriso",
    "mount": "mount",
}
FILES = {
    "/usr/lib/ISOLINUX/isolinux.bin": "isolinux",
    "/usr/lib/syslinux/modules/bios/ldlinux.c32": "syslinux-common",
    "/usr/include/stdlib.h": "libc6-dev",
}
DEVICES = ("/dev/fuse", "/dev/net/tun", "/dev/loop-control")


def why_not() -> list[str]:
    """Reasons why the lab cannot run here, each a sentence; empty when it can."""
    if sys.platform != "linux":
        return ["the lab needs Linux"]
    reasons = []
    if os.geteuid() != 0:
        reasons.append("the lab needs root (namespaces, mounts, control groups)")
    search = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"  # where an ordinary user does not look
    packages = {name for tool, name in COMMANDS.items() if not shutil.which(tool, path=search)}
    packages |= {name for path, name in FILES.items() if not Path(path).exists()}
    if packages:
        names = " ".join(sorted(packages))
        reasons.append(f"Debian packages are missing ({names}); `make install` as root adds them")
    reasons += [f"{path} is missing" for path in DEVICES if not Path(path).exists()]
    if os.geteuid() == 0:
        reasons += _missing_abilities()
    return reasons


def _missing_abilities() -> list[str]:
    reasons = []
    if unified() is None:
        reasons.append("no version 2 control group hierarchy is mounted at /sys/fs/cgroup")
    elif not os.access(unified() or "", os.W_OK):
        reasons.append("the control group hierarchy cannot be written")
    if shutil.which("unshare"):
        tried = run(["unshare", "--mount", "--net", "--pid", "--fork", "true"], check=False)
        if tried.returncode != 0:
            reasons.append(f"namespaces are refused here: {tried.stderr.strip()}")
    return reasons
