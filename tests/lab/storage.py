"""The shared storage: one directory that every host sees through a file server of its own.

The kernels the lab runs on need neither NFS server nor client: bindfs stands in, one process a
host, so that a host's storage can hang or vanish without the others'. As over NFS, QEMU's own
image locks do not reach from host to host, which leaves the guarding to sanlock.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.lab.cgroups import Group
from tests.lab.commands import LabError, run
from tests.lab.domain import SD_UUID, Volume
from tests.lab.host import detach, give_to_ovirt
from tests.lab.network import SERVER_ADDRESS

EXPORT = f"{SERVER_ADDRESS}:/shared"
MOUNT_POINT = f"/rhev/data-center/mnt/{SERVER_ADDRESS}:_shared"
MOUNTED_WITHIN_SECONDS = 10
JOIN_GROUP = 'for folder in $group; do echo 0 > "$folder/cgroup.procs"; done; exec "$@"'


class Storage(Protocol):
    """The shared storage of a lab, of either kind."""

    def create(self) -> None:
        """Make it, before any host boots."""

    def host_files(self) -> dict[str, str]:
        """Files that each host needs to use it."""

    def attach(self, host: str) -> list[str]:
        """Give it to a host that is about to boot; returns nspawn's bind arguments."""

    def detach(self, host: str) -> None:
        """Take it away from a host."""

    def hang(self, host: str, hung: bool) -> None:
        """Let it answer that host nothing any more, or go on answering."""

    def path_of(self, volume: Volume) -> Path:
        """Where the control node finds the volume's bytes."""

    def destroy(self) -> None:
        """Let go of what is not below the lab's folder."""


@dataclass(frozen=True, slots=True)
class FileStorage:
    """A storage domain as files."""

    folder: Path
    lab_group: Group

    @property
    def shared(self) -> Path:
        """The directory behind all mounts, as the storage server sees it."""
        return self.folder / "shared"

    def create(self) -> None:
        """Make the exported directory."""
        self.shared.mkdir(parents=True)
        give_to_ovirt(self.shared)

    def host_files(self) -> dict[str, str]:
        """A host needs none."""
        return {}

    def attach(self, host: str) -> list[str]:
        """Mount the storage for a host that is about to boot; returns nspawn's bind arguments."""
        mount, group = self._mount(host), self._group(host)
        self.detach(host)
        mount.mkdir(parents=True, exist_ok=True)
        group.create()
        argv = [
            *("bindfs", "-f", "-o", f"allow_other,attr_timeout=0,entry_timeout=0,fsname={EXPORT}"),
            *(str(self.shared), str(mount)),
        ]
        joined = f"group={' '.join(map(str, group.folders))}"
        log = self.folder / f"{host}.storage.log"
        detach(["env", joined, "sh", "-c", JOIN_GROUP, "storage", *argv], log)
        ends_at = time.monotonic() + MOUNTED_WITHIN_SECONDS
        while not mount.is_mount():
            if time.monotonic() > ends_at:
                raise LabError(f"bindfs does not mount: {log.read_text()}")
            time.sleep(0.02)
        escaped = MOUNT_POINT.replace(":", "\\:")
        return [f"{mount}:{escaped}"]

    def detach(self, host: str) -> None:
        """End the host's file server; what the host has open fails."""
        group, mount = self._group(host), self._mount(host)
        group.kill()
        run(["umount", "--lazy", str(mount)], check=False)

    def hang(self, host: str, hung: bool) -> None:
        """Let the host's storage answer nothing any more, or go on answering."""
        self._group(host).freeze(hung)

    def path_of(self, volume: Volume) -> Path:
        """The volume's file, as the storage server sees it."""
        return self.shared / SD_UUID / "images" / volume.image / volume.volume

    def destroy(self) -> None:
        """Nothing remains outside the lab's folder."""

    def _group(self, host: str) -> Group:
        return self.lab_group.child(f"storage-{host}")

    def _mount(self, host: str) -> Path:
        return self.folder / f"mount-{host}"
