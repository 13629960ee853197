"""An engine VM on the lab without any HA monitor: what the lab itself is proved with."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

from tests.lab.cluster import Lab
from tests.lab.commands import LabError, run
from tests.lab.host import give_to_ovirt
from tests.lab.storage import MOUNT_POINT, FileStorage

LOCKSPACE = "by-hand"
LEASE_OFFSET_BYTES = 1 << 20
JOIN = """
import sanlock, sys
space = sys.argv[1].encode(), int(sys.argv[2]), sys.argv[3]
if not sanlock.inq_lockspace(*space):
    sanlock.add_lockspace(*space, iotimeout=10)
"""
DOMAIN = """\
<domain type='qemu'>
  <name>HostedEngine</name>
  <uuid>11111111-2222-3333-4444-555555555555</uuid>
  <memory unit='MiB'>96</memory>
  <vcpu>1</vcpu>
  <sysinfo type='smbios'><system><entry name='serial'>{fqdn}</entry></system></sysinfo>
  <os>
    <type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type>
    <boot dev='hd'/>
    <smbios mode='sysinfo'/>
  </os>
  <features><acpi/></features>
  <cpu mode='custom' match='exact'><model fallback='forbid'>qemu64</model></cpu>
  <clock offset='utc'/>
  <on_poweroff>destroy</on_poweroff>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='none' io='threads'/>
      <source file='{mount}/engine.raw'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <lease>
      <lockspace>{lockspace}</lockspace>
      <key>engine</key>
      <target path='{mount}/leases' offset='{offset}'/>
    </lease>
    <interface type='bridge'>
      <mac address='52:54:00:88:00:50'/><source bridge='ovirtmgmt'/><model type='virtio'/>
      <rom enabled='no'/>
    </interface>
    <serial type='file'><source path='/var/log/engine-serial.log'/></serial>
    <memballoon model='none'/>
  </devices>
</domain>
"""


@dataclass(frozen=True, slots=True)
class ByHand:
    """A lockspace, a lease and an engine disk in the root of the shared storage."""

    lab: Lab

    @property
    def shared(self) -> Path:
        """The directory behind the hosts' mounts. Raises LabError on block storage."""
        storage = self.lab.storage
        if not isinstance(storage, FileStorage):
            raise LabError("needs a lab with --storage file")
        return storage.shared

    @property
    def disk(self) -> Path:
        """The engine disk, as the storage server sees it."""
        return self.shared / "engine.raw"

    def prepare(self) -> None:
        """Lay out the storage, and let every host join the lockspace."""
        run(["cp", "--sparse=always", str(self.lab.engine_image()), str(self.disk)])
        for name, size in (("ids", 1 << 20), ("leases", 3 << 20)):
            path = self.shared / name
            path.write_bytes(bytes(size))
            path.chmod(0o660)
            give_to_ovirt(path)
        init, mount = ("sanlock", "direct", "init"), MOUNT_POINT.replace(":", "\\:")
        self.lab.ssh("h1", *init, "-s", f"{LOCKSPACE}:0:{mount}/ids:0")
        lease = f"{LOCKSPACE}:engine:{mount}/leases:{LEASE_OFFSET_BYTES}"
        self.lab.ssh("h1", *init, "-r", lease)
        for host in self.lab.hosts:
            self._write_domain(host.name, host.fqdn)
        self.join_all()

    def join_all(self) -> None:
        """Let every host be in the lockspace."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(self.join, [host.name for host in self.lab.hosts]))

    def join(self, host: str) -> None:
        """Let the host take its host id in the lockspace."""
        host_id = str(self.lab.machine(host).host.host_id)
        path = f"{MOUNT_POINT}/ids"
        self.lab.ssh(host, "python3", "-c", JOIN, LOCKSPACE, host_id, path)

    def start(self, host: str, *, check: bool = True) -> CompletedProcess[str]:
        """Start the engine VM there; blocks while its lease's owner may be alive or dead."""
        return self.lab.ssh(host, "virsh", "create", "/root/engine.xml", check=check)

    def _write_domain(self, host: str, fqdn: str) -> None:
        xml = DOMAIN.format(
            fqdn=fqdn, mount=MOUNT_POINT, lockspace=LOCKSPACE, offset=LEASE_OFFSET_BYTES
        )
        (self.lab.machine(host).root / "root/engine.xml").write_text(xml)
