"""The parts of one lab, made from what its state remembers; and their making and unmaking."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.lab import cgroups, state
from tests.lab.access import Access
from tests.lab.block_storage import BlockStorage
from tests.lab.commands import LabError, run
from tests.lab.host import Identity, LabHost, Machine
from tests.lab.keys import Keys
from tests.lab.network import Network, host_address
from tests.lab.storage import FileStorage, Storage


@dataclass(frozen=True, slots=True)
class Parts:
    """What a lab in `folder` with that state consists of, whether it is there or not."""

    folder: Path
    state: state.State

    @property
    def hosts(self) -> tuple[LabHost, ...]:
        """The hosts, by host id."""
        ids = range(1, self.state.hosts + 1)
        return tuple(LabHost(f"h{n}", host_address(n), n) for n in ids)

    @property
    def network(self) -> Network:
        """The lab's network."""
        return Network(self.state.instance)

    @property
    def group(self) -> cgroups.Group:
        """The control group with every process of the lab."""
        return cgroups.Group(f"{cgroups.PREFIX}{self.state.instance}")

    @property
    def access(self) -> Access:
        """SSH to the hosts."""
        return Access(self.folder, Keys(state.cache_dir() / "keys"), self.network, self.hosts)

    @property
    def storage(self) -> Storage:
        """The shared storage."""
        kind = BlockStorage if self.state.storage == "block" else FileStorage
        return kind(self.folder / "run", self.group)

    def machine(self, host: str) -> Machine:
        """The parts of a host, by its name. Raises LabError when there is no such host."""
        for one in self.hosts:
            if host in (one.name, one.fqdn):
                folder = self.folder / "run" / one.name
                netns = self.network.host_netns(one.name)
                return Machine(one, folder, Path(self.state.image), self.group, netns)
        raise LabError(f"no host {host}; there are {', '.join(one.name for one in self.hosts)}")

    def are_there(self) -> bool:
        """Whether network and processes are there: a lab that was killed has lost them."""
        return bool(self.state.instance) and self.network.exists() and self.group.populated()

    def make(self, title: str) -> None:
        """Make everything but the running hosts."""
        self.network.create()
        self.storage.create()
        self.access.write(title)
        keys, speed = self.access.keys, self.state.sanlock_speed
        files = self.storage.host_files()
        for host in self.hosts:
            self.network.add_host(host.name, host.host_id)
            machine = self.machine(host.name)
            machine.mount()
            own = (keys.public(host.name), keys.private(host.name))
            machine.configure(self.hosts, Identity(keys.public("client"), *own, speed, files))

    def clean(self) -> None:
        """Take everything away, whole or half made, with its folder."""
        if self.state.instance:
            self.group.strike()
            for host in self.hosts:
                self.storage.detach(host.name)
            self.group.kill()
            for mount in _mounts_below(self.folder / "run"):
                run(["umount", "--lazy", mount])
            self.network.destroy()
            self.storage.destroy()
        cgroups.remove_stale()
        shutil.rmtree(self.folder, ignore_errors=True)


def _mounts_below(folder: Path) -> list[str]:
    """Mount points below `folder`, the innermost first."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    points = [line.split()[1].encode().decode("unicode_escape") for line in lines]
    return [point for point in reversed(points) if point.startswith(f"{folder}/")]
