"""What a deployed host has in files: for the product's command, and for who works on the files.

A host of a simulation keeps all that in memory until somebody needs a file: then it is furnished.
"""

import base64
from collections.abc import Mapping
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING

from ha.config import BLANK_UUID, AgentConf, HostedEngineConf, Paths
from ha.config_host import host_conf_of
from ha.config_text import key_values_of
from ha.simulator.site import VM_SPACE

if TYPE_CHECKING:
    from ha.simulator.host import SimHost

VM_NAME = "HostedEngine"
VM_MEMORY_MIB = 4096
BRIDGE = "ovirtmgmt"
FQDN = "engine.sim"
VM_XML = f"""<domain type='kvm'><name>{VM_NAME}</name><memory unit='MiB'>{VM_MEMORY_MIB}</memory>
<os><type machine='q35'>hvm</type></os><devices>
<disk type='file' device='disk'><source file='/engine'/><target dev='vda'/><boot order='1'/></disk>
<disk type='file' device='cdrom'><target dev='sda'/><readonly/></disk>
<lease><lockspace>{VM_SPACE}</lockspace><key>engine</key><target path='/engine.lease'/></lease>
<graphics type='vnc' port='5900' listen='0.0.0.0'/></devices></domain>
"""
VM_CONF = f"""vmId={{vmid}}
vmName={VM_NAME}
memSize={VM_MEMORY_MIB}
devices={{{{type:disk,device:cdrom,index:2,path:}}}}
xmlBase64={base64.b64encode(VM_XML.encode()).decode()}
"""


def uuid(number: int) -> str:
    """Return one of the deployment's UUIDs."""
    return f"{number:08x}-0000-4000-8000-000000000000"


def conf_text(host_id: int, deployment: Mapping[str, str]) -> str:
    """Return hosted-engine.conf of a host; `deployment` has what is other than usual."""
    volumes = ("metadata", "lockspace", "conf")
    values = {
        "fqdn": FQDN,
        "vm_disk_id": uuid(8),
        "vm_disk_vol_id": uuid(9),
        "vmid": uuid(1),
        "storage": "storage.sim:/engine",
        "host_id": host_id,
        "console": "vnc",
        "domainType": "nfs",
        "spUUID": BLANK_UUID,
        "sdUUID": VM_SPACE,
        "connectionUUID": uuid(10),
        "gateway": "10.88.0.1",
        "bridge": BRIDGE,
        "network_test": "ping",
        "configured": True,
    }
    for number, name in enumerate(volumes):
        values[f"{name}_image_UUID"] = uuid(2 + 2 * number)
        values[f"{name}_volume_UUID"] = uuid(3 + 2 * number)
    own = {"host_id": host_id, "sdUUID": VM_SPACE}
    return "".join(f"{key}={value}\n" for key, value in {**values, **deployment, **own}.items())


def conf_of(host_id: int, deployment: Mapping[str, str]) -> HostedEngineConf:
    """Return the same as a value."""
    place = Paths().hosted_engine_conf
    return host_conf_of(place, key_values_of(place, conf_text(host_id, deployment)))


def furnish(host: "SimHost", root: Path) -> None:
    """Give a host its files below a folder; from now on ha.conf counts."""
    host.paths = paths = Paths(root)
    _write(paths.hosted_engine_conf, conf_text(host.host_id, host.site.plan.deployment))
    _write(paths.agent_conf, _agent_conf(host.site.plan.settings))
    paths.state.mkdir(parents=True, exist_ok=True)
    paths.run.mkdir(parents=True, exist_ok=True)
    if host.local_maintenance:
        host.set_local_maintenance(True)
    if host.conf_fetched:
        write_vm_conf(paths)


def write_vm_conf(paths: Paths) -> None:
    """Write the engine VM's definition, as an agent fetches it."""
    _write(paths.vm_conf, VM_CONF.format(vmid=uuid(1)))


def forget_boot(paths: Paths) -> None:
    """Remove what does not outlive a boot."""
    rmtree(paths.run, ignore_errors=True)
    paths.run.mkdir(parents=True)


def _agent_conf(settings: AgentConf) -> str:
    """Return agent.conf with what differs from the defaults."""
    usual, lines = AgentConf(), []
    for section in ("score", "timing"):
        lines.append(f"[{section}]")
        kind, default = getattr(settings, section), getattr(usual, section)
        for name in kind.__slots__:
            if getattr(kind, name) != getattr(default, name):
                lines.append(f"{name.replace('_', '-')}={getattr(kind, name)}")
    return "\n".join([*lines, ""])


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
