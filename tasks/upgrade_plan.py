"""What an upgrade will do: which hosts, in which order, to which version; and what forbids it."""

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.checks import version_key
from tasks.engine_site import EngineLook, look_at_engine
from tasks.env import world
from tasks.hosts import HostLook
from tasks.journal import Kind, Phase
from tasks.lease import open_leases
from tasks.limits import limit
from tasks.migration import engine_host, has_vdsm, migration_problem
from tasks.packages import MONITOR, PackageLook, look_at_all_packages
from tasks.recorded import check
from tasks.refusal import CheckRefused
from tasks.report import show
from tasks.run_site import Site
from tasks.status import engine_not_well, not_well
from tasks.whiteboard_table import bad_ids, block_rows
from tasks.witnesses import maintenance_flag

RUNBOOKS = ("upgrade", "upgrade-howto")
LATEST_RUNS = 200  # of those that began a change


@dataclass(frozen=True, slots=True)
class UpgradePlan:
    """The order of an upgrade."""

    hosts: tuple[str, ...]  # that have something to do; the first is the canary
    done: tuple[str, ...]  # that have nothing to do
    resting: tuple[str, ...]  # in local maintenance before, and not by an upgrade: they stay
    target: str  # version and release of the HA monitor afterwards
    packages: tuple[PackageLook, ...]
    engine: EngineLook | None
    by_engine: bool  # VDSM manages the hosts: the engine moves VMs and sets maintenance
    global_maintenance: bool = False  # as it was when the plan was made

    @property
    def engine_work(self) -> bool:
        """Return whether anything is to be done in the engine VM."""
        return self.engine is not None and not self.engine.done

    @property
    def work(self) -> bool:
        """Return whether anything is to be done at all."""
        return bool(self.hosts) or self.engine_work

    def of(self, host: str) -> PackageLook:
        """Return the packages of a host as they were before the upgrade."""
        return next(each for each in self.packages if each.host == host)


@check
def require_fit_to_begin(site: Site, outside_window: str) -> str:
    """Require an open window and a cluster that is well: nothing may hide what is changed.

    Global maintenance may be on, as an earlier upgrade left it; then the engine VM is looked at
    alone. Raises CheckRefused.
    """
    require_in_window(site.cluster, outside_window)
    data = site.read(site.witness)
    if bad := bad_ids(block_rows(data)):
        raise CheckRefused(
            f"block {', '.join(map(str, bad))} of the whiteboard cannot be read",
            "a newer agent may be at work: finish that upgrade, or run metadata-too-new",
        )
    on = maintenance_flag(data)
    others = [each for each in open_leases(site.cluster) if each.runbook not in RUNBOOKS]
    if others:
        told = ", ".join(f"run {e.run_id} ({e.runbook}: {e.reason})" for e in others)
        raise CheckRefused(
            f"global maintenance belongs to {told}", "let that work end first: this run leaves it"
        )
    missing = engine_not_well(site) if on else not_well(site)
    if missing is not None:
        raise CheckRefused(missing, "an upgrade begins on a cluster that is well; see to it first")
    return "well, in global maintenance" if on else "well"


@check
def require_upgrade_plan(site: Site) -> UpgradePlan:
    """Require working package managers, space, valid certificates and one target version.

    Returns what is to be done where. Raises CheckRefused with a sentence a host.
    """
    settings = world().inventory.cluster(site.cluster).upgrade
    packages = look_at_all_packages(site.cluster, settings.packages)
    problems = [f"{each.host}: {why}" for each in packages for why in _problems(each)]
    targets = {each.offered for each in packages}
    if not problems and len(targets) > 1:
        told = ", ".join(f"{each.host} {each.offered}" for each in packages)
        problems = [f"the hosts would not end at one version of {MONITOR}: {told}"]
    if problems:
        raise CheckRefused("; ".join(problems), "nothing was changed; correct it and start again")
    looks = site.look_at_all()
    target = targets.pop()
    _require_no_newer(looks, target)
    by_engine = any(has_vdsm(site, host) for host in site.hosts)
    plan = _ordered(site, looks, packages, target=target, by_engine=by_engine)
    _require_movable(site, plan, looks)
    show("upgrade-plan", plan_markdown(site.cluster, plan), f"Upgrade of {site.cluster}: the plan")
    return plan


@check
def require_same_plan(site: Site, plan: UpgradePlan, outside_window: str) -> str:
    """Require that all is as approved, and well, and the window open. Raises CheckRefused."""
    require_fit_to_begin.function(site, outside_window)
    settings = world().inventory.cluster(site.cluster).upgrade
    now = {each.host: each for each in look_at_all_packages(site.cluster, settings.packages)}
    changed = [
        f"the packages of {was.host}"
        for was in plan.packages
        if (now[was.host].monitor, now[was.host].pending) != (was.monitor, was.pending)
    ]
    if look_at_engine(site.cluster) != plan.engine:
        changed.append("the packages of the engine VM")
    if maintenance_flag(site.read(site.witness)) is not plan.global_maintenance:
        changed.append("global maintenance")
    if changed:
        told = f"since the plan was approved, this has changed: {', '.join(changed)}"
        raise CheckRefused(told, "nothing was changed by this run; start a new one")
    return settings.window_text()


