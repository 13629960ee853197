"""Stop and start agents and brokers, and prove that they are stopped."""

from dataclasses import dataclass

from tasks.env import world
from tasks.hosts import AGENT, BROKER, sh
from tasks.limits import limit
from tasks.plan import planning
from tasks.powered_off import require_still_silent
from tasks.recorded import Outcome, change, check, wait
from tasks.reentry import begun
from tasks.refusal import CheckRefused
from tasks.run_site import Site
from tasks.runs import log
from tasks.steps import claimed, run_once
from tasks.waiting import wait_until
from tasks.witnesses import changed_blocks, live_ids, records

STOP = ("systemctl", "stop", AGENT, BROKER)
# A broker that restarted too often is refused by systemd until its failures are forgotten.
START = """
systemctl reset-failed ovirt-ha-broker ovirt-ha-agent 2>/dev/null
systemctl start ovirt-ha-broker && systemctl start ovirt-ha-agent
"""
EVERY_SECONDS = 3.0


class NotStopped(Exception):
    """Agent or broker still runs although it was told to stop; raised by stop_services."""


@dataclass(frozen=True, slots=True)
class StoppedProof:
    """How it is known that nobody writes."""

    hosts: tuple[str, ...]
    quiet_seconds: float
    said_stopped: tuple[int, ...]


@change
def stop_services(site: Site, host: str) -> Outcome:
    """Stop agent and broker of one host; the engine VM is not touched. Raises NotStopped."""
    if not begun(host, "stop_services") and site.look(host).stopped:
        return Outcome.ALREADY
    # Any exit code: what counts is what the units are afterwards.
    run_once(
        site.shell(host),
        STOP,
        step="stop_services",
        timeout_seconds=limit("stop_seconds"),
        accept=range(256),
    )
    after = site.look(host)
    if not after.stopped:
        raise NotStopped(f"{host}: agent {after.agent}, broker {after.broker}")
    return Outcome.CHANGED


@change
def start_canary(site: Site, host: str) -> Outcome:
    """Start broker, then agent, on the first host."""
    return _start(site, host, "start_canary")


@change
def start_host(site: Site, host: str) -> Outcome:
    """Start broker, then agent, on one of the other hosts."""
    return _start(site, host, "start_host")


def _foretold_proof(site: Site) -> StoppedProof:
    return StoppedProof(site.hosts, limit("quiet_seconds"), ())


@wait(foretold=_foretold_proof)
def wait_until_stopped(site: Site) -> StoppedProof:
    """Wait until all units are down and nobody has written for a while. Raises TimedOut."""
    wait_until(
        "all agents and brokers stopped",
        lambda: not_stopped(site),
        timeout_seconds=limit("stop_seconds"),
        every_seconds=EVERY_SECONDS,
        progress=log().info,
    )
    return _proof(site)


@check
def require_stopped(site: Site) -> StoppedProof:
    """Require that all units are down and nobody writes. Raises CheckRefused."""
    missing = not_stopped(site)
    if missing is not None:
        raise CheckRefused(
            missing, f"run `{' '.join(STOP)}` on every host, under global maintenance"
        )
    return _proof(site)


@wait
def wait_until_canary_live(site: Site, host: str) -> int:
    """Wait until the first host is seen alive, in maintenance. Raises TimedOut."""
    return _wait_until_live(site, host)


@wait
def wait_until_host_live(site: Site, host: str) -> int:
    """Wait until another host is seen alive, in maintenance. Raises TimedOut."""
    return _wait_until_live(site, host)


def still_running(site: Site) -> str | None:
    """Return which units of which hosts are not down, or None."""
    running = [
        f"{each.host}: agent {each.agent}, broker {each.broker}"
        for each in site.look_at_all()
        if not each.stopped
    ]
    return "; ".join(running) or None


def require_still_stopped(site: Site, step: str) -> None:
    """Refuse to send a write while a service runs, unless the acting host has begun it already.

    A recorded check may be of yesterday: a run that failed here can be retried at any time.
    Raises CheckRefused.
    """
    if planning() is None and not claimed(site.shell(site.actor), step=step):
        missing = still_running(site)
        if missing is not None:
            raise CheckRefused(missing, "nothing was written; start a new run")
        require_still_silent(site.cluster)


def not_stopped(site: Site) -> str | None:
    """Return what speaks against all being stopped: a unit, a write, or two views; or None."""
    running = still_running(site)
    if running is not None:
        return running
    quiet_seconds = limit("quiet_seconds")
    before = site.read(site.witness)
    world().clock.sleep(quiet_seconds)
    after = site.read(site.witness)
    if written := changed_blocks(before, after):
        return f"block {', '.join(map(str, written))} changed within {quiet_seconds:.0f} s"
    if differing := changed_blocks(after, site.read(site.actor)):
        return (
            f"{site.actor} and {site.witness} do not see the same storage: "
            f"block {', '.join(map(str, differing))} differs"
        )
    return None


def _proof(site: Site) -> StoppedProof:
    told = records(site.read(site.witness))
    stopped = tuple(host_id for host_id, record in told.items() if record.stopped)
    return StoppedProof(site.hosts, limit("quiet_seconds"), stopped)


def _start(site: Site, host: str, step: str) -> Outcome:
    before = site.look(host)
    if not begun(host, step) and before.agent == before.broker == "active":
        return Outcome.ALREADY
    run_once(site.shell(host), sh(START), step=step, timeout_seconds=limit("start_seconds"))
    return Outcome.CHANGED


def _wait_until_live(site: Site, host: str) -> int:
    """Return the timestamp that was new; a host in local maintenance parks and writes nothing."""
    host_id = site.look(host).host_id
    witness = site.live_witness(host)
    first = site.read(witness)

    def look() -> str | None:
        now = site.look(host)
        if now.local_maintenance and now.agent == "active":
            return None
        after = site.read(witness)
        record = records(after).get(host_id)
        if record is None:
            return f"{witness} sees no record of {host} (host id {host_id})"
        if host_id not in live_ids(first, after) and host_id in records(first):
            return f"{witness} sees no new timestamp of {host}"
        if record.state != "GlobalMaintenance":
            return f"{host} is in {record.state or 'no state'}"
        return None

    wait_until(
        f"{host} live",
        look,
        timeout_seconds=limit("live_seconds"),
        every_seconds=EVERY_SECONDS,
        progress=log().info,
    )
    record = records(site.read(witness)).get(host_id)
    return record.timestamp if record else 0
