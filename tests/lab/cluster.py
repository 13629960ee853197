"""The lab: a cluster of real hosts on this machine, as one object."""

import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess
from typing import Literal

from tests.lab import cgroups, state
from tests.lab.access import Access
from tests.lab.commands import LabError, run
from tests.lab.guest import HEALTH_PATH, HEALTH_TEXT, engine_disk
from tests.lab.host import Identity, LabHost, Machine
from tests.lab.image import image_root, locked
from tests.lab.keys import Keys
from tests.lab.network import ENGINE_ADDRESS, Network, host_address
from tests.lab.requirements import why_not
from tests.lab.storage import FileStorage

BOOTED_WITHIN_SECONDS = 60


def _silent(_line: str) -> None:
    return None


class Lab:
    """A cluster of hosts sharing one storage; every method can be called by any process."""

    def __init__(
        self,
        name: str = "lab",
        *,
        storage: Literal["file", "block"] = "file",
        hosts: int = 3,
        sanlock_speed: int = 10,
        say: Callable[[str], None] = _silent,
    ) -> None:
        self.name, self.say = name, say
        self.folder = state.lab_dir(name)
        known = state.load(self.folder)
        self._wanted = state.State("", hosts, storage, sanlock_speed)
        self._state = known or self._wanted

    # -- what there is -------------------------------------------------------------------------

    @property
    def hosts(self) -> tuple[LabHost, ...]:
        """The hosts, by host id."""
        ids = range(1, self._state.hosts + 1)
        return tuple(LabHost(f"h{n}", host_address(n), n) for n in ids)

    @property
    def inventory_path(self) -> Path:
        """The inventory in which this lab is the cluster `lab`."""
        return self.access.inventory

    @property
    def known_hosts(self) -> Path:
        """The known_hosts file with the keys of all hosts and of the engine stand-in."""
        return self.access.known_hosts

    @property
    def key_path(self) -> Path:
        """The private key that hosts and engine stand-in accept for root."""
        return self.access.keys.private("client")

    @property
    def network(self) -> Network:
        """The lab's network."""
        return Network(self._state.instance)

    @property
    def access(self) -> Access:
        """SSH to the hosts."""
        keys = Keys(state.cache_dir() / "keys")
        return Access(self.folder, keys, self.network, self.hosts)

    @property
    def storage(self) -> FileStorage:
        """The shared storage."""
        return FileStorage(self.folder / "run", self._group)

    @property
    def _group(self) -> cgroups.Group:
        return cgroups.Group(f"{cgroups.PREFIX}{self._state.instance}")

    def machine(self, host: str) -> Machine:
        """The parts of a host, by its name. Raises LabError when there is no such host."""
        for one in self.hosts:
            if host in (one.name, one.fqdn):
                image = image_root(state.cache_dir(), self.say)
                folder, netns = self.folder / "run" / one.name, self.network.host_netns(one.name)
                return Machine(one, folder, image, self._group, netns)
        raise LabError(f"no host {host}; there are {', '.join(one.name for one in self.hosts)}")

    def is_up(self) -> bool:
        """Whether the lab was brought up and its network and its processes are still there."""
        return bool(self._state.instance) and self.network.exists() and self._group.populated()

    # -- up and down ---------------------------------------------------------------------------

    def up(self) -> None:
        """Bring the hosts up until each takes commands over SSH; a lab that is up stays as it is.

        Raises LabError when this machine lacks something, or is up with other choices.
        """
        missing = why_not()
        if missing:
            raise LabError("this machine cannot run the lab:\n  " + "\n  ".join(missing))
        with locked(self.folder.with_suffix(".lock")):
            if self.is_up():
                self._require_same_choices()
                self._power_on_all()
                return
            self._clean()
            image_root(state.cache_dir(), self.say)
            self._state = state.State(
                state.new_instance(),
                self._wanted.hosts,
                self._wanted.storage,
                self._wanted.sanlock_speed,
            )
            state.save(self.folder, self._state)
            self._make()
            self._power_on_all()

    def down(self) -> None:
        """End everything of the lab at once and forget it; images and keys stay cached."""
        with locked(self.folder.with_suffix(".lock")):
            self._clean()
            self._state = self._wanted

    def _require_same_choices(self) -> None:
        now, asked = self._state, self._wanted
        for what in ("hosts", "storage", "sanlock_speed"):
            if getattr(now, what) != getattr(asked, what):
                have, want = getattr(now, what), getattr(asked, what)
                raise LabError(
                    f"lab {self.name} is up with {what} {have}, not {want}; take it down first"
                )

    def _make(self) -> None:
        self.network.create()
        self.storage.create()
        self.access.write(f"Lab {self.name}")
        for host in self.hosts:
            self.network.add_host(host.name, host.host_id)
            machine = self.machine(host.name)
            machine.mount()
            keys = self.access.keys
            private, public = keys.private(host.name), keys.public(host.name)
            speed = self._state.sanlock_speed
            machine.configure(self.hosts, Identity(keys.public("client"), public, private, speed))

    def _power_on_all(self) -> None:
        off = [host.name for host in self.hosts if not self.machine(host.name).has_power()]
        with ThreadPoolExecutor(len(self.hosts)) as pool:
            list(pool.map(self.power_on, off))

    def _clean(self) -> None:
        if self._state.instance:
            self._group.strike()
            for host in self.hosts:
                self.storage.detach(host.name)
            self._group.kill()
            for mount in _mounts_below(self.folder / "run"):
                run(["umount", "--lazy", mount])
            self.network.destroy()
            self.storage.destroy()
        cgroups.remove_stale()
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- what befalls a host ---------------------------------------------------------------------

    def ssh(
        self, host: str, *argv: str, check: bool = True, timeout_seconds: float = 60
    ) -> CompletedProcess[str]:
        """Run a command as root on a host or on `engine`; a single argument is a shell line."""
        return self.access.ssh(host, *argv, check=check, timeout_seconds=timeout_seconds)

    def power_off(self, host: str) -> None:
        """Take the host's power away: every process of it ends at once."""
        machine = self.machine(host)
        machine.group.strike()
        # Its file server, too: a process that waits for it could not die otherwise.
        self.storage.detach(machine.host.name)
        machine.group.kill()
        machine.unmount()

    def power_on(self, host: str) -> None:
        """Boot the host and wait until it takes commands."""
        machine = self.machine(host)
        if not machine.has_power():
            machine.mount()
            machine.boot(self.storage.attach(machine.host.name))
        self.access.wait_for(host, BOOTED_WITHIN_SECONDS)

    def freeze(self, host: str, frozen: bool = True) -> None:
        """Stop the whole host where it stands, or let it go on."""
        self.machine(host).group.freeze(frozen)

    def cut(self, host: str) -> None:
        """Pull the host's network cable."""
        self.network.cut(self.machine(host).host.name)

    def heal(self, host: str) -> None:
        """Plug the host's network cable in again."""
        self.network.heal(self.machine(host).host.name)

    def kill_vm(self, host: str) -> None:
        """Kill the engine VM's process on the host."""
        self.ssh(host, "pkill", "-KILL", "-f", "guest=HostedEngine")

    # -- the engine stand-in -----------------------------------------------------------------------

    def copy_engine_disk(self, target: Path) -> None:
        """Put a fresh disk of the engine stand-in at `target`."""
        cache = state.cache_dir()
        disk = engine_disk(cache, image_root(cache, self.say), self.access.keys, self.say)
        run(["cp", "--sparse=always", str(disk), str(target)])

    def engine_answers(self) -> bool:
        """Whether the engine stand-in's health page says that it is well."""
        return HEALTH_TEXT in self.access.get(ENGINE_ADDRESS, HEALTH_PATH)

    def wait_until(
        self, holds: Callable[[], bool], timeout_seconds: float, what: str = "condition"
    ) -> float:
        """Wait until `holds`; returns how many seconds it took. Raises LabError when too long."""
        began = time.monotonic()
        while not holds():
            if time.monotonic() - began > timeout_seconds:
                raise LabError(f"not within {timeout_seconds:g} s: {what}")
            time.sleep(0.2)
        return time.monotonic() - began


def _mounts_below(folder: Path) -> list[str]:
    """Mount points below `folder`, the innermost first."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    points = [line.split()[1].encode().decode("unicode_escape") for line in lines]
    return [point for point in reversed(points) if point.startswith(f"{folder}/")]
