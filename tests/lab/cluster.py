"""The lab: a cluster of real hosts on this machine, as one object."""

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Literal

from tests.lab import state
from tests.lab.access import Access
from tests.lab.commands import LabError
from tests.lab.deploy import Deployment
from tests.lab.domain import ENGINE, METADATA
from tests.lab.guest import HEALTH_PATH, HEALTH_TEXT, engine_disk
from tests.lab.heartbeats import Heartbeat, Span, overlaps, read_heartbeats
from tests.lab.host import LabHost, Machine
from tests.lab.image import image_root, locked, remove_unused_images
from tests.lab.network import ENGINE_ADDRESS, Network
from tests.lab.parts import Parts
from tests.lab.requirements import why_not
from tests.lab.storage import Storage

BOOTED_WITHIN_SECONDS = 60
BLOCK_BYTES = 4096
CHOICES = ("hosts", "storage", "sanlock_speed")


def _silent(_line: str) -> None:
    return None


class Lab:
    """A cluster of hosts sharing one storage; any process may hold one of the same name.

    A lab that is up keeps its choices. `timing` goes into agent.conf's section of that name when
    the lab is deployed; `say` gets a line where something takes long.
    """

    def __init__(
        self,
        name: str = "lab",
        *,
        storage: Literal["file", "block"] = "file",
        hosts: int = 3,
        sanlock_speed: int = 10,
        timing: Mapping[str, float] | None = None,
        say: Callable[[str], None] = _silent,
    ) -> None:
        self.name, self.say, self.timing = name, say, dict(timing or {})
        self._wanted = state.State("", hosts, storage, sanlock_speed)

    @property
    def folder(self) -> Path:
        """Where the lab keeps its things."""
        return state.lab_dir(self.name)

    @property
    def parts(self) -> Parts:
        """The lab's parts, as remembered by whoever brought it up."""
        return Parts(self.folder, state.load(self.folder) or self._wanted)

    @property
    def hosts(self) -> tuple[LabHost, ...]:
        """The hosts, by host id."""
        return self.parts.hosts

    @property
    def inventory_path(self) -> Path:
        """The inventory in which this lab is the cluster `lab`."""
        return self.access.inventory

    @property
    def known_hosts(self) -> Path:
        """The known_hosts file with the keys of hosts and engine stand-in."""
        return self.access.known_hosts

    @property
    def key_path(self) -> Path:
        """The private key that hosts and engine stand-in accept for root."""
        return self.access.keys.private("client")

    @property
    def network(self) -> Network:
        """The lab's network."""
        return self.parts.network

    @property
    def access(self) -> Access:
        """SSH to the hosts."""
        return self.parts.access

    @property
    def storage(self) -> Storage:
        """The shared storage."""
        return self.parts.storage

    def machine(self, host: str) -> Machine:
        """The parts of a host, by its name. Raises LabError when there is no such host."""
        return self.parts.machine(host)

    # -- up and down ---------------------------------------------------------------------------

    def is_up(self) -> bool:
        """Whether the lab was brought up and is still there."""
        return self.parts.are_there()

    def up(self) -> None:
        """Bring the hosts up until each takes commands over SSH; a lab that is up stays as it is.

        What a killed lab left is cleaned first. Raises LabError when this machine lacks something
        or the lab is up with other choices.
        """
        missing = why_not()
        if missing:
            raise LabError("this machine cannot run the lab:\n  " + "\n  ".join(missing))
        with locked(state.cache_dir() / "labs.lock"):
            if self.is_up():
                self._require_same_choices()
            else:
                self.parts.clean()
                image = str(image_root(state.cache_dir(), self.say))
                fresh = replace(self._wanted, instance=state.new_instance(), image=image)
                state.save(self.folder, fresh)
                remove_unused_images(state.cache_dir(), state.images_in_use())
                self.parts.make(f"Lab {self.name}")
            off = [host.name for host in self.hosts if not self.machine(host.name).has_power()]
            with ThreadPoolExecutor(len(self.hosts)) as pool:
                list(pool.map(self.power_on, off))

    def down(self) -> None:
        """End everything of the lab at once and forget it; images and keys stay cached."""
        with locked(state.cache_dir() / "labs.lock"):
            self.parts.clean()

    def _require_same_choices(self) -> None:
        for what in CHOICES:
            have, want = getattr(self.parts.state, what), getattr(self._wanted, what)
            if have != want:
                raise LabError(
                    f"lab {self.name} is up with {what} {have}, not {want}; take it down first"
                )

    def deploy(self) -> None:
        """Install the HA monitor and deploy hosted engine on every host, once.

        Raises CommandFailed with what `hosted-engine --deploy` said.
        """
        parts = self.parts
        if parts.state.deployed:
            return
        Deployment(
            access=parts.access,
            machines=tuple(parts.machine(host.name) for host in parts.hosts),
            block=parts.state.storage == "block",
            timing=self.timing,
            engine_image=self.engine_image(),
            say=self.say,
        ).run()
        state.save(self.folder, replace(parts.state, deployed=True))

    # -- what befalls a host -------------------------------------------------------------------

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
        self.ssh(host, "pkill", "-KILL", "-x", "qemu-system-x86")

    # -- the engine stand-in -------------------------------------------------------------------

    def engine_image(self) -> Path:
        """A fresh disk of the engine stand-in, to be copied."""
        cache, image = state.cache_dir(), Path(self.parts.state.image)
        return engine_disk(cache, image, self.access.keys, self.say)

    def engine_answers(self) -> bool:
        """Whether the engine stand-in's health page says that it is well."""
        return HEALTH_TEXT in self.access.get(ENGINE_ADDRESS, HEALTH_PATH)

    def wait_for_engine(self, timeout_seconds: float = 180) -> float:
        """Wait until the engine stand-in answers; returns how many seconds it took."""
        return self.wait_until(self.engine_answers, timeout_seconds, "the engine answers")

    def heartbeats(self) -> list[Heartbeat]:
        """What the engine stand-in wrote to its disk."""
        return read_heartbeats(self.storage.path_of(ENGINE))

    def overlaps(self) -> list[tuple[Span, Span]]:
        """Engine VMs that were alive at the same time; there must never be one."""
        return overlaps(self.heartbeats())

    # -- the whiteboard ------------------------------------------------------------------------

    def read_metadata(self) -> bytes:
        """The whole whiteboard, read past the hosts."""
        return self.storage.path_of(METADATA).read_bytes()

    def put_block(self, host_id: int, block: bytes) -> None:
        """Write one block of the whiteboard, past the hosts."""
        with self.storage.path_of(METADATA).open("r+b") as whiteboard:
            whiteboard.seek(host_id * BLOCK_BYTES)
            whiteboard.write(block)
            whiteboard.flush()
            os.fsync(whiteboard.fileno())

    def wait_until(self, holds: Callable[[], bool], timeout_seconds: float, what: str) -> float:
        """Wait until `holds`; returns how many seconds it took. Raises LabError when too long."""
        began = time.monotonic()
        while not holds():
            if time.monotonic() - began > timeout_seconds:
                raise LabError(f"not within {timeout_seconds:g} s: {what}")
            time.sleep(0.2)
        return time.monotonic() - began
