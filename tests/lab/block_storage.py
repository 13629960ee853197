"""The shared storage as block devices: loop devices that all hosts see, as LUNs of one array.

On a host they are `/dev/<storage domain>/<volume>`, links to device nodes, as LVM makes them.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from tests.lab.cgroups import Group
from tests.lab.commands import LabError, run
from tests.lab.domain import SD_UUID, SPECIAL_BYTES, VOLUMES, Volume
from tests.lab.host import detach
from tests.lab.storage import JOIN_GROUP

HELD_WITHIN_SECONDS = 10
LOOP_MAJOR = 7
# Detaching a device in use only marks it: the kernel lets go when the last holder ends. So the
# devices vanish with the lab, also when all of it is killed at once.
HOLD = 'for device in "$@"; do exec 3<"$device"; (exec sleep infinity) & done; wait'


@dataclass(frozen=True, slots=True)
class BlockStorage:
    """A storage domain as block devices."""

    folder: Path
    lab_group: Group

    @property
    def _backing(self) -> Path:
        return self.folder / "block"

    @property
    def _holder(self) -> Group:
        return self.lab_group.child("devices")

    def create(self) -> None:
        """Make the devices."""
        self._backing.mkdir(parents=True)
        sizes = {volume.volume: volume.size_bytes for volume in VOLUMES} | SPECIAL_BYTES
        for name, size_bytes in sizes.items():
            with (self._backing / name).open("wb") as file:
                file.truncate(size_bytes)
        devices = [
            run(["losetup", "--find", "--show", "--direct-io=on", str(file)]).stdout.strip()
            for file in sorted(self._backing.iterdir())
        ]
        self._hold(devices)

    def host_files(self) -> dict[str, str]:
        """The script by which each host makes its device nodes and links when it boots."""
        lines = [f"mkdir -p /dev/{SD_UUID}"]
        for name, device in self._devices().items():
            number = device.removeprefix("/dev/loop")
            lines += [
                f"[ -b {device} ] || mknod {device} b {LOOP_MAJOR} {number}",
                f"chown 36:36 {device}; chmod 660 {device}",
                f"ln -sfn ../{Path(device).name} /dev/{SD_UUID}/{name}",
            ]
        return {"etc/lab/devices": "\n".join(lines) + "\n"}

    def attach(self, _host: str) -> list[str]:
        """Nothing needs to be bound into a host: it makes its own device nodes."""
        return []

    def detach(self, _host: str) -> None:
        """Nothing runs for a single host."""

    def hang(self, _host: str, _hung: bool) -> None:
        """Raise LabError: all hosts share the devices."""
        raise LabError("the storage of a single host can hang only with --storage file")

    def path_of(self, volume: Volume) -> Path:
        """The file behind the volume's device."""
        return self._backing / volume.volume

    def destroy(self) -> None:
        """Detach devices that nothing holds any more."""
        for device in self._devices().values():
            run(["losetup", "--detach", device], check=False)

    def _hold(self, devices: list[str]) -> None:
        self._holder.create()
        joined = f"group={' '.join(map(str, self._holder.folders))}"
        argv = ["sh", "-c", HOLD, "hold", *devices]
        log = self.folder / "devices.log"
        detach(["env", joined, "sh", "-c", JOIN_GROUP, "devices", *argv], log)
        ends_at = time.monotonic() + HELD_WITHIN_SECONDS
        while self._holder.processes() < 1 + len(devices):
            if time.monotonic() > ends_at:
                raise LabError(f"the devices cannot be held open: {log.read_text()}")
            time.sleep(0.02)
        for device in devices:
            run(["losetup", "--detach", device])

    def _devices(self) -> dict[str, str]:
        """The loop device of each backing file that is attached now."""
        listing = run(["losetup", "--noheadings", "--raw", "-O", "NAME,BACK-FILE"]).stdout
        found = [line.split(maxsplit=1) for line in listing.splitlines() if " " in line]
        folder = f"{self._backing}/"
        return {Path(file).name: name for name, file in found if file.startswith(folder)}
