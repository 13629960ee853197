"""The checks of local maintenance: the host, and who can run the engine VM in its place."""

from dataclasses import dataclass

from tasks.env import world
from tasks.hosts import HostLook, host_names, look_at_hosts, sh
from tasks.limits import limit
from tasks.metadata import Target
from tasks.recorded import check
from tasks.refusal import CheckRefused
from tasks.run_site import Site
from tasks.runs import log
from tasks.witnesses import live_ids, records

VM_CONF = "/var/run/ovirt-hosted-engine-ha/vm.conf"
# MemAvailable is what a VM can really get; MemFree leaves out the page cache.
READ_MEMORY = """
echo "needed=$(sed -n 's/^memSize=//p' "$1" 2>/dev/null | head -n 1)"
echo "available=$(sed -n 's/^MemAvailable: *\\([0-9]*\\) kB$/\\1/p' /proc/meminfo)"
"""
KIB_A_MIB = 1024
ENOUGH = 2  # hosts beside the one that leaves: one to run the VM, one to take over from it


@dataclass(frozen=True, slots=True)
class Failover:
    """Which other hosts can run the engine VM, the best first, and why the rest cannot."""

    fit: tuple[str, ...]
    unfit: tuple[str, ...]  # a sentence each


@check
def require_host_to_maintain(cluster: str, target: Target, host: str) -> Site:
    """Require that the host is one of the cluster's; it acts, another one witnesses.

    A witness whose agent runs is preferred. Raises CheckRefused.
    """
    names = host_names(cluster)
    if host not in names:
        raise CheckRefused(f"no host {host!r} in the inventory", f"choose of {', '.join(names)}")
    looks = {each.host: each for each in look_at_hosts(cluster, limit("look_seconds"))}
    others = sorted((n for n in names if n != host), key=lambda n: looks[n].agent != "active")
    return Site(cluster, target, host, others[0] if others else host, tuple(others))


@check
def require_failover(site: Site, host: str, acknowledge_no_failover: bool) -> Failover:
    """Require that others can run the engine VM, and that one of them may fail, too.

    With `acknowledge_no_failover` fewer will do. Raises CheckRefused.
    """
    failover = find_failover(site, host)
    why = f" ({'; '.join(failover.unfit)})" if failover.unfit else ""
    if len(failover.fit) < ENOUGH and not acknowledge_no_failover:
        left = failover.fit[0] if failover.fit else "no host"
        raise CheckRefused(
            f"with {host} in local maintenance {left} could run the engine VM, and nobody could "
            f"take over from it{why}",
            "bring another host back first, or start this again with acknowledge_no_failover=true",
        )
    if why:
        log().warning("%s cannot take the engine VM over%s", site.cluster, why)
    return failover


def find_failover(site: Site, host: str) -> Failover:
    """Return which hosts other than this one can run the engine VM now."""
    before = site.read(site.witness)
    world().clock.sleep(limit("publish_seconds"))
    after = site.read(site.witness)
    live, told = live_ids(before, after), records(after)
    fit, unfit = [], []
    for look in site.look_at_all():
        if look.host == host:
            continue
        record = told.get(look.host_id)
        score = record.score if record else 0
        problem = _problem(look, score, alive=look.host_id in live) or _memory_problem(site, look)
        if problem:
            unfit.append(f"{look.host}: {problem}")
        else:
            fit.append((score, look.host))
    best_first = sorted(fit, key=lambda each: -each[0])
    return Failover(tuple(name for _, name in best_first), tuple(unfit))


def _problem(look: HostLook, score: int, *, alive: bool) -> str | None:
    if look.agent != "active":
        return f"its agent is {look.agent}"
    if look.local_maintenance:
        return "it is in local maintenance"
    if not alive:
        return "its agent writes nothing new to the whiteboard"
    return None if score > 0 else "its score is 0"


def _memory_problem(site: Site, look: HostLook) -> str | None:
    if look.runs_engine:
        return None
    argv = sh(READ_MEMORY, VM_CONF)
    ran = site.shell(look.host).run(argv, timeout_seconds=limit("look_seconds"))
    told = dict(line.split("=", 1) for line in ran.stdout.splitlines() if "=" in line)
    needed, available = told.get("needed", "").strip(), told.get("available", "").strip()
    if not (needed.isdigit() and available.isdigit()):
        return f"it does not tell its free memory or the VM's size from {VM_CONF}"
    available_mib = int(available) // KIB_A_MIB
    if available_mib >= int(needed):
        return None
    return f"it has {available_mib} MiB free, the engine VM needs {needed}"
