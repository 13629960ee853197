"""One host of an upgrade: out of service, new packages, services restarted, back again."""

from collections.abc import Callable

from tasks.env import world
from tasks.hosts import sh
from tasks.limits import limit
from tasks.packages import SCRIPTLET_FAILED, PackageLook, look_at_packages
from tasks.recorded import Outcome, change, wait
from tasks.reissue import next_issue
from tasks.run_site import Site
from tasks.runs import log
from tasks.steps import run_once
from tasks.upgrade_plan import UpgradePlan
from tasks.waiting import wait_until
from tasks.witnesses import live_ids, records

EVERY_SECONDS = 2.0
RESTART_VDSM = ("systemctl", "restart", "vdsmd")
# VDSM's own age against its own packages: the agent's tells nothing of it. What cannot be told, and
# a VDSM that does not run, counts as old.
LOOK_AT_VDSM = """
systemctl cat vdsmd.service >/dev/null 2>&1 || { echo none; exit 0; }
pid=$(systemctl show --property=MainPID vdsmd); pid=${pid#MainPID=}
age=$(ps -o etimes= -p "${pid:-0}" 2>/dev/null) || { echo old; exit 0; }
installed=$(rpm -qa --qf '%{INSTALLTIME}\\n' 'vdsm*' | sort -n | tail -n 1)
[ -n "$installed" ] && [ "$(($(date +%s) - age))" -ge "$installed" ] && echo young || echo old
"""
# Broker first: an agent that finds none ends, and waits ten seconds for systemd.
RESTART_HA = """
systemctl daemon-reload
systemctl reset-failed ovirt-ha-broker ovirt-ha-agent 2>/dev/null
systemctl restart ovirt-ha-broker && systemctl restart ovirt-ha-agent
"""
OURS = "hosted-engine-runbooks-ha"  # this monitor tells on the whiteboard which version runs


class UpdateFailed(Exception):
    """Packages of a host are not what they should be after the update; raised by update_packages.

    The host stays in local maintenance; the message says what is installed and what is not.
    """


@change
def update_packages(site: Site, host: str) -> Outcome:
    """Update a host's packages, and look what is installed and still offered. Raises UpdateFailed.

    After a failure the next attempt of the run updates again.
    """
    this = next_issue(host, "update_packages")
    wanted = world().inventory.cluster(site.cluster).upgrade.packages
    before = look_at_packages(site.shell(host), wanted)
    if not this.under_way and not before.pending and not before.trouble:
        return Outcome.CHANGED if this.again else Outcome.ALREADY
    argv = (before.manager or "dnf", "-y", "update", *wanted)
    ran = run_once(
        site.shell(host),
        argv,
        step=this.name,
        timeout_seconds=limit("update_seconds"),
        accept=range(256),
    )
    after = look_at_packages(site.shell(host), wanted)
    if ran.exit_code != 0 or after.pending or after.trouble or SCRIPTLET_FAILED in ran.stdout:
        raise UpdateFailed(_half_done(host, argv, ran.exit_code, ran.stdout, after=after))
    return Outcome.CHANGED


@change
def restart_vdsmd(site: Site, host: str) -> Outcome:
    """Restart VDSM, where there is one and it was started before its packages were installed."""
    this = next_issue(host, "restart_vdsmd")
    look = site.shell(host).run(sh(LOOK_AT_VDSM), timeout_seconds=limit("look_seconds"))
    if not this.under_way and look.checked().stdout.strip() != "old":
        return Outcome.CHANGED if this.again else Outcome.ALREADY
    within = limit("restart_seconds")
    run_once(site.shell(host), RESTART_VDSM, step=this.name, timeout_seconds=within)
    return Outcome.CHANGED


@change
def restart_ha(site: Site, host: str) -> Outcome:
    """Restart broker, then agent, so that the installed version runs."""
    this = next_issue(host, "restart_ha")
    look = site.look(host)
    running = look.agent == look.broker == "active"
    if not this.under_way and running and not _stale(site, host):
        return Outcome.CHANGED if this.again else Outcome.ALREADY
    within = limit("restart_seconds")
    run_once(site.shell(host), sh(RESTART_HA), step=this.name, timeout_seconds=within)
    return Outcome.CHANGED


@wait
def wait_until_new_agent(site: Site, plan: UpgradePlan, host: str) -> str:
    """Wait until the new version runs, as the whiteboard shows it to another host.

    Upstream's agent does not tell its version there, and writes nothing while it is parked in
    local maintenance: of it counts that it was started after its package was installed. Returns
    the version. Raises TimedOut.
    """
    witness = site.live_witness(host)
    first = site.read(witness)

    def missing() -> str | None:
        now = site.look(host)
        if now.agent != "active" or now.broker != "active":
            return f"{host}: agent {now.agent}, broker {now.broker}"
        if _stale(site, host):
            return f"{host}: the agent runs since before its package was installed"
        if plan.of(host).package != OURS:
            return None
        data = site.read(witness)
        record = records(data).get(now.host_id)
        told = "" if record is None else version_in(record.extra)
        if told != plan.target or now.host_id not in live_ids(first, data):
            return f"{witness} sees version {told or 'none'} of {host} on the whiteboard"
        return None

    _wait(f"{host} runs {plan.target}", missing, "live_seconds")
    return plan.target


def version_in(extra: str) -> str:
    """Return the version that an agent tells in the lines for people; empty if it tells none."""
    lines = (line.partition("=") for line in extra.splitlines())
    return next((value for key, _, value in lines if key == "version"), "")


def _stale(site: Site, host: str) -> bool:
    wanted = world().inventory.cluster(site.cluster).upgrade.packages
    return look_at_packages(site.shell(host), wanted).stale


def _half_done(
    host: str, argv: tuple[str, ...], exit_code: int, said: str, *, after: PackageLook
) -> str:
    complaints = [line for line in said.splitlines() if "rror" in line or SCRIPTLET_FAILED in line]
    return (
        f"{host}: `{' '.join(argv)}` ended with exit code {exit_code}. The HA monitor is at "
        f"{after.monitor}; still to be updated: {', '.join(after.pending) or 'nothing'}"
        f"{'; ' + after.trouble if after.trouble else ''}. It said: "
        f"{' | '.join(complaints)[-600:] or said.strip()[-300:] or 'nothing'}. {host} stays in "
        "local maintenance. What to do: correct it there (dnf history, dnf check), then retry this "
        "run: it updates again and goes on"
    )


def _wait(what: str, missing: Callable[[], str | None], limit_name: str) -> None:
    wait_until(
        what,
        missing,
        timeout_seconds=limit(limit_name),
        every_seconds=EVERY_SECONDS,
        progress=log().info,
    )
