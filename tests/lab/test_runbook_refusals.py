"""What the checks refuse on real hosts: before anything is changed, by name, with a remedy."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from flows.zero_metadata import BACKUPS, zero_metadata
from tasks.journal import Kind, Phase
from tasks.refusal import CheckRefused
from tasks.witnesses import block_at, maintenance_flag
from tests.lab import care
from tests.lab.cluster import Lab
from tests.lab.control_node import APPROVED, RUNBOOK, Ask, ControlNode
from tests.lab.domain import METADATA
from tests.lab.watched_dd import WatchedDd

pytestmark = [pytest.mark.lab, pytest.mark.slow]
FAILED = 1
CONF = "/etc/ovirt-hosted-engine/hosted-engine.conf"


@pytest.fixture
def nobody_writes(broken: Lab, control_node: ControlNode, dd: WatchedDd) -> Iterator[Lab]:
    """The lab with a bad block; afterwards the newest run must have changed nothing at all."""
    yield broken
    run_id = control_node.latest()
    assert control_node.entries(run_id, Kind.CHANGE, Phase.INTENT) == []
    (note,) = control_node.entries(run_id, Kind.RUN, Phase.NOTE, "way_back")
    assert note.payload["lines"] == ["Nothing has been changed."]
    assert dd.begun("") == []
    assert not maintenance_flag(care.whiteboard(broken))


@contextmanager
def changed(lab: Lab, hosts: list[str], there: str, back: str) -> Iterator[None]:
    """Run a shell line on hosts, and another one at the end."""
    for host in hosts:
        lab.ssh(host, there)
    try:
        yield
    finally:
        for host in hosts:
            lab.ssh(host, back)


def refusal(node: ControlNode, ask: Ask | None = None, **parameters: str) -> str:
    """Run the procedure in this process on the real hosts; return how it is refused."""
    with node.here(ask), pytest.raises(CheckRefused) as refused:
        zero_metadata.fn("lab", **parameters)
    return str(refused.value)


def test_a_host_cut_off_one_with_another_key_and_one_without_the_command(
    nobody_writes: Lab, control_node: ControlNode
) -> None:
    lab, busy = nobody_writes, care.engine_host(nobody_writes)
    away, strange = (host.name for host in lab.hosts if host.name != busy)
    with_keys_exchanged(lab, control_node, strange, busy)
    lab.cut(away)
    move = "mv /usr/sbin/hosted-engine{} /usr/sbin/hosted-engine{}"
    try:
        with changed(lab, [busy], move.format("", ".away"), move.format(".away", "")):
            run = control_node.begin("run", RUNBOOK, "--cluster=lab")
            said, _ = run.communicate(timeout=90)
    finally:
        lab.heal(away)
    assert run.returncode == FAILED
    assert f"{away}: cannot be reached" in said
    assert "see that the host is up, that sshd runs" in said
    assert f"{strange}: its host key is not the known one" in said
    assert f"ssh-keygen -f {control_node.known_hosts} -R" in said
    assert f"{busy}: has no working `hosted-engine`" in said
    assert "every host must be reachable, known and deployed" in said


def with_keys_exchanged(lab: Lab, node: ControlNode, host: str, other: str) -> None:
    """Let the control node know another host's key under that host's names."""
    lines = {
        line.split(",")[1].split()[0]: line for line in node.known_hosts.read_text().splitlines()
    }
    wrong = f"{lines[host].rsplit(' ', 1)[0]} {lines[other].rsplit(' ', 1)[1]}"
    node.known_hosts.write_text("\n".join({**lines, host: wrong}.values()) + "\n")


def test_two_candidates_for_the_whiteboard(nobody_writes: Lab, control_node: ControlNode) -> None:
    host = nobody_writes.hosts[1].name
    old = "/rhev/data-center/mnt/old:_he"
    place = f"{old}/sd/ha_agent"
    make = f"mkdir -p {place} && truncate -s 1M {place}/hosted-engine.metadata"
    with changed(nobody_writes, [host], make, f"rm -r {old}"):
        said = refusal(control_node)
    assert f"{host}: two candidates" in said
    assert f"{place}/hosted-engine.metadata" in said
    # The good one is a link to a link, and is followed to its end.
    assert f"/images/{METADATA.image}/{METADATA.volume}" in said


def test_a_whiteboard_that_is_not_the_configured_one(
    nobody_writes: Lab, control_node: ControlNode
) -> None:
    key, own = "metadata_volume_UUID=", METADATA.volume
    swap = "sed -i s/^" + key + "{}/" + key + "{}/ " + CONF
    names = [host.name for host in nobody_writes.hosts]
    with changed(nobody_writes, names, swap.format(own, "other"), swap.format("other", own)):
        said = refusal(control_node)
    assert "the links lead to /rhev/data-center/mnt/10.88.0.1:_shared/" in said
    assert f"/images/{METADATA.image}/other" in said


def test_no_room_for_the_backup(nobody_writes: Lab, control_node: ControlNode) -> None:
    host = care.idle_host(nobody_writes)
    mount = f"mkdir -p {BACKUPS} && mount -t tmpfs -o size=64m none {BACKUPS}"
    with changed(nobody_writes, [host], mount, f"umount {BACKUPS}"):
        said = refusal(control_node, canary=host)
    assert f"{host}: {BACKUPS} has {64 << 20} bytes free, the backup needs" in said
    assert "choose another backup_directory" in said


def test_a_host_52_that_is_really_newer(nobody_writes: Lab, control_node: ControlNode) -> None:
    lab, host = nobody_writes, care.idle_host(nobody_writes)
    usual = next(each.host_id for each in lab.hosts if each.name == host)
    inventory = control_node.inventory.read_text()
    control_node.inventory.write_text(
        inventory.replace(f"host_id = {usual}\n", f"host_id = {care.BAD_HOST_ID}\n")
    )
    upgraded = f"{care.STOP} && sed -i s/^host_id=.*/host_id={care.BAD_HOST_ID}/ {CONF}"
    with (
        changed(lab, [host], upgraded, f"sed -i s/^host_id=.*/host_id={usual}/ {CONF}"),
        newer_agent(lab, host),
    ):
        said = refusal(control_node)
    assert f"{host} (host id {care.BAD_HOST_ID}) is alive and writes a block" in said
    assert "finish the upgrade of the other hosts" in said


@contextmanager
def newer_agent(lab: Lab, host: str) -> Iterator[None]:
    """Write, turn by turn, what an agent of format version 2 would write as host 52."""
    done = threading.Event()

    def write() -> None:
        stamp = 1000
        while not done.wait(1):
            lab.put_block(care.BAD_HOST_ID, care.block_of_version_2(host, stamp := stamp + 1))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_a_broker_that_somebody_starts_while_the_gate_is_open(
    broken: Lab, control_node: ControlNode, dd: WatchedDd
) -> None:
    host = broken.hosts[2].name

    def somebody_starts(gate: str, _shown: Mapping[str, Any]) -> Mapping[str, Any]:
        assert gate == "approve_write"
        broken.ssh(host, "systemctl", "start", "ovirt-ha-broker")
        return APPROVED

    said = refusal(control_node, somebody_starts)
    assert f"{host}: agent inactive, broker active" in said
    assert "What to do: " in said
    assert dd.begun("") == []
    assert block_at(care.whiteboard(broken), care.BAD_HOST_ID) == care.BAD_BLOCK
    assert care.boot_of_engine(broken)
