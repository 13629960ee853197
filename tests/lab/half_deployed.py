"""A host on which `hosted-engine --deploy` broke off, as it does with operators."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from tests.lab.cluster import Lab
from tests.lab.commands import CommandFailed, run
from tests.lab.control_node import TIMING, ControlNode
from tests.lab.deploy import ANSWERS, ENGINE_IMAGE, Deployment
from tests.lab.domain import SD_UUID
from tests.lab.storage import MOUNT_POINT

DOMAIN = f"{MOUNT_POINT}/{SD_UUID}"
BOOTSTRAP = "/var/tmp/localvm7x2k"
# Upstream's bootstrap VM, as its failed role leaves it: defined, running, with a disk of its own.
BOOTSTRAP_XML = f"""<domain type='kvm'>
  <name>HostedEngineLocal</name>
  <memory unit='MiB'>32</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='{BOOTSTRAP}/images/disk.raw'/>
      <target dev='vda' bus='virtio'/>
    </disk>
  </devices>
</domain>
"""


@contextmanager
def one_host(
    folder: Path, settings: Mapping[str, str] = MappingProxyType({})
) -> Iterator[ControlNode]:
    """One host with the product installed, not deployed, and a control node in that folder."""
    lab = Lab(f"{folder.name}-{folder.parent.name}", hosts=1, timing=TIMING, say=print)
    try:
        lab.up()
        install(lab)
        node = ControlNode(folder / "home", lab, settings)
        node.prepare()
        node.serve()
        yield node
        node.stop_serving()
    finally:
        lab.down()


def install(lab: Lab) -> None:
    """Put the product, the answers and the engine's disk image on the first host."""
    machine = lab.machine("h1")
    deployment = Deployment(
        access=lab.access,
        machines=(machine,),
        block=False,
        timing=lab.timing,
        engine_image=lab.engine_image(),
        say=lab.say,
    )
    deployment.install(machine)
    target = machine.root / ENGINE_IMAGE.lstrip("/")
    run(["cp", "--sparse=always", str(lab.engine_image()), str(target)])


def deploy(lab: Lab) -> str:
    """Deploy; return what the command said when it failed, or nothing."""
    try:
        lab.ssh(
            "h1", "hosted-engine", "--deploy", f"--config-append={ANSWERS}", timeout_seconds=300
        )
    except CommandFailed as error:
        return str(error)
    return ""


def break_off_at_the_end(lab: Lab) -> str:
    """Let a deployment fail when all but the agent's start is done."""
    lab.ssh("h1", "systemctl", "mask", "ovirt-ha-agent")
    try:
        return deploy(lab)
    finally:
        lab.ssh("h1", "systemctl", "unmask", "ovirt-ha-agent")


def break_off_in_the_storage(lab: Lab) -> str:
    """Let a deployment fail when the storage domain is made and has no leases yet."""
    lab.ssh("h1", "systemctl", "mask", "--runtime", "sanlock")
    lab.ssh("h1", "systemctl stop sanlock; pkill -KILL -x sanlock; true")
    try:
        return deploy(lab)
    finally:
        lab.ssh("h1", "systemctl unmask --runtime sanlock && systemctl start sanlock")


def leave_bootstrap_vm(lab: Lab) -> None:
    """Leave upstream's bootstrap VM behind, running."""
    lab.ssh("h1", f"mkdir -p {BOOTSTRAP}/images && truncate -s 8M {BOOTSTRAP}/images/disk.raw")
    place = lab.machine("h1").root / "root/bootstrap.xml"
    place.write_text(BOOTSTRAP_XML.replace("'kvm'", f"'{kind(lab)}'"))
    lab.ssh("h1", "virsh define /root/bootstrap.xml && virsh start HostedEngineLocal")


def kind(lab: Lab) -> str:
    """The kind of virtualisation that the host has."""
    has_kvm = lab.ssh("h1", "test -c /dev/kvm", check=False).returncode == 0
    return "kvm" if has_kvm else "qemu"
