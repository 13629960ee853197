"""One lab host: an nspawn container that boots systemd, with its own network and power switch."""

import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab.cgroups import Group
from tests.lab.commands import run
from tests.lab.image import OVIRT_GROUP, OVIRT_USER
from tests.lab.network import ENGINE_ADDRESS, NETNS_DIR, SERVER_ADDRESS

# systemd-nspawn(1): "if the container is rebooted ... exit status 133". It does not boot it again
# itself under --keep-unit, so this loop does; any other end, as by loss of power, is final.
POWER_LOOP = """
for folder in $board; do echo 0 > "$folder/cgroup.procs"; done
while :; do
  (for folder in $group; do echo 0 > "$folder/cgroup.procs"; done; exec "$@")
  [ $? = 133 ] || exit 0
done
"""


@dataclass(frozen=True, slots=True)
class LabHost:
    """A host of the lab, as a client sees it."""

    name: str
    address: str
    host_id: int

    @property
    def fqdn(self) -> str:
        """The name that the host calls itself."""
        return f"{self.name}.lab"


@dataclass(frozen=True, slots=True)
class Machine:
    """The parts that make up a host, present or not."""

    host: LabHost
    folder: Path
    image: Path
    lab_group: Group
    netns: str

    @property
    def root(self) -> Path:
        """The host's root file system as seen from outside, mounted while the host has power."""
        return self.folder / "root"

    @property
    def group(self) -> Group:
        """The control group with every process of the host."""
        return self.lab_group.child(self.host.name)

    def mount(self) -> None:
        """Put the host's own layer over the image."""
        for name in ("root", "upper", "work"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        if self.root.is_mount():
            return
        # The marker by which a `volatile` overlay refuses to be mounted again after a crash of the
        # machine; here only the host inside lost its power.
        shutil.rmtree(self.folder / "work" / "work" / "incompat", ignore_errors=True)
        layers = (
            f"lowerdir={self.image},upperdir={self.folder / 'upper'},"
            f"workdir={self.folder / 'work'},volatile"
        )
        run(["mount", "-t", "overlay", self.group.name, "-o", layers, str(self.root)])

    def boot(self, binds: Sequence[str]) -> None:
        """Switch the power on; the host boots by itself from here on, also after a reboot."""
        board = self.lab_group.child("board")
        board.create()
        self.group.create()
        netns = NETNS_DIR / self.netns
        argv = [
            # Entered beforehand, too: nspawn mounts /sys before it joins the namespace, and /sys
            # shows the network devices of the namespace in which it was mounted.
            *("nsenter", f"--net={netns}"),
            *("systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit"),
            *(f"--directory={self.root}", f"--machine={self.netns}"),
            *(f"--hostname={self.host.fqdn}", f"--network-namespace-path={netns}"),
            *("--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=pipe"),
            *("--capability=all", "--bind=/dev/net/tun"),
            *(f"--bind={bind}" for bind in binds),
        ]
        places = {
            "board": " ".join(map(str, board.folders)),
            "group": " ".join(map(str, self.group.folders)),
        }
        settings = [f"{name}={value}" for name, value in places.items()]
        detach(["env", *settings, "sh", "-c", POWER_LOOP, self.netns, *argv], self.console)

    @property
    def console(self) -> Path:
        """What nspawn itself had to say; the host's own log is its journal."""
        return self.folder / "console.log"

    def has_power(self) -> bool:
        """Whether anything runs on the host."""
        return self.group.populated()

    def unmount(self) -> None:
        """Take the host's root away; its layer stays."""
        while self.root.is_mount():
            run(["umount", "--lazy", str(self.root)])

    def configure(self, peers: Sequence[LabHost], identity: "Identity") -> None:
        """Write what makes this root this host: names, keys, sanlock's name and speed."""
        root, host = self.root, self.host
        names = [f"{peer.address} {peer.fqdn} {peer.name}" for peer in peers]
        files = {
            "etc/hostname": f"{host.fqdn}\n",
            "etc/machine-id": f"{uuid.uuid5(uuid.NAMESPACE_DNS, self.netns).hex}\n",
            "etc/hosts": "\n".join(
                [
                    "127.0.0.1 localhost",
                    *names,
                    f"{ENGINE_ADDRESS} engine.lab engine",
                    f"{SERVER_ADDRESS} gateway.lab storage.lab",
                    "",
                ]
            ),
            "root/.ssh/authorized_keys": f"{identity.client_public_key}\n",
            "etc/ssh/ssh_host_ed25519_key.pub": f"{identity.host_public_key}\n",
            "etc/ssh/ssh_host_ed25519_key": identity.host_private_key.read_text(),
            # A host that comes back under its own name gets its host id back at once; under
            # sanlock's default random name it waits until its former self is known dead.
            "etc/sanlock/sanlock.conf": f"use_watchdog = 0\nour_host_name = {host.fqdn}\n",
            "etc/lab/sanlock.env": f"LAB_SANLOCK_SPEED={identity.sanlock_speed}\n",
            **identity.files,
        }
        for name, text in files.items():
            target = root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            target.chmod(0o600 if name.endswith(("_key", "_keys")) else 0o644)


@dataclass(frozen=True, slots=True)
class Identity:
    """What a host is given to be recognised by, and to recognise."""

    client_public_key: str
    host_public_key: str
    host_private_key: Path
    sanlock_speed: int
    files: Mapping[str, str]


def detach(argv: Sequence[str], log: Path) -> None:
    """Start a process that outlives this one; its output goes to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    script = 'log=$1; shift; exec setsid --fork "$@" </dev/null >>"$log" 2>&1'
    run(["sh", "-c", script, "detach", str(log), *argv])


def give_to_ovirt(path: Path) -> None:
    """Make vdsm:kvm the owner, as of everything in a storage domain."""
    shutil.chown(path, OVIRT_USER, OVIRT_GROUP)