def plan_markdown(cluster: str, plan: UpgradePlan) -> str:
    """Return the plan as Markdown."""
    rows = [
        f"| {each.host} | {each.monitor} | {each.offered} | "
        f"{len(each.pending)}: {', '.join(each.pending[:8]) or 'none'} | "
        f"{'agent to be restarted' if each.stale else ''} |"
        for each in plan.packages
    ]
    engine = plan.engine
    told = "not reached from here: there is no `[clusters.NAME.engine]`"
    if engine is not None:
        updates = sorted({*engine.setup_pending, *engine.pending})
        told = f"{engine.version}; updates: {', '.join(updates[:8]) or 'none'}" + (
            "; engine-setup has an upgrade" if engine.upgrade_available else ""
        )
    return "\n".join(
        [
            f"- HA monitor of all hosts of {cluster} afterwards: **{plan.target}**",
            f"- engine VM: {told}",
            f"- order of hosts: **{', '.join(plan.hosts) or 'none has anything to do'}**",
            f"- nothing to do: {', '.join(plan.done) or 'none'}",
            f"- stay in local maintenance, as they are in it: {', '.join(plan.resting) or 'none'}",
            "\n| host | HA monitor | then | updates | remark |",
            "|---|---|---|---|---|",
            *rows,
        ]
    )


def require_in_window(cluster: str, outside_window: str) -> str:
    """Return the maintenance window in words; refuse when it is closed and counts.

    Raises CheckRefused.
    """
    settings = world().inventory.cluster(cluster).upgrade
    if outside_window != "allow" and not settings.in_window(world().clock.now()):
        raise CheckRefused(
            f"the maintenance window of {cluster} is closed ({settings.window_text()})",
            "start or retry the run when it is open, or start one with outside_window=allow",
        )
    return settings.window_text()


def _problems(look: PackageLook) -> list[str]:
    found = [look.trouble] if look.trouble else []
    if look.monitor in ("unknown", "two"):
        many = "two packages are" if look.monitor == "two" else "no package is"
        found.append(f"{many}, or provides, {MONITOR}")
    if look.free_mib < limit("free_mib"):
        found.append(f"{look.free_mib} MiB are free in /var, {limit('free_mib'):.0f} are needed")
    if (days := look.certificate_days) is not None and days < limit("certificate_days"):
        found.append(f"VDSM's certificate ends in {days} days: renew it first")
    return found


def _require_no_newer(looks: Sequence[HostLook], target: str) -> None:
    newer = [
        f"{each.host} has {each.version}"
        for each in looks
        if each.version != "unknown" and version_key(each.version) > version_key(target)
    ]
    if newer:
        raise CheckRefused(
            f"{', '.join(newer)}, newer than {target}, which the repositories offer the others",
            "give all hosts the same repositories; nothing is ever downgraded",
        )


def _ordered(
    site: Site,
    looks: Sequence[HostLook],
    packages: tuple[PackageLook, ...],
    *,
    target: str,
    by_engine: bool,
) -> UpgradePlan:
    """Return the order: the acting host first, the engine VM's host last."""
    ours = _left_by_us(site.cluster)
    resting = tuple(e.host for e in looks if e.local_maintenance and e.host not in ours)
    unfinished = {e.host for e in looks if e.local_maintenance and e.host in ours}
    unfinished |= {each.host for each in packages if not each.done}
    holder = engine_host(looks)
    order = sorted(site.hosts, key=lambda host: (host == holder, host != site.actor))
    return UpgradePlan(
        hosts=tuple(host for host in order if host in unfinished),
        done=tuple(host for host in order if host not in unfinished),
        resting=resting,
        target=target,
        packages=packages,
        engine=look_at_engine(site.cluster),
        by_engine=by_engine,
        global_maintenance=maintenance_flag(site.read(site.witness)),
    )


def _left_by_us(cluster: str) -> set[str]:
    """Return the hosts that an upgrade took out of service and did not bring back."""
    journal = world().journal
    left: set[str] = set()
    for run in reversed(journal.runs(cluster, LATEST_RUNS, that=Kind.CHANGE)):
        if run.runbook not in RUNBOOKS:
            continue
        for entry in journal.entries(run.run_id, kinds=(Kind.CHANGE,)):
            task, _, host = entry.step.partition("@")
            was_so = entry.phase is Phase.OUTCOME and entry.payload["value"] == "already"
            if task == "enter_local_maintenance" and entry.phase is Phase.INTENT:
                left.add(host)
            ended = task == "return_host" and entry.phase is Phase.OUTCOME
            if ended or (task == "enter_local_maintenance" and was_so):
                left.discard(host)
    return left


def _require_movable(site: Site, plan: UpgradePlan, looks: Sequence[HostLook]) -> None:
    holder = engine_host(looks)
    if holder is None or holder not in plan.hosts or plan.by_engine:
        return
    for other in site.hosts:
        if other != holder and (why := migration_problem(site, holder, other)) is not None:
            raise CheckRefused(
                f"the engine VM could not be moved from {holder} to {other}: {why}",
                "make live migration work; the VM must leave a host before it is upgraded",
            )
