"""The engine VM of a fake cluster: libvirt and the VM verbs as scripts over the hosts' folders.

The verbs have upstream's holes: maintenance modes that end one another, and exit codes that lie.
"""

import base64
from dataclasses import replace
from pathlib import Path

from tasks.env import World
from tasks.inventory import Migration
from tasks.maintenance_checks import VM_CONF
from tests.fake_cluster import FakeCluster
from tests.fake_host import DEAD, HEAD

BY_TCP = Migration(uri="qemu+tcp://{host}/system", data_uri="tcp://{address}", unsafe=True)
YES = {"decision": "approve", "approver": "ann", "reason": "ticket 7"}
NO = {"decision": "reject", "approver": "bob", "reason": "not tonight"}
# A host has the VM if its folder has the file `vm`; no two get it, as the lease sees to it.
VIRSH = """
hosts=${state%/*/state}
last() { for word in "$@"; do :; done; echo "$word"; }
case " $* " in
  *" migrate "*)
    [ -f "$state/vm" ] || { echo "error: failed to get domain" >&2; exit 1; }
    if [ -f "$state/immovable" ]; then echo "error: operation failed"; exit 1; fi
    for word in "$@"; do case $word in *://*/system) to=${word#*://}; to=${to%%/*} ;; esac; done
    mv "$state/vm" "$hosts/$to/state/vm"; echo "Migration: [100 %]" ;;
  *" --connect "*) [ ! -f "$state/no-libvirt" ] || { echo "error: no route" >&2; exit 1; } ;;
  *" domstate "*) [ -f "$state/vm" ] && cat "$state/vm" ;;
  *" dumpxml "*)
    [ -f "$state/vm" ] || exit 1
    own=${state%/state}/var/run/ovirt-hosted-engine-ha/vm.conf; conf=$state/started
    if [ ! -f "$conf" ] || [ -f "$state/ignores-conf" ]; then conf=$own; fi
    sed -n 's/^xmlBase64=//p' "$conf" | base64 -d ;;
  *" domblkstat "*) echo "hdc rd_bytes $(cat "$state/read-bytes" 2>/dev/null || echo 9000000)" ;;
esac
"""
VERBS = """
hosts=${state%/*/state}; conf=${state%/state}/var/lib/ovirt-hosted-engine-ha/ha.conf
flags() { printf 'local_maintenance=%s\\nlocal_maintenance_manual=%s\\n' "$1" "$1" >"$conf"; }
base=${0%/*}/hosted-engine.base
case "$1 $2" in
  "--set-maintenance --mode=local")
    [ ! -f "$state/vm" ] || { echo "Unable to enter local maintenance mode"; exit 1; }
    if [ -f "$state/deaf" ]; then exit 0; fi
    flags True; exec "$base" --set-maintenance --mode=none ;;
  "--set-maintenance --mode=none") flags False; exec "$base" "$@" ;;
  "--set-maintenance --mode=global") flags False; exec "$base" "$@" ;;
  "--vm-shutdown "*)
    [ -f "$state/vm" ] || { echo "no VM"; exit 1; }
    [ -f "$state/stubborn" ] || rm "$state/vm" ;;
  "--vm-poweroff "*) [ -f "$state/unkillable" ] || rm -f "$state/vm" ;;
  "--vm-start "*)
    if [ -f "$state/vm" ]; then echo "VM exists and its status is Up"; exit 1; fi
    # As upstream's: 0, although the lease is held elsewhere and the VM is down a moment later.
    for each in "$hosts"/*/state/vm; do [ ! -f "$each" ] || exit 0; done
    if [ -f "$state/no-start" ]; then exit 0; fi
    rm -f "$state/started"
    [ ! -f "$state/says" ] || cat "$state/says" >>"${state%/state}/var/lib/serial.log"
    case $2 in --vm-conf=*) cp "${state%/state}${2#--vm-conf=}" "$state/started" ;; esac
    echo running >"$state/vm" ;;
  "--add-console-password "*)
    [ -f "$state/vm" ] || { echo "not here"; exit 1; }
    [ ! -f "$state/fips" ] || { echo "VNC password is refused in FIPS mode"; exit 1; }
    printf '%s' "$OVIRT_HOSTED_ENGINE_CONSOLE_PASSWORD" >"$state/console-password"
    echo "You can now connect the hosted-engine VM with VNC at 192.0.2.1:5901" ;;
  *) exec "$base" "$@" ;;
esac
"""
TIMEOUT = """
case "$*" in
  *" bash -c "*) [ -f "$state/no-vnc" ] || printf 'RFB 003.008' ;;
  *) exec /usr/bin/timeout "$@" ;;
esac
"""
DOMAIN = """<domain><os><type machine='pc'>hvm</type></os><devices>
<disk type='file' device='disk'><source file='/d'/><target dev='vda'/><boot order='1'/></disk>
<disk type='file' device='cdrom'><target dev='hdc'/><readonly/></disk>
<serial type='pty'><log file='/var/lib/serial.log'/></serial></devices></domain>"""
VM_CONF_TEXT = (
    "vmName=HostedEngine\nmemSize=96\ndevices={type:disk,device:cdrom,index:2,path:}\n"
    f"xmlBase64={base64.b64encode(DOMAIN.encode()).decode()}\n"
)

SANLOCK = """
[ ! -f "$state/sanlock-silent" ] || { echo "connect error -111" >&2; exit 1; }
[ -f "$state/vm" ] || [ -f "$state/leaked-lease" ] || exit 0
echo "r 5d0b1a2c-sd:disk-volume:/rhev/x/disk-volume.lease:0:4 p 307"
"""


def add_vm(cluster: FakeCluster) -> None:
    """Give every host of the cluster libvirt and the VM verbs."""
    for host in cluster.hosts.values():
        folder = host.root / "bin"
        (folder / "hosted-engine").rename(folder / "hosted-engine.base")
        for name, script in (
            ("hosted-engine", VERBS),
            ("virsh", DEAD + VIRSH),
            ("sanlock", SANLOCK),
            ("timeout", TIMEOUT),
        ):
            (folder / name).write_text(HEAD + script)
            (folder / name).chmod(0o755)
        conf = host.root / "etc/ovirt-hosted-engine/hosted-engine.conf"
        conf.write_text(conf.read_text() + "vm_disk_id=disk-image\nvm_disk_vol_id=disk-volume\n")
        vm_conf = Path(host.here(VM_CONF))
        vm_conf.parent.mkdir(parents=True)
        vm_conf.write_text(VM_CONF_TEXT)
        (host.root / "var/lib/serial.log").write_text("rescue: up, an old one\n")
        (host.root / "var/lib/rescue.iso").write_bytes(bytes(2048))


def by_libvirt(cluster: FakeCluster, migration: Migration | None = BY_TCP) -> World:
    """Return the cluster's world with an inventory that lets libvirt migrate, or does not."""
    inventory = cluster.world.inventory
    lab = inventory.cluster("lab").model_copy(update={"migration": migration})
    changed = inventory.model_copy(update={"clusters": {"lab": lab}})
    cluster.world = replace(cluster.world, inventory=changed)
    return cluster.world


def engine_on(cluster: FakeCluster) -> list[str]:
    """Return the hosts that run the engine VM."""
    return [host.name for host in cluster.hosts.values() if host.get("vm")]


def in_local_maintenance(cluster: FakeCluster) -> list[str]:
    """Return the hosts whose ha.conf says so."""
    return [host.name for host in cluster.hosts.values() if host.in_local_maintenance]
