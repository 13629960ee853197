"""What tests of runbooks ask of the cluster, and how they bring it back."""

import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ha.core.record import BLOCK_BYTES, RANGE_BYTES, judge_block
from tasks.witnesses import bad_blocks, block_at, maintenance_flag, records
from tests.lab.cluster import Lab
from tests.lab.control_node import digest
from tests.lab.domain import METADATA
from tests.lab.heartbeats import spans

T = TypeVar("T")
# What a newer version, or a stranger's old data, looks like to an agent of version 1.
BAD_HOST_ID = 52
BAD_BLOCK = b"2|2|1|52|0|x|h".ljust(BLOCK_BYTES, b"\0")
HANDS_OFF = [*["GlobalMaintenance"] * 3, "hands off"]
AT_WORK = ["EngineDown", "EngineDown", "EngineUp", "hands on"]
BACK_WITHIN_SECONDS = 90
START = "systemctl start ovirt-ha-broker && systemctl start ovirt-ha-agent"
STOP = "systemctl stop ovirt-ha-agent ovirt-ha-broker"
LEAVE_MAINTENANCE = "hosted-engine --set-maintenance --mode=none"


def whiteboard(lab: Lab) -> bytes:
    """The whiteboard's range, read past the hosts."""
    with lab.storage.path_of(METADATA).open("rb") as volume:
        return volume.read(RANGE_BYTES)


def volume_digest(lab: Lab) -> str:
    """SHA-256 of the whole volume."""
    return digest(lab.storage.path_of(METADATA))


def services(lab: Lab) -> set[str]:
    """What systemd says of agents and brokers on all hosts."""
    ask = ("systemctl", "is-active", "ovirt-ha-agent", "ovirt-ha-broker")
    said = on_all(lab, *ask)
    return {word for words in said.values() for word in words.split()}


def on_all(lab: Lab, *argv: str) -> dict[str, str]:
    """Run a command on all hosts at once; return what each printed."""
    return on_each(lab, lambda name: lab.ssh(name, *argv, check=False).stdout)


def on_each(lab: Lab, act: Callable[[str], T]) -> dict[str, T]:
    """Act on all hosts at once; return what came of it."""
    names = [host.name for host in lab.hosts]
    with ThreadPoolExecutor(len(names)) as pool:
        return dict(zip(names, pool.map(act, names), strict=True))


def engine_host(lab: Lab) -> str:
    """The one host that runs the engine VM, as libvirt says."""
    said = on_all(lab, "virsh", "list", "--name")
    running = [host for host, names in said.items() if "HostedEngine" in names]
    assert len(running) == 1
    return running[0]


def idle_host(lab: Lab) -> str:
    """A host that does not run the engine VM."""
    busy = engine_host(lab)
    return next(host.name for host in lab.hosts if host.name != busy)


def boot_of_engine(lab: Lab) -> str:
    """Which boot of the engine VM beats last."""
    return spans(lab.heartbeats())[-1].boot_id


def states(lab: Lab) -> list[str]:
    """The states that the hosts published last, sorted, with block 0's word."""
    data = whiteboard(lab)
    told = records(data)
    said = [str(told[host.host_id].state) for host in lab.hosts if host.host_id in told]
    return sorted([*said, "hands off" if maintenance_flag(data) else "hands on"])


def unsettled(lab: Lab) -> str:
    """What speaks against the cluster being at work as ever; nothing if nothing does."""
    said = states(lab)
    if said != AT_WORK:
        return str(said)
    return ", ".join(f"block {block.host_id} is bad" for block in bad_blocks(whiteboard(lab)))


def block_of_version_2(host: str, stamp: int) -> bytes:
    """A block of host id 52 as a newer agent would write it, its checksum right."""
    tokens = [*("2", "2", str(stamp), str(BAD_HOST_ID), "3400", '{"vm": "down"}', f"{host}.lab")]
    tokens += ["0", "0", "00000000", "1", str(stamp)]
    tokens[9] = f"{zlib.crc32('|'.join(tokens).encode()):08x}"
    return "|".join(tokens).encode().ljust(BLOCK_BYTES, b"\0")


def require_hands_off(lab: Lab) -> None:
    """Assert what the entry says a run leaves that ended at its gate: everybody keeps off."""
    assert services(lab) == {"inactive"}
    data = whiteboard(lab)
    assert maintenance_flag(data)
    assert block_at(data, BAD_HOST_ID) == BAD_BLOCK
    assert judge_block(BAD_HOST_ID, block_at(data, BAD_HOST_ID)).bad
    assert lab.engine_answers()


def mend(lab: Lab) -> None:
    """Bring the cluster back to work from whatever a test left, without any runbook."""
    lab.put_block(BAD_HOST_ID, bytes(BLOCK_BYTES))
    on_all(lab, START)
    wait_for_maintenance_or_work(lab)
    if maintenance_flag(whiteboard(lab)):
        # Refused until the broker has its host id back.
        lab.wait_until(lambda: left_maintenance(lab), BACK_WITHIN_SECONDS, "maintenance is left")
    wait_until_settled(lab)


def left_maintenance(lab: Lab) -> bool:
    """Leave global maintenance; tell whether the command said that it did."""
    return lab.ssh(lab.hosts[0].name, LEAVE_MAINTENANCE, check=False).returncode == 0


def wait_for_maintenance_or_work(lab: Lab) -> None:
    """Wait until every agent publishes, in maintenance if block 0 says so."""

    def holds() -> bool:
        data = whiteboard(lab)
        told = records(data)
        wanted = maintenance_flag(data)
        states = [told[host.host_id].state for host in lab.hosts if host.host_id in told]
        return len(states) == len(lab.hosts) and all(
            state is not None and (state == "GlobalMaintenance" or not wanted) for state in states
        )

    lab.wait_until(holds, BACK_WITHIN_SECONDS, "the agents publish")


def wait_until_settled(lab: Lab) -> None:
    """Wait until the cluster is at work: one engine VM, no maintenance, no bad block."""
    lab.wait_until(
        lambda: not unsettled(lab) and lab.engine_answers(), BACK_WITHIN_SECONDS, "all is well"
    )
