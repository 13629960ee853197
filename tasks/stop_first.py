"""Hands off where the agents cannot set global maintenance themselves: stop first, by approval.

An agent whose lockspace is gone, or whose broker dies on a garbage block, can write no flag. Then
all are stopped without it, and block 0 is written raw before any of them starts again.
"""

from dataclasses import dataclass
from enum import Enum

from tasks import maintenance
from tasks.gates import TargetForm, gate
from tasks.limits import limit
from tasks.recorded import change, wait
from tasks.run_site import Site
from tasks.services import STOP
from tasks.whiteboard_table import Snapshot
from tasks.zeroing import flag_command


class Entered(Enum):
    """What came of setting global maintenance; as Outcome, and one more."""

    CHANGED = "changed"
    ALREADY = "already"
    NOT_YET = "not yet: no agent can; it is written raw once all are stopped"


@dataclass(frozen=True, slots=True)
class Hold:
    """Who sets global maintenance: the agents, or a raw write after all are stopped."""

    by_agents: bool
    units: tuple[str, ...] = ()


def hold_of(site: Site, writers: tuple[int, ...], baseline: Snapshot) -> Hold:
    """Tell whether it is set, or the host that acts can set it: only an agent that writes can."""
    looks = baseline.hosts
    units = tuple(f"{each.host}: agent {each.agent}, broker {each.broker}" for each in looks)
    writes = any(each.host == site.actor and each.host_id in writers for each in looks)
    return Hold(writes or baseline.global_maintenance, units)


def approve_stop_first(site: Site, writers: tuple[int, ...], baseline: Snapshot) -> Hold:
    """Ask whether all services may be stopped without global maintenance, if it must be so.

    Raises GateRejected, GateExpired.
    """
    hold = hold_of(site, writers, baseline)
    if not hold.by_agents:
        gate(
            "approve_stop_first",
            evidence=_evidence(site, hold),
            risk="A3",
            form=TargetForm,
            target=site.cluster,
            expires_seconds=int(limit("gate_expires_seconds")),
        )
    return hold


@change
def enter_global_maintenance(site: Site, hold: Hold) -> Entered:
    """Set global maintenance as tasks.maintenance does, where an agent can. Raises TimedOut.

    It has that step's name, as it is that step: the lease of a run goes by it.
    """
    if not hold.by_agents:
        return Entered.NOT_YET
    return Entered(maintenance.enter_global_maintenance.function(site).value)


@wait
def wait_until_hands_off(site: Site, hold: Hold) -> tuple[int, ...]:
    """Wait until every live host is in maintenance; none is where no agent writes.

    Raises TimedOut.
    """
    return maintenance.wait_until_hands_off.function(site) if hold.by_agents else ()


def _evidence(site: Site, hold: Hold) -> str:
    return "\n".join(
        [
            f"## Stop all agents and brokers of {site.cluster} without global maintenance\n",
            f"- within {limit('publish_seconds'):.0f} s {site.actor} wrote nothing to the "
            "whiteboard: its agent holds no host id, or its broker dies, so "
            "`hosted-engine --set-maintenance` cannot work",
            *(f"- {line}" for line in hold.units),
            "- the engine VM and all guests keep running; who is still able to act could start "
            "the engine VM elsewhere while the hosts are stopped one by one, which its own lease "
            "prevents as long as it runs",
            "\n### Commands\n",
            "On every host:",
            f"```\n{' '.join(STOP)}\n```",
            f"On {site.actor}, once all are proven stopped and before any is started again:",
            f"```\n{flag_command(site.target.path)}\n```",
            "### Way back\n",
            "Start the services again on every host: `systemctl start ovirt-ha-broker && systemctl "
            "start ovirt-ha-agent`; once one of them is alive: `hosted-engine --set-maintenance "
            "--mode=none`\n",
            f"To approve, type the name of the cluster: `{site.cluster}`",
        ]
    )
