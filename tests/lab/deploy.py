"""Deploying hosted engine on the lab's hosts, as an operator would: install, answers, command."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.lab.access import Access
from tests.lab.commands import run
from tests.lab.domain import CONFIGURATION, ENGINE, LOCKSPACE, METADATA, SD_UUID, VM_UUID
from tests.lab.host import LabHost, Machine
from tests.lab.network import HOST_BRIDGE, SERVER_ADDRESS
from tests.lab.storage import EXPORT

PROJECT = Path(__file__).parents[2]
ANSWERS = "/root/answers.conf"
ENGINE_IMAGE = "/var/tmp/engine-standin.raw"
DEPLOYED_WITHIN_SECONDS = 300
VM_MEMORY_MIB = 96
VM_MAC = "52:54:00:88:00:50"


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is asked of `hosted-engine --deploy`."""

    access: Access
    machines: tuple[Machine, ...]
    block: bool
    timing: Mapping[str, float]
    engine_image: Path
    say: Callable[[str], None]

    def run(self) -> None:
        """Deploy on the first host, then on the others at once. Raises CommandFailed."""
        first, *others = self.machines
        with ThreadPoolExecutor(len(self.machines)) as pool:
            list(pool.map(self.install, self.machines))
            target = first.root / ENGINE_IMAGE.lstrip("/")
            run(["cp", "--sparse=always", str(self.engine_image), str(target)])
            self._deploy(first)
            list(pool.map(self._deploy, others))

    def install(self, machine: Machine) -> None:
        """Put the product, the answers and the agent's settings on a host."""
        run(["sh", "-c", 'cd "$1" && ha/host/install "$2"', "-", str(PROJECT), str(machine.root)])
        files = {
            ANSWERS: answers(machine.host, block=self.block),
            "/etc/ovirt-hosted-engine-ha/agent.conf": agent_conf(self.timing),
        }
        for name, text in files.items():
            path = machine.root / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.access.ssh(machine.host.name, "systemctl", "daemon-reload")

    def _deploy(self, machine: Machine) -> None:
        self.say(f"{machine.host.name}: hosted-engine --deploy --config-append={ANSWERS}")
        command = ["hosted-engine", "--deploy", f"--config-append={ANSWERS}"]
        limit = DEPLOYED_WITHIN_SECONDS
        self.access.ssh(machine.host.name, *command, timeout_seconds=limit)
        self.say(f"{machine.host.name}: deployed as host id {machine.host.host_id}")


def agent_conf(timing: Mapping[str, float]) -> str:
    """The agent's settings, the same on all hosts.

    The hosts share this machine's processors: their load says nothing about any one of them, and
    must not make the engine VM move.
    """
    lines = [f"{name}={value:g}" for name, value in timing.items()]
    return "\n".join(["[score]", "cpu-load-score-penalty=0", "[timing]", *lines, ""])


def answers(host: LabHost, *, block: bool) -> str:
    """The answers file for that host, in the form of otopi's."""
    storage = {"domainType": "str:fc"} if block else {
        "domainType": "str:nfs",
        "storageDomainConnection": f"str:{EXPORT}",
    }  # fmt: skip
    for name, volume in (
        ("metadata{}UUID", METADATA),
        ("lockspace{}UUID", LOCKSPACE),
        ("conf{}UUID", CONFIGURATION),
        ("{}UUID", ENGINE),
    ):
        image, own = _IMAGE_AND_VOLUME[volume.role]
        storage[name.format(image)] = f"str:{volume.image}"
        storage[name.format(own)] = f"str:{volume.volume}"
    storage |= {"sdUUID": f"str:{SD_UUID}", "hostID": f"int:{host.host_id}"}
    groups = {
        "OVEHOSTED_NETWORK": {
            "fqdn": "str:engine.lab",
            "gateway": f"str:{SERVER_ADDRESS}",
            "bridgeName": f"str:{HOST_BRIDGE}",
            "network_test": "str:ping",
        },
        "OVEHOSTED_STORAGE": storage,
        "OVEHOSTED_VM": {
            "vmUUID": f"str:{VM_UUID}",
            "vmMemSizeMB": f"int:{VM_MEMORY_MIB}",
            "vmVCpus": "int:1",
            "vmMACAddr": f"str:{VM_MAC}",
            "ovfArchive": f"str:{ENGINE_IMAGE}",
            "emulatedMachine": "str:pc-i440fx-7.2",
        },
        "OVEHOSTED_VDSM": {"consoleType": "str:vnc"},
    }
    lines = [
        f"{group}/{key}={value}" for group, keys in groups.items() for key, value in keys.items()
    ]
    return "\n".join(["[environment:default]", *lines, ""])


# otopi's keys are not of one form: confVolUUID, but metadataVolumeUUID; imgUUID alone.
_IMAGE_AND_VOLUME = {
    "metadata": ("Image", "Volume"),
    "lockspace": ("Image", "Volume"),
    "configuration": ("Image", "Vol"),
    "engine": ("img", "vol"),
}
