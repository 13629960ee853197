"""What the demo is played on: the lab's real hosts, or simulated ones where no lab can run."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from ha.core.record import BLOCK_BYTES
from ha.simulator.door.ask import LOG, ask_door
from ha.simulator.door.folder import Folder
from ha.simulator.door.serving import INVENTORY, served
from tasks.simulated import SimulatedShell
from tests.lab import state
from tests.lab.cluster import Lab
from tests.lab.commands import LabError

ENGINE_WITHIN_SECONDS = 240
SERVED_WITHIN_SECONDS = 60
HOSTS = ("host1", "host2", "host3")
SIMULATED = """\
SIMULATED: no host is booted here. Three hosts run in one process, in time that passes 10 times as
fast: their storage, sanlock, libvirt, power and engine VM are simulated. Real are the HA monitor
(agent, broker, hosted-engine), the whiteboard as a file, the runbook, its shell commands and dd,
its gates, its journal, the Prefect server and its UI."""


class DemoFailed(Exception):
    """The demo did not end as it must; the text says what is wrong."""


class Stage(Protocol):
    """Three hosts with hosted engine on them."""

    title: str
    home: Path
    inventory_path: Path
    hint: str

    def boot(self, say: Callable[[str], None]) -> None: ...

    def start_engine(self) -> None: ...

    def names(self) -> tuple[str, ...]: ...

    def run(self, host: str, *argv: str) -> str: ...

    def read_metadata(self) -> bytes: ...

    def put_block(self, host_id: int, block: bytes) -> None: ...

    def engine_answers(self) -> bool: ...

    def one_vm_only(self) -> str: ...

    def down(self) -> None: ...


class RealStage:
    """The lab."""

    title = "Three hosts, our HA monitor, and the control node"

    def __init__(self, lab: Lab, home: Path) -> None:
        self.lab, self.home = lab, home
        self.inventory_path = lab.inventory_path
        self.hint = f".venv/bin/python -m tests.lab ssh --name {lab.name} h1"
        self._fresh = False

    def boot(self, say: Callable[[str], None]) -> None:
        turn = self.lab.timing.get("loop_seconds", 10.0)
        say(f"the agents take a turn every {turn:.0f} s here, not every 10 s")
        self._fresh = not self.lab.is_up()
        self.lab.up()
        names = ", ".join(f"{host.name} {host.address}" for host in self.lab.hosts)
        say(f"hosts answer over SSH, host keys verified: {names}")

    def start_engine(self) -> None:
        if self._fresh:
            self.lab.deploy()
        self.lab.wait_for_engine(ENGINE_WITHIN_SECONDS)

    def names(self) -> tuple[str, ...]:
        return tuple(host.name for host in self.lab.hosts)

    def run(self, host: str, *argv: str) -> str:
        return self.lab.ssh(host, *argv).stdout

    def read_metadata(self) -> bytes:
        return self.lab.read_metadata()

    def put_block(self, host_id: int, block: bytes) -> None:
        self.lab.put_block(host_id, block)

    def engine_answers(self) -> bool:
        return self.lab.engine_answers()

    def one_vm_only(self) -> str:
        pairs = self.lab.overlaps()
        if pairs:
            raise DemoFailed(f"two copies of the engine VM were alive at once: {pairs}")
        boots = {beat.boot_id for beat in self.lab.heartbeats()}
        return f"heartbeats on the engine's disk: {len(boots)} boot(s), none overlapped"

    def down(self) -> None:
        self.lab.down()


class SimulatedStage:
    """Simulated hosts, served from a folder until `down`."""

    title = "Three simulated hosts, our HA monitor, and the control node"

    def __init__(self) -> None:
        self.folder = state.cache_dir() / "demo-simulated"
        self.home = state.cache_dir() / "demo-simulated-control-node"
        self.inventory_path = self.folder / INVENTORY
        self.hint = f"tail -f {self.folder / LOG}"

    def boot(self, say: Callable[[str], None]) -> None:
        if not served(self.folder):
            self._serve()
        say(f"hosts are served from {self.folder}: {', '.join(HOSTS)}")

    def start_engine(self) -> None:
        _wait(self.engine_answers, ENGINE_WITHIN_SECONDS, "the engine answers")

    def names(self) -> tuple[str, ...]:
        return HOSTS

    def run(self, host: str, *argv: str) -> str:
        return SimulatedShell(self.folder, host).run(argv).stdout

    def read_metadata(self) -> bytes:
        return self._whiteboard.read_bytes()

    def put_block(self, host_id: int, block: bytes) -> None:
        with self._whiteboard.open("r+b") as whiteboard:
            whiteboard.seek(host_id * BLOCK_BYTES)
            whiteboard.write(block)

    def engine_answers(self) -> bool:
        shell = SimulatedShell(self.folder, HOSTS[0])
        return shell.run(("hosted-engine", "--check-liveliness")).exit_code == 0

    def one_vm_only(self) -> str:
        broken = ask_door(self.folder, ["broken"]).decode()
        if broken:
            raise DemoFailed(f"what must always hold did not: {broken}")
        return "never did two engine VMs run, and no host wrote another's block"

    def down(self) -> None:
        if served(self.folder):
            ask_door(self.folder, ["stop"])
            _wait(lambda: not served(self.folder), SERVED_WITHIN_SECONDS, "nobody serves any more")

    def _serve(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        said = self.folder.with_suffix(".said")
        with said.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "ha", "simulate", "--serve", str(self.folder)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                cwd=Path(__file__).parents[2],
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            )

        def up() -> bool:
            if process.poll() is not None:
                raise LabError(f"the simulator has ended: {said.read_text()}")
            return served(self.folder)

        _wait(up, SERVED_WITHIN_SECONDS, "the simulator serves")

    @property
    def _whiteboard(self) -> Path:
        domain = Folder(self.folder).domain
        return domain.place(domain.metadata)


def _wait(holds: Callable[[], bool], timeout_seconds: float, what: str) -> None:
    until = time.monotonic() + timeout_seconds
    while not holds():
        if time.monotonic() > until:
            raise LabError(f"not within {timeout_seconds:g} s: {what}")
        time.sleep(0.1)
