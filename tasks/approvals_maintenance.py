"""The gates of the maintenance runbooks: what is shown, what is asked, what follows."""

from collections.abc import Sequence
from enum import StrEnum

from pydantic import Field

from tasks.gates import GateForm, gate
from tasks.limits import limit
from tasks.rescue_power import hosts_that_say_up
from tasks.run_site import Site
from tasks.whiteboard_table import Snapshot, blocks_markdown


class HowMoved(StrEnum):
    """What is done about an engine VM that libvirt cannot migrate."""

    MIGRATED = "I have migrated it in the engine"
    RESTART = "restart: shut it down and start it elsewhere"


class MoveForm(GateForm):
    """The form of the gate where the engine can migrate its VM."""

    how: HowMoved = Field(
        default=HowMoved.MIGRATED, description="A restart takes the engine down for minutes."
    )


def ask_how_to_move(evidence: str, *, by_engine: bool) -> HowMoved:
    """Ask how the engine VM leaves its host, and return it; without an engine only by a restart.

    Raises GateRejected, GateExpired.
    """
    decision = gate(
        "approve_move",
        evidence=evidence,
        risk="A2",
        form=MoveForm if by_engine else GateForm,
        expires_seconds=int(limit("gate_expires_seconds")),
    )
    return (
        HowMoved(decision.fields.get("how", HowMoved.MIGRATED)) if by_engine else HowMoved.RESTART
    )


def approve_engine_start(site: Site, baseline: Snapshot, leases: Sequence[str]) -> None:
    """Ask before HA starts an engine VM that is down; with the VM up nothing is asked.

    Raises GateRejected, GateExpired.
    """
    runs = [each.host for each in baseline.hosts if each.runs_engine]
    if runs or hosts_that_say_up(site):
        return
    gate(
        "approve_engine_start",
        evidence=start_evidence(site, baseline, leases),
        risk="A2",
        expires_seconds=int(limit("gate_expires_seconds")),
    )


def start_evidence(site: Site, baseline: Snapshot, leases: Sequence[str]) -> str:
    """Return what a person must see before HA starts the engine VM, in Markdown."""
    held = "; ".join(leases) or "nobody, by the journal"
    return "\n".join(
        [
            f"## Leave global maintenance of {site.cluster}: HA will start the engine VM\n",
            f"- the engine VM is **down**: libvirt has it on none of {', '.join(site.hosts)}, and "
            "no host that still writes says that it is up",
            "- once global maintenance is off, the host with the best score **starts it** within "
            "about two minutes",
            f"- global maintenance is held by: {held}",
            "\n### Command\n",
            "```",
            f"{site.actor}: hosted-engine --set-maintenance --mode=none",
            "```",
            "### Way back\n",
            f"`runbook run enter-global-maintenance --cluster {site.cluster} "
            "--param reason=way-back`, then `hosted-engine --vm-shutdown` on the host that runs "
            "the VM.\n",
            f"### Blocks\n\n{blocks_markdown(baseline.rows)}\n",
        ]
    )
