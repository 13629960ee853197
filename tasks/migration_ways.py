"""The ways to get the engine VM off a host: libvirt moves it, the engine moves it, or a restart.

libvirt's live migration where nothing else manages the hosts; where VDSM does, only the engine may
migrate, so a person does it there and what came of it is looked at; and a shutdown with a start
elsewhere where neither is possible, which takes the engine down for minutes.
"""

from dataclasses import dataclass
from enum import StrEnum

from tasks.approvals_maintenance import HowMoved, ask_how_to_move
from tasks.limits import limit
from tasks.maintenance import enter_global_maintenance, wait_until_hands_off
from tasks.maintenance_checks import Failover, find_failover
from tasks.migration import (
    EVERY_SECONDS,
    engine_host,
    has_vdsm,
    migrate_engine_vm,
    migration_problem,
    not_alone_on,
)
from tasks.own_maintenance import leave_global_maintenance
from tasks.recorded import check, wait
from tasks.refusal import CheckRefused
from tasks.rescue_power import (
    shut_down_engine,
    start_argv,
    start_engine,
    wait_until_engine_good,
    wait_until_vm_down,
)
from tasks.run_site import Site
from tasks.runs import log
from tasks.waiting import wait_until
from tasks.witnesses import maintenance_flag


class Way(StrEnum):
    """How the engine VM leaves a host."""

    NONE = "it is not there"
    LIBVIRT = "libvirt migrates it"
    ENGINE = "the engine migrates it"
    RESTART = "it is shut down and started elsewhere"


@dataclass(frozen=True, slots=True)
class Move:
    """From where to where, how, and why not in a better way."""

    way: Way
    from_host: str
    to_host: str = ""
    why: str = ""
    hands_off: bool = False  # global maintenance is on already


def move_engine_vm(site: Site, move: Move, way: Way) -> None:
    """Get the engine VM off its host in the approved way. Raises what its steps raise."""
    if way is Way.LIBVIRT:
        migrate_engine_vm(site, move.to_host)
    elif way is Way.ENGINE:
        wait_until_moved(site, move.from_host)
    elif way is Way.RESTART:
        _restart_elsewhere(site, move)


def approve_move(site: Site, move: Move) -> Way:
    """Ask how the engine VM leaves where libvirt cannot migrate it; return the way to go.

    Raises GateRejected, GateExpired.
    """
    if move.way in (Way.NONE, Way.LIBVIRT):
        return move.way
    by_engine = move.way is Way.ENGINE
    how = ask_how_to_move(move_evidence(site, move), by_engine=by_engine)
    return Way.ENGINE if how is HowMoved.MIGRATED else Way.RESTART


@check
def require_way_to_move(site: Site, host: str, failover: Failover) -> Move:
    """Require a way off this host for the engine VM, if it is there. Raises CheckRefused."""
    looks = site.look_at_all()
    if engine_host(looks) != host:
        return Move(Way.NONE, host)
    if not failover.fit:
        raise CheckRefused(
            f"the engine VM runs on {host}, and no other host can take it",
            "bring another host back, or enter global maintenance and shut the VM down first",
        )
    why = ""
    for to_host in failover.fit:
        problem = migration_problem(site, host, to_host)
        if problem is None:
            return Move(Way.LIBVIRT, host, to_host)
        why = why or problem
    way = Way.ENGINE if has_vdsm(site, host) else Way.RESTART
    return Move(way, host, failover.fit[0], why, maintenance_flag(site.read(site.witness)))


@check
def require_still_so(site: Site, move: Move, way: Way) -> str:
    """Require that the VM is where it was and can go where it should; returns its host.

    Raises CheckRefused.
    """
    running = engine_host(site.look_at_all())
    if way in (Way.LIBVIRT, Way.RESTART) and running != move.from_host:
        raise CheckRefused(
            f"the engine VM is on {running or 'no host'} now, and was on {move.from_host}",
            "start a new run",
        )
    if way in (Way.LIBVIRT, Way.RESTART):
        failover = find_failover(site, move.from_host)
        if move.to_host not in failover.fit:
            raise CheckRefused(
                f"{move.to_host} cannot take the engine VM any more ({'; '.join(failover.unfit)})",
                "start a new run",
            )
    return running or "no host"


@wait
def wait_until_moved(site: Site, host: str) -> str:
    """Wait until the engine VM runs on another host alone; returns that host. Raises TimedOut."""
    moved_to = ""

    def look() -> str | None:
        nonlocal moved_to
        moved_to = engine_host(site.look_at_all()) or ""
        if moved_to in ("", host):
            return f"libvirt has it on {moved_to or 'no host'}"
        return not_alone_on(site, moved_to, not_by=host)

    wait_until(
        f"the engine VM has left {host}",
        look,
        timeout_seconds=limit("engine_migrates_seconds"),
        every_seconds=EVERY_SECONDS,
        progress=log().info,
    )
    return moved_to


def move_evidence(site: Site, move: Move) -> str:
    """Return what a person must see before the VM is moved by hand or restarted, in Markdown."""
    maintenance = "it is on already" if move.hands_off else "set before; if ours, left after"
    restart = [
        f"{site.actor}: hosted-engine --set-maintenance --mode=global    ({maintenance})",
        f"{move.from_host}: hosted-engine --vm-shutdown",
        f"{move.to_host}: {' '.join(start_argv())}",
    ]
    engine = [
        f"- in the engine: Compute, Virtual Machines, HostedEngine, Migrate, to **{move.to_host}**"
        " or another host; approve when it has arrived",
        "- or approve with *restart*: the commands below",
    ]
    return "\n".join(
        [
            f"## Move the engine VM of {site.cluster} off {move.from_host}\n",
            f"- the engine VM runs on **{move.from_host}**; libvirt does not migrate it: "
            f"{move.why}",
            *(engine if move.way is Way.ENGINE else []),
            f"- a restart takes the engine **down for minutes**; guests keep running; it starts on "
            f"**{move.to_host}**",
            "\n### Commands of a restart\n",
            "```",
            *restart,
            "```",
            "### Way back\n",
            f"Start it where it was: `hosted-engine --vm-start` on {move.from_host}; then "
            f"`runbook run leave-global-maintenance --cluster {site.cluster} "
            "--param end_others=true` (if nobody else needs it).\n",
        ]
    )


def _restart_elsewhere(site: Site, move: Move) -> None:
    if not move.hands_off:
        enter_global_maintenance(site, f"the engine VM moves from {move.from_host}")
        wait_until_hands_off(site)
    shut_down_engine(site, move.from_host)
    wait_until_vm_down(site)
    start_engine(site, move.to_host)
    wait_until_engine_good(site, move.to_host)
    if not move.hands_off:
        leave_global_maintenance(site)
