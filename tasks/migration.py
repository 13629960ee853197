"""Move the engine VM to another host while it runs: libvirt migrates it from host to host.

Only where nothing but libvirt manages the hosts. VDSM takes a VM that was moved behind its back
for lost: there the engine migrates it, or it is shut down and started elsewhere (tasks.moving).
"""

from collections.abc import Sequence

from tasks.env import world
from tasks.hosts import HostLook, sh
from tasks.limits import limit
from tasks.plan import planning
from tasks.recorded import Outcome, change
from tasks.reentry import begun
from tasks.refusal import CheckRefused
from tasks.run_site import Site
from tasks.runs import log
from tasks.steps import run_once
from tasks.waiting import wait_until
from tasks.witnesses import records

DOMAIN = "HostedEngine"
EVERY_SECONDS = 2.0
# virsh(1): the client, not a daemon, leads the migration; so it ends when the client is stopped.
MIGRATE = ("virsh", "migrate", "--live", "--verbose")
HAS_VDSM = """
if command -v vdsm-client >/dev/null || [ -e /etc/init.d/vdsmd ] ||
  systemctl cat vdsmd.service 2>/dev/null | grep -q .
then echo yes; else echo no; fi
"""
REACH = ("virsh", "--readonly", "--connect")


class MigrationFailed(Exception):
    """The engine VM did not move; raised by migrate_engine_vm, with where the VM is."""


@change
def migrate_engine_vm(site: Site, to_host: str, step: str = "migrate_engine_vm") -> Outcome:
    """Move the running engine VM to a host, without downtime; ALREADY when it is there.

    `step` names the remote step: a run that moves the VM several times gives each its own.
    Needs the limits look_seconds and migrate_seconds. Raises CheckRefused, MigrationFailed,
    TimedOut.
    """
    step = f"{step}.to-{to_host}"
    source = _begun_on(site, step) or engine_host(site.look_at_all())
    if source is None:
        raise CheckRefused("no host runs the engine VM", "start it first")
    if source == to_host:
        return Outcome.ALREADY
    ran = run_once(
        site.shell(source),
        migrate_argv(site.cluster, to_host),
        step=step,
        timeout_seconds=limit("migrate_seconds"),
        accept=range(256),
    )
    if ran.exit_code != 0:
        log().warning("%s: exit code %d: %s", source, ran.exit_code, ran.stdout.strip())
    _require_moved(site, source, to_host, ran.stdout)
    wait_until(
        f"the engine VM is on {to_host} alone, and its host says so",
        lambda: not_alone_on(site, to_host, not_by=source),
        timeout_seconds=limit("migrate_seconds"),
        every_seconds=EVERY_SECONDS,
        progress=log().info,
    )
    return Outcome.CHANGED


def migrate_argv(cluster: str, to_host: str) -> tuple[str, ...]:
    """Return the command that the source runs. Raises CheckRefused without the setting."""
    known = world().inventory.cluster(cluster)
    if known.migration is None:
        raise CheckRefused(
            f"the inventory has no [clusters.{cluster}.migration]",
            "add it when libvirt on one host reaches libvirt on the others",
        )
    unsafe = ("--unsafe",) if known.migration.unsafe else ()
    return (*MIGRATE, *unsafe, DOMAIN, *known.migration.uris_to(known.host(to_host)))


def migration_problem(site: Site, from_host: str, to_host: str) -> str | None:
    """Return why libvirt cannot move the VM between two hosts, as far as can be seen; or None."""
    known = world().inventory.cluster(site.cluster)
    if known.migration is None:
        return f"the inventory has no [clusters.{site.cluster}.migration]"
    for host in (from_host, to_host):
        if has_vdsm(site, host):
            return f"VDSM manages {host}: its VMs are migrated by the engine alone"
    uri = known.migration.uris_to(known.host(to_host))[0]
    ran = site.shell(from_host).run((*REACH, uri, "uri"), timeout_seconds=limit("look_seconds"))
    if ran.exit_code != 0:
        return f"{from_host} does not reach libvirt at {uri}: {ran.stderr.strip()}"
    return None


def has_vdsm(site: Site, host: str) -> bool:
    """Return whether oVirt's own VDSM manages this host."""
    ran = site.shell(host).run(sh(HAS_VDSM), timeout_seconds=limit("look_seconds"))
    return ran.stdout.strip() == "yes"


def engine_host(looks: Sequence[HostLook]) -> str | None:
    """Return the one host whose libvirt has the engine VM, or None.

    Raises CheckRefused when two have it.
    """
    running = [each.host for each in looks if each.runs_engine]
    if len(running) > 1:
        raise CheckRefused(
            f"libvirt has the engine VM on {' and '.join(running)}",
            "find out which one holds the lease (sanlock client status) before anything is done",
        )
    return running[0] if running else None


def not_alone_on(site: Site, host: str, *, not_by: str = "") -> str | None:
    """Return what speaks against the VM running on this host alone, by libvirt and storage.

    The storage is read by another host than `not_by`. Hosts that publish nothing by design, agents
    stopped or parked, are not asked what they say there.
    """
    looks = site.look_at_all()
    running = engine_host(looks)
    if running != host:
        return f"libvirt has it on {running or 'no host'}"
    witness = next((each for each in site.hosts if each not in (not_by, host)), host)
    told = records(site.read(witness))
    for each in looks:
        if each.agent != "active" or each.local_maintenance:
            continue
        record = told.get(each.host_id)
        said = "nothing" if record is None else str(record.vm)
        if (said == "up") is not (each.host == host):
            return f"{each.host} says on the whiteboard that the VM is {said}, as {witness} reads"
    return None


def _begun_on(site: Site, step: str) -> str | None:
    if planning() is not None:
        return None
    return next((host for host in site.hosts if begun(host, step)), None)


def _require_moved(site: Site, source: str, to_host: str, said: str) -> None:
    running = engine_host(site.look_at_all())
    if running != to_host:
        where = f"it is still on {source}" if running == source else f"it is on {running}"
        raise MigrationFailed(
            f"{source}: `{' '.join(migrate_argv(site.cluster, to_host))}` did not move the engine "
            f"VM, {where}: {said[-500:].strip() or 'no output'}. What to do: correct what it "
            "complains of and start a new run, or choose another host"
        )
