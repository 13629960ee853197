"""A fake host with what a failed installation leaves: files, VMs, services, a storage domain."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from flows.clean_reinstall import clean_reinstall
from tasks.journal import Entry, Kind, Phase
from tasks.refusal import CheckRefused
from tasks.settings import Settings
from tests.fake_cluster import APPROVED, FakeCluster, fake_cluster
from tests.fake_host import HEAD, SD, TARGET, FakeHost

MOUNT = "/rhev/data-center/mnt/srv:_export_he"
DOMAIN = f"{MOUNT}/{SD}"
SOURCE = "srv:/export/he"
CONF = "etc/ovirt-hosted-engine/hosted-engine.conf"
LOCKSPACE = f"hosted-engine:1:{DOMAIN}/images/l/l:0"
LEFT = (
    CONF,
    "etc/ovirt-hosted-engine/answers.conf",
    "var/lib/ovirt-hosted-engine-ha/ha.conf",
    "var/lib/ovirt-hosted-engine-ha/broker.conf",
    "run/ovirt-hosted-engine-ha/vm.conf",
    "var/tmp/localvm7x/images/disk",
)
KEPT_ANSWERS = "var/lib/ovirt-hosted-engine-setup/answers/answers-20261101.conf"
# Who approves types the host's name, and for the storage domain its id.
CLEAN = {**APPROVED, "target": "h1"}
PURGE = {**APPROVED, "target": SD}

# Each VM is a file in state/vms with its state.
VIRSH = """
while :; do case $1 in -r) shift ;; -c) shift 2 ;; *) break ;; esac; done
[ -f "$state/libvirt-dead" ] && { echo "failed to connect to the hypervisor" >&2; exit 1; }
cd "$state/vms" || exit 1
case $1 in
  list) ls ;;
  domstate) shift; cat -- "$1" ;;
  dumpxml) for name; do :; done; [ -f "$name" ] && echo "<domain><name>$name</name></domain>" ;;
  destroy) [ -f "$2" ] && echo "shut off" >"$2" ;;
  undefine) for name; do :; done; rm -- "$name" ;;
  define) name=$(sed 's/.*<name>//; s/<.*//' "$2"); echo "shut off" >"$name" ;;
esac
"""
SYSTEMCTL = """
[ -f "$state/systemd-dead" ] && { echo "Failed to connect to bus" >&2; exit 1; }
verb=$1; shift; [ "$1" = --now ] && shift
for unit in "$@"; do
  file=$state/$unit
  case $verb in
    is-active) cat "$file" 2>/dev/null || echo inactive; grep -qsx active "$file" ;;
    is-enabled) [ -f "$file" ] || exit 1; cat "$file.enabled" 2>/dev/null || echo enabled ;;
    disable)
      [ -f "$state/unstoppable" ] && exit 0
      echo inactive >"$file"; echo disabled >"$file.enabled" ;;
    enable) echo active >"$file"; echo enabled >"$file.enabled" ;;
  esac
done
"""
SANLOCK = """
shift
[ -f "$state/sanlock-dead" ] && { echo "connect error -111" >&2; exit 1; }
case $1 in
  status) echo "daemon h"; cat "$state/lockspaces" "$state/leases" 2>/dev/null; exit 0 ;;
  host_status)
    [ -f "$state/host-status-dead" ] && { echo "host_status failed" >&2; exit 1; }
    n=$(cat "$state/beats" 2>/dev/null || echo 0); echo $((n + 1)) >"$state/beats"
    echo "1 timestamp $n"
    [ -f "$state/peer" ] && echo "2 timestamp $n"; exit 0 ;;
  rem_lockspace)
    grep -vF -e "$3" "$state/lockspaces" >"$state/l"; mv "$state/l" "$state/lockspaces" ;;
esac
"""
RPM = """
case $1 in
  -q) grep -sx -- "$4" "$state/packages" | sed 's/^/package\\t/' ;;
  -e)
    shift 2
    for p; do grep -vx -- "$p" "$state/packages" >"$state/p"; mv "$state/p" "$state/packages"; done
    ;;
esac
"""
FINDMNT = '[ -f "$state/unmounted" ] || cat "$state/source"\n'
HOSTED_ENGINE = """
case $1 in
  --check-liveliness) [ -f "$state/answers" ] ;;
  --check-deployed) [ -s "$state/conf" ] ;;
  --deploy)
    echo "$2" >"$state/deployed"
    echo vmid=x >"$state/conf"
    echo active >"$state/ovirt-ha-agent" ;;
esac
"""
SCRIPTS = {
    "virsh": VIRSH,
    "systemctl": SYSTEMCTL,
    "sanlock": SANLOCK,
    "rpm": RPM,
    "findmnt": FINDMNT,
    "hosted-engine": HOSTED_ENGINE,
}


@dataclass
class FailedInstall:
    """The cluster, and the one host that is to be cleaned."""

    cluster: FakeCluster
    host: FakeHost

    @property
    def domain(self) -> Path:
        """The storage domain's directory, as it really is."""
        return Path(self.host.here(DOMAIN))

    def path(self, name: str) -> Path:
        """A file of the host's."""
        return self.host.root / name

    def there(self) -> set[str]:
        """Which of the files are there."""
        return {name for name in LEFT if self.path(name).exists()}

    def vms(self) -> dict[str, str]:
        """The VMs with their states."""
        return {e.name: e.read_text().strip() for e in self.path("state/vms").iterdir()}

    def add_vm(self, name: str, state: str = "running") -> None:
        """Define a VM."""
        self.path(f"state/vms/{name}").write_text(f"{state}\n")


