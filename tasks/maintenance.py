"""Global maintenance: set, seen on the storage, and left.

The command's exit code proves nothing: a broker may lose the write and answer from its own memory.
So the flag is read from block 0 by another host, and the command is given until it is there.
"""

from tasks import lease
from tasks.env import world
from tasks.limits import limit
from tasks.recorded import Outcome, change, wait
from tasks.reentry import begun
from tasks.run_site import Site
from tasks.runs import current_run, log
from tasks.steps import run_once
from tasks.waiting import TimedOut, wait_until
from tasks.witnesses import live_ids, maintenance_flag, records

HANDS_OFF = ("GlobalMaintenance", "LocalMaintenance")
EVERY_SECONDS = 2.0
COMMAND = ("hosted-engine", "--set-maintenance")
DEADLINE_SECONDS = 86_400.0  # of a run that does not say how long it takes


@change
def enter_global_maintenance(
    site: Site, reason: str = "", deadline_seconds: float = DEADLINE_SECONDS
) -> Outcome:
    """Set global maintenance, see it on the storage from another host, and take its lease.

    Raises TimedOut.
    """
    limit_seconds = limit("enter_maintenance_seconds")
    outcome = set_flag(site, "enter_global_maintenance", True, limit_seconds)
    run = current_run()
    # Also where it was on: from now on this run counts on it, too.
    lease.take(reason or f"runbook {run.runbook if run else ''}".strip(), deadline_seconds)
    return outcome


@wait
def wait_until_hands_off(site: Site) -> tuple[int, ...]:
    """Wait until every live host publishes that it is in maintenance; returns their ids.

    Raises TimedOut.
    """
    live: list[tuple[int, ...]] = []

    def look() -> str | None:
        before = site.read(site.witness)
        world().clock.sleep(limit("publish_seconds"))
        after = site.read(site.witness)
        live.append(live_ids(before, after))
        if not maintenance_flag(after):
            return "block 0 no longer says maintenance"
        states = {host_id: record.state for host_id, record in records(after).items()}
        acting = [f"{n} is in {states[n]}" for n in live[-1] if states[n] not in HANDS_OFF]
        return f"host id {', '.join(acting)}" if acting else None

    wait_until(
        "all live hosts in maintenance",
        look,
        timeout_seconds=limit("enter_maintenance_seconds"),
        every_seconds=EVERY_SECONDS,
        progress=log().info,
    )
    return live[-1]


@change
def leave_global_maintenance(site: Site) -> Outcome:
    """Leave global maintenance and see it on the storage from another host; its leases end.

    That the hosts act on it is proved by wait_until_stable. Raises TimedOut.
    """
    limit_seconds = limit("leave_maintenance_seconds")
    outcome = set_flag(site, "leave_global_maintenance", False, limit_seconds)
    lease.give_back()
    return outcome


def set_flag(site: Site, step: str, wanted: bool, limit_seconds: float) -> Outcome:
    """Set or clear the flag by remote steps of that name, and see it from another host.

    ALREADY when it is so. Raises TimedOut.
    """
    first = f"{step}.1"
    if not begun(site.actor, first) and maintenance_flag(site.read(site.witness)) is wanted:
        return Outcome.ALREADY
    reissue_seconds = limit("reissue_seconds")
    argv = (*COMMAND, "--mode=global" if wanted else "--mode=none")
    for number in range(1, max(1, int(limit_seconds / reissue_seconds)) + 1):
        # Each time is a step of its own: to give the command again is the point here.
        ran = run_once(
            site.shell(site.actor),
            argv,
            step=f"{step}.{number}",
            timeout_seconds=limit_seconds,
            accept=range(256),
        )
        if ran.exit_code != 0:
            log().warning("%s: exit code %d: %s", site.actor, ran.exit_code, ran.stdout.strip())
        if _seen(site, wanted, reissue_seconds):
            return Outcome.CHANGED
        log().info("%s does not see it on the storage; giving the command again", site.witness)
    raise TimedOut(
        f"global maintenance {'on' if wanted else 'off'}: {site.witness} does not see it in "
        f"block 0 after {limit_seconds:.0f} s of `{' '.join(argv)}` on {site.actor}"
    )


def _seen(site: Site, wanted: bool, within_seconds: float) -> bool:
    clock = world().clock
    until = clock.monotonic() + within_seconds
    while maintenance_flag(site.read(site.witness)) is not wanted:
        if clock.monotonic() >= until:
            return False
        clock.sleep(EVERY_SECONDS)
    return True
