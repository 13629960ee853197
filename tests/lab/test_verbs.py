"""The command's verbs on real parts: a console ticket that expires, a lockspace made anew."""

import re
import secrets
import time
from subprocess import CompletedProcess

import pytest

from tests.lab import care
from tests.lab.cluster import Lab
from tests.lab.domain import LOCKSPACE
from tests.lab.vnc import VncRefused, screen_name

pytestmark = [pytest.mark.lab, pytest.mark.slow]
VALID_SECONDS = 120
MIB = 1024 * 1024
REINITIALIZE = ("hosted-engine", "--reinitialize-lockspace")
STOP_AGENT = ("systemctl", "stop", "ovirt-ha-agent")
DISCONNECT = ("hosted-engine", "--disconnect-storage")
SANLOCK_STATUS = ("sanlock", "client", "status")
DAEMONS = ("ovirt-ha-agent", "ovirt-ha-broker")
START_AGENT = ("systemctl", "start", "ovirt-ha-agent")
# The shell reads the password itself, so that it stands in nobody's list of processes.
ADD_PASSWORD = (
    "IFS= read -r OVIRT_HOSTED_ENGINE_CONSOLE_PASSWORD < /root/ticket; rm /root/ticket; "
    "export OVIRT_HOSTED_ENGINE_CONSOLE_PASSWORD; hosted-engine --add-console-password"
)


def test_a_console_password_lets_in_for_two_minutes(lab: Lab) -> None:
    host, password = care.engine_host(lab), secrets.token_hex(4)
    ran = add_password(lab, host, password)
    assert ran.returncode == 0, ran.stderr
    said_at = time.monotonic()
    found = re.search(r"with VNC at (\S+):(\d+)$", ran.stdout, re.MULTILINE)
    assert found, ran.stdout
    place = found[1], int(found[2])
    assert screen_name(lab, *place, password) == "QEMU (HostedEngine)"
    with pytest.raises(VncRefused):
        screen_name(lab, *place, "wrong")
    logs = "journalctl --no-pager; cat /var/log/ovirt-hosted-engine-ha/*.log"
    assert password not in lab.ssh(host, logs).stdout
    time.sleep(max(0.0, said_at + VALID_SECONDS + 2 - time.monotonic()))
    with pytest.raises(VncRefused):
        screen_name(lab, *place, password)


def test_a_console_password_where_the_vm_is_not(lab: Lab) -> None:
    ran = add_password(lab, care.idle_host(lab), "s3cret12")
    assert ran.returncode == 1
    assert "The engine VM is not on this host" in ran.stderr


def test_a_lockspace_is_made_anew_when_nobody_uses_it(lab: Lab) -> None:
    care.wait_until_settled(lab)
    boot = care.boot_of_engine(lab)
    actor, living = lab.hosts[0].name, lab.hosts[-1].name
    volume = lab.storage.path_of(LOCKSPACE)
    try:
        lab.ssh(actor, "hosted-engine", "--set-maintenance", "--mode=global")
        for host in lab.hosts[:-1]:
            lab.ssh(host.name, *STOP_AGENT)
        refused = lab.ssh(actor, *REINITIALIZE, "--force", check=False, timeout_seconds=90)
        assert refused.returncode == 1
        assert "Not even --force overrides liveness" in refused.stderr
        lab.ssh(living, *STOP_AGENT)
        with volume.open("r+b") as file:
            file.write(b"garbage!" * (MIB // 8))
        ran = lab.ssh(actor, *REINITIALIZE, timeout_seconds=90)
        assert "reads as empty: 2000 free leases, sector 512" in ran.stdout
        assert "Backup of 1048576 bytes: " in ran.stdout
        care.on_all(lab, *START_AGENT)
        lab.wait_until(lambda: joined(lab), care.BACK_WITHIN_SECONDS, "all hosts have joined")
    finally:
        care.mend(lab)
    assert care.boot_of_engine(lab) == boot


def test_the_storage_is_disconnected(lab: Lab) -> None:
    care.wait_until_settled(lab)
    boot, host = care.boot_of_engine(lab), care.idle_host(lab)
    try:
        refused = lab.ssh(host, *DISCONNECT, check=False)
        assert refused.returncode == 1
        assert "Stop them first: systemctl stop ovirt-ha-agent ovirt-ha-broker" in refused.stderr
        lab.ssh(host, "systemctl", "stop", *DAEMONS)
        # The agent has given its own id back; the one for the engine VM's lease stays.
        assert len(lockspaces(lab, host)) == 1
        assert "is disconnected" in lab.ssh(host, *DISCONNECT, timeout_seconds=90).stdout
        assert lockspaces(lab, host) == []
        assert "not connected: nothing to do" in lab.ssh(host, *DISCONNECT).stdout
        assert "10.88.0.1" not in lab.ssh(host, "cat", "/proc/mounts").stdout
        # And back again by a boot: this machine's kernel has no NFS client, the lab binds a folder.
        refused = lab.ssh(host, "hosted-engine", "--connect-storage", check=False)
        assert refused.returncode == 1
        assert "The storage domain is not connected: mount -t nfs 10.88.0.1:/" in refused.stderr
    finally:
        lab.power_off(host)
        lab.power_on(host)
        care.mend(lab)
    assert joined(lab)
    assert care.boot_of_engine(lab) == boot


def add_password(lab: Lab, host: str, password: str) -> "CompletedProcess[str]":
    """Run the verb; its exit code is for the test to judge."""
    (lab.machine(host).root / "root/ticket").write_text(f"{password}\n")
    return lab.ssh(host, ADD_PASSWORD, check=False)


def lockspaces(lab: Lab, host: str) -> list[str]:
    """What sanlock on this host is in."""
    said = lab.ssh(host, *SANLOCK_STATUS).stdout
    return [line for line in said.splitlines() if line.startswith("s ")]


def joined(lab: Lab) -> bool:
    """Whether sanlock on every host is in the lockspace with the host's own id."""
    said = care.on_all(lab, *SANLOCK_STATUS)
    return all(f"s hosted-engine:{host.host_id}:" in said[host.name] for host in lab.hosts)
