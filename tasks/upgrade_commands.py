"""The commands of an upgrade, as its gates show them: made by what also runs them."""

import shlex
from collections.abc import Iterator

from tasks.env import world
from tasks.hosts import HA_CONF
from tasks.maintenance_local import BY_COMMAND, BY_FILE, flags_argv
from tasks.metadata import CONF
from tasks.migration import migrate_argv
from tasks.run_site import Site
from tasks.runs import current_run
from tasks.upgrade_backup import VM_CONF, backup_folder
from tasks.upgrade_hosts import RESTART_HA, RESTART_VDSM
from tasks.upgrade_plan import UpgradePlan
from tasks.upgrade_settings import RUNBOOKS
from tasks.witnesses import range_blocks


def host_commands(site: Site, plan: UpgradePlan, host: str) -> list[str]:
    """Return what is run on a host, or done in the engine, in its order; in Markdown."""
    wanted = world().inventory.cluster(site.cluster).upgrade.packages
    image = shlex.quote(f"{backup_folder()}/whiteboard.img")
    blocks = range_blocks(site.target.size_bytes)
    return [
        f"\n### On {host}\n",
        "```",
        f"dd if={shlex.quote(site.target.path)} of={image} bs=4096 count={blocks} iflag=direct "
        "conv=fsync",
        f"cp -pL {CONF} {VM_CONF} {HA_CONF} {backup_folder()}",
        *_out(site, plan, host),
        shlex.join((plan.of(host).manager or "dnf", "-y", "update", *wanted)),
        f"{shlex.join(RESTART_VDSM)}  # if there is one, older than its packages",
        *RESTART_HA.strip().splitlines(),
        *_back(plan, host),
        "```",
    ]


def undo_of(plan: UpgradePlan, host: str) -> str:
    """Return how a host's packages are taken back: each update of a run, not the last alone."""
    manager = plan.of(host).manager or "dnf"
    return (
        f"`{manager} history list`; `{manager} history undo ID` for each update of this run, the "
        "newest first; `systemctl restart ovirt-ha-broker && systemctl restart ovirt-ha-agent`"
    )


def _out(site: Site, plan: UpgradePlan, host: str) -> Iterator[str]:
    if plan.by_engine:
        yield f"# in the engine, at a gate: Compute, Hosts, {host}, Management, Maintenance"
        return
    other = next((each for each in site.hosts if each != host), None)
    if other and world().inventory.cluster(site.cluster).migration is not None:
        yield "# only if the engine VM is here; to the best other host, such as:"
        yield shlex.join(migrate_argv(site.cluster, other))
    yield shlex.join(flags_argv(_way(), wanted=True))


def _back(plan: UpgradePlan, host: str) -> Iterator[str]:
    if host in plan.resting:
        yield "# it stays in local maintenance, as it was before"
    elif plan.by_engine:
        yield f"# in the engine, at a gate: Compute, Hosts, {host}, Management, Activate"
    else:
        yield shlex.join(flags_argv(_way(), wanted=False))


def _way() -> str:
    """Return the way of the run's profile: the command would end the Howto's maintenance."""
    run = current_run()
    return BY_FILE if run is not None and run.runbook == RUNBOOKS["howto"] else BY_COMMAND