def silent(host: FakeHost, daemon: str) -> None:
    """Let libvirt, sanlock or systemd run on a host, and not answer."""
    if daemon == "sanlock":
        host.set("sanlock", "active")
    host.set(f"{daemon}-dead", "yes")


@contextmanager
def failed_install(tmp_path: Path, ids: Sequence[int] = (1,)) -> Iterator[FailedInstall]:
    """Put a cluster in force whose first host has a failed installation; no agent runs."""
    home = Settings(home=tmp_path / "home")
    settings = mock.patch("tasks.reinstall_archive.settings", return_value=home)
    with settings, fake_cluster(tmp_path, ids=ids, bad={}) as cluster:
        host = cluster.hosts["h1"]
        for each in cluster.hosts.values():
            cluster.put(each.host_id, bytes(4096))
            dress(each)
            if each is not host:
                undress(each)
        for unit in ("ovirt-ha-agent", "ovirt-ha-broker"):
            host.set(unit, "inactive")
        host.set("ovirt-ha-broker", "active")
        yield FailedInstall(cluster, host)


def dress(host: FakeHost) -> None:
    """Give a host the tools and the leftovers."""
    for name, script in SCRIPTS.items():
        (host.root / "bin" / name).write_text(HEAD + script)
        (host.root / "bin" / name).chmod(0o755)
    vms = host.root / "state/vms"
    vms.mkdir()
    (vms / "HostedEngineLocal").write_text("running\n")
    for name in LEFT:
        place = host.root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"{name}\n")
    (host.root / CONF).write_text(
        f"vmid=vm\nhost_id=1\ndomainType=nfs\nsdUUID={SD}\nstorage={SOURCE}\npassword=secret\n"
    )
    (host.root / "state/conf").symlink_to(host.root / CONF)
    kept = host.root / KEPT_ANSWERS
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(
        f"[environment:default]\nOVEHOSTED_STORAGE/sdUUID=str:{SD}\n"
        f"OVEHOSTED_STORAGE/domainType=str:nfs\n"
        f"OVEHOSTED_STORAGE/storageDomainConnection=str:{SOURCE}\n"
    )
    prepared = Path(f"{host.root}/run/vdsm/storage/{SD}/i")
    prepared.mkdir(parents=True)
    (prepared / "v").symlink_to(host.here(TARGET))
    host.set("lockspaces", f"s {LOCKSPACE}\ns other:1:/elsewhere:0")
    host.set("source", SOURCE)
    host.set("packages", "ovirt-hosted-engine-ha\nlibvirt")


def undress(host: FakeHost) -> None:
    """Leave a host its tools only."""
    for unit in ("ovirt-ha-agent", "ovirt-ha-broker"):
        host.set(unit, "inactive")
    shutil.rmtree(host.root / "run/vdsm")
    (host.root / "state/vms/HostedEngineLocal").unlink()
    (host.root / "state/lockspaces").unlink()


def nothing_left(failed: FailedInstall) -> None:
    """Take all leftovers away but the kept answers and the storage domain."""
    for name in LEFT:
        failed.path(name).unlink()
    shutil.rmtree(failed.path("var/tmp/localvm7x"))
    shutil.rmtree(failed.path(f"run/vdsm/storage/{SD}"))
    (failed.path("state/vms") / "HostedEngineLocal").unlink()
    failed.host.set("ovirt-ha-broker", "inactive")
    failed.host.set("ovirt-ha-broker.enabled", "disabled")
    failed.host.set("ovirt-ha-agent.enabled", "disabled")
    failed.host.set("lockspaces", "s other:1:/elsewhere:0")


def refused(failed: FailedInstall, match: str, **parameters: Any) -> None:
    """Run it; it must be refused before anything is asked or changed."""
    before = (failed.there(), failed.vms(), failed.host.get("ovirt-ha-broker"))
    with pytest.raises(CheckRefused, match=match):
        clean_reinstall.fn("lab", "h1", **parameters)
    assert failed.cluster.asked == []
    assert (failed.there(), failed.vms(), failed.host.get("ovirt-ha-broker")) == before
    assert way_back_told(failed) == "Nothing has been changed."


def way_back_told(failed: FailedInstall) -> str:
    """What the last run said of its way back."""
    journal = failed.cluster.world.journal
    run_id = journal.runs("lab")[0].run_id
    note = journal.find(run_id, Kind.RUN, "way_back", Phase.NOTE)
    assert note is not None
    return "\n".join(note.payload["lines"])


def archive(failed: FailedInstall) -> Any:
    return next(e.payload["value"] for e in outcomes(failed) if e.step == "archive_remains")


def outcomes(failed: FailedInstall) -> list[Entry]:
    journal = failed.cluster.world.journal
    run_id = journal.runs("lab")[0].run_id
    return [e for e in journal.entries(run_id) if e.phase is Phase.OUTCOME]


def changes(failed: FailedInstall) -> set[str]:
    return {e.step for e in outcomes(failed) if e.kind is Kind.CHANGE}
