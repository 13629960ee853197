"""Packages of a fake cluster: dnf, rpm and the like as scripts, and an engine VM to log in to.

`installed` and `offered` of a host are lists of "NAME VERSION"; what an update does is copying the
second over the first. The agent publishes the version that was installed when it was started.
"""

from dataclasses import replace
from pathlib import Path

from tasks.env import World
from tasks.inventory import EngineAccess
from tasks.upgrade_settings import UpgradeSettings
from tests.fake_cluster import FakeCluster
from tests.fake_host import HEAD, FakeHost, make_host
from tests.fake_vm import add_vm, by_libvirt

MONITOR = "hosted-engine-runbooks-ha"
V1 = f"{MONITOR} 1.0-1\nvdsm-like 1.0-1"
V2 = f"{MONITOR} 2.0-1\nvdsm-like 2.0-1"
ENGINE_V1 = "ovirt-engine 1.0-1\novirt-engine-setup 1.0-1\nbase 1.0-1"
ENGINE_V2 = "ovirt-engine 2.0-1\novirt-engine-setup 2.0-1\nbase 2.0-1"

# `half`: the transaction fails for the packages that are named there. `post`: only a scriptlet.
DNF = """
for word in "$@"; do
  case $word in
    check-update | update) verb=$word ;;
    -*) ;;
    *) wanted="$wanted $word" ;;
  esac
done
pending() {
  while read -r name version; do
    [ "$name" != ovirt-engine ] || continue
    grep -qx "$name $version" "$state/installed" && continue
    set -f
    for pattern in ${wanted:-*}; do
      case $name in $pattern) echo "$name.noarch  $version  fake"; break ;; esac
    done
    set +f
  done <"$state/offered"
}
[ ! -f "$state/no-repository" ] || { echo "Error: Failed to download metadata"; exit 1; }
case $verb in
  check-update) out=$(pending); [ -z "$out" ] || { echo "$out"; exit 100; } ;;
  update)
    date +%s >"$state/installed_at"
    : >"$state/new"; rc=0
    while read -r name version; do
      offered=$(pending | awk -v n="$name.noarch" '$1 == n { print $2 }')
      if [ -n "$offered" ] && grep -qsx "$name" "$state/half"
      then echo "Error in PREIN scriptlet in rpm package $name"; rc=1; offered=; fi
      echo "$name ${offered:-$version}" >>"$state/new"
    done <"$state/installed"
    mv "$state/new" "$state/installed"
    [ ! -f "$state/post" ] || echo "warning: %post(x) scriptlet failed, exit status 1"
    : >"$state/stale"
    exit $rc ;;
esac
"""
RPM = """
case "$*" in "-qa "*) cat "$state/vdsm-installed" 2>/dev/null; exit 0 ;; esac
for name in "$@"; do :; done
case $name in
  ovirt-hosted-engine-ha)
    case " $* " in
      *" --whatprovides "*)
        sed -n 's/^hosted-engine-runbooks-ha \\(.*\\)/monitor=hosted-engine-runbooks-ha \\1 100/p' \
          "$state/installed" ;;
      *) exit 1 ;;
    esac ;;
  *) awk -v n="$name" '$1 == n { printf "%s", $2; found = 1 } END { exit !found }' \
      "$state/installed" ;;
esac
"""
# A stale agent is older than its package, whose time is 100. VDSM has the pid 2, an age of its own.
PS = """
case "$*" in *" 2") exec cat "$state/vdsm-age" ;; esac
[ -f "$state/stale" ] && echo "$(($(date +%s) - 50))" || echo 0
"""
SYSTEMCTL = """
case "$1 $2" in
  "show "*) case $* in *vdsmd) echo MainPID=2 ;; *) echo MainPID=1 ;; esac ;;
  "restart vdsmd") echo 0 >"$state/vdsm-age" ;;
  "cat vdsmd.service") [ -f "$state/vdsm" ] ;;
  "restart ovirt-ha-agent")
    rm -f "$state/stale"
    [ ! -f "$state/bad-agent" ] || { echo failed >"$state/ovirt-ha-agent"; exit 0; }
    sed -n 's/^hosted-engine-runbooks-ha //p' "$state/installed" >"$state/version"
    echo active >"$state/ovirt-ha-agent" ;;
  "restart ovirt-ha-broker") echo active >"$state/ovirt-ha-broker" ;;
  *) exec "${0%/*}/systemctl.base" "$@" ;;
esac
"""
SETUP = """
[ ! -f "$state/setup-fails" ] || { echo "[ ERROR ] Execution of setup failed"; exit 1; }
[ ! -f "$state/setup-lies" ] || exit 0
sed 's/^ovirt-engine .*/ovirt-engine 2.0-1/' "$state/installed" >"$state/new"
mv "$state/new" "$state/installed"
echo "[ INFO  ] Execution of setup completed successfully"
"""
UPGRADE_CHECK = """
now=$(awk '$1 == "ovirt-engine" { print $2 }' "$state/installed")
[ "$now" != "$(awk '$1 == "ovirt-engine" { print $2 }' "$state/offered")" ]
"""
BACKUP = """
for word in "$@"; do case $word in --file=*) cp "$state/installed" "${word#--file=}" ;; esac; done
"""
NEEDS_RESTARTING = '[ ! -f "$state/reboot" ]\n'


def add_packages(cluster: FakeCluster, settings: UpgradeSettings | None = None) -> World:
    """Give the hosts version 1 and the offer of version 2, and the cluster an engine VM."""
    add_vm(cluster)
    for host in cluster.hosts.values():
        (host.root / "bin/systemctl").rename(host.root / "bin/systemctl.base")
        _scripts(host, {"dnf": DNF, "rpm": RPM, "ps": PS, "systemctl": SYSTEMCTL})
        _versions(host, V1, V2)
        host.set("version", "1.0-1")
    engine = make_host(cluster.folder, 9)
    engine.name = "engine"
    commands = {"dnf": DNF, "rpm": RPM, "engine-setup": SETUP, "engine-backup": BACKUP}
    commands |= {"engine-upgrade-check": UPGRADE_CHECK, "needs-restarting": NEEDS_RESTARTING}
    _scripts(engine, commands)
    _versions(engine, ENGINE_V1, ENGINE_V2)
    return _world(cluster, engine, settings or UpgradeSettings())


def engine_of(cluster: FakeCluster) -> FakeHost:
    """Return the engine VM, as what is logged in to."""
    engine = cluster.world.shell("lab", "engine")
    assert isinstance(engine, FakeHost)
    return engine


def _world(cluster: FakeCluster, engine: FakeHost, settings: UpgradeSettings) -> World:
    by_libvirt(cluster)
    known = cluster.world.inventory
    extra = {"engine": EngineAccess(address="192.0.2.50"), "upgrade": settings}
    lab = known.cluster("lab").model_copy(update=extra)
    places = {**cluster.hosts, "engine": engine}
    cluster.world = replace(
        cluster.world,
        inventory=known.model_copy(update={"clusters": {"lab": lab}}),
        shells=lambda _cluster, name: places[name],
    )
    return cluster.world


def _scripts(host: FakeHost, scripts: dict[str, str]) -> None:
    for name, script in scripts.items():
        path = Path(host.root / "bin" / name)
        path.write_text(HEAD + script)
        path.chmod(0o755)


def _versions(host: FakeHost, installed: str, offered: str) -> None:
    host.set("installed", installed)
    host.set("offered", offered)
