"""The gates of boot-rescue: the downtime, a power cut, and when the rescue is done."""

from tasks.approvals import at_the_end
from tasks.gates import gate
from tasks.limits import limit
from tasks.maintenance_checks import VM_CONF
from tasks.rescue import RescuePlan
from tasks.rescue_boot import Booted
from tasks.rescue_power import DOWN, POWER_OFF, SHUTDOWN, start_argv
from tasks.run_site import Site
from tasks.whiteboard_table import Snapshot

WAY_BACK = (
    "The engine VM down everywhere (`virsh -r list` on all hosts), then on {host}: "
    "`hosted-engine --vm-start`; when the engine is well: `runbook run leave-global-maintenance"
    " --cluster {cluster} --param end_others=true` (if nobody else needs it).\n"
)


def approve_rescue(site: Site, plan: RescuePlan, baseline: Snapshot) -> None:
    """Ask for the downtime of the engine. Raises GateRejected, GateExpired."""
    _ask("approve_rescue", rescue_evidence(site, plan, baseline))


def approve_power_off(site: Site, running: str) -> None:
    """Ask before the power of an engine VM is cut that did not shut down; else nothing is asked.

    Raises GateRejected, GateExpired.
    """
    if running != DOWN:
        _ask("approve_power_off", power_off_evidence(site, running))


def approve_rescue_done(site: Site, plan: RescuePlan, booted: Booted) -> None:
    """Wait for a person's word that the work in the rescue system is done.

    Raises GateRejected, GateExpired.
    """
    _ask("approve_rescue_done", done_evidence(site, plan, booted))


def rescue_evidence(site: Site, plan: RescuePlan, baseline: Snapshot) -> str:
    """Return what a person must see before the engine goes down, in Markdown."""
    return "\n".join(
        [
            f"## Boot the engine VM of {site.cluster} from a rescue medium\n",
            f"- the engine is **down** from here on; guests keep running. The VM runs on "
            f"**{plan.running}** now, and boots the medium on **{site.actor}**",
            f"- medium: **{site.actor}:{plan.medium}** ({plan.medium_bytes} bytes)",
            f"- vm.conf: an edited copy at **{site.actor}:{plan.conf_path}**, SHA-256 "
            f"`{plan.sha256}`; {VM_CONF} itself is not touched",
            "- HA keeps its hands off: global maintenance is set before",
            at_the_end(site, baseline),
            "\n### Commands\n",
            "```",
            f"{site.actor}: hosted-engine --set-maintenance --mode=global",
            f"{plan.running}: {' '.join(SHUTDOWN)}",
            f"{site.actor}: {' '.join(start_argv(plan.conf_path))}",
            "```",
            "### Way back\n",
            WAY_BACK.format(host=site.actor, cluster=site.cluster),
        ]
    )


def power_off_evidence(site: Site, running: str) -> str:
    """Return what a person must see before the power is cut, in Markdown."""
    seconds = limit("shutdown_seconds")
    return "\n".join(
        [
            f"## Cut the power of the engine VM of {site.cluster}\n",
            f"- it was asked to shut down and still runs on **{running}** after {seconds:.0f} s",
            "- a power cut may lose what the engine's database has not written; it recovers from "
            "its journal at the next start",
            "\n### Command\n",
            "```",
            f"{running}: {' '.join(POWER_OFF)}",
            "```",
            "### Way back\n",
            "Reject: the engine VM goes on as it is. "
            f"Then `runbook run leave-global-maintenance --cluster {site.cluster} --param "
            "end_others=true` (if nobody else needs it).\n",
        ]
    )


def done_evidence(site: Site, plan: RescuePlan, booted: Booted) -> str:
    """Return what a person must see while the rescue system runs, in Markdown."""
    console = booted.console.strip()[-1500:].replace("```", "'''") or "(it has no serial console)"
    return "\n".join(
        [
            f"## The rescue system of {site.cluster} runs: approve when the work is done\n",
            f"- on **{site.actor}**, from {plan.medium}: the VM has read {booted.read_bytes} bytes "
            f"of it (drive {booted.drive}), and holds the lease of its disk",
            f"- console, on {site.actor}: `hosted-engine --console`; or, with a password of your "
            "own in OVIRT_HOSTED_ENGINE_CONSOLE_PASSWORD, `hosted-engine --add-console-password`",
            "\n### The end of its serial console\n",
            "```",
            console,
            "```",
            "### What an approval does\n",
            "```",
            f"{site.actor}: {' '.join(SHUTDOWN)}",
            f"{site.actor}: {' '.join(POWER_OFF)}    "
            f"(only if it is not down after {limit('shutdown_seconds'):.0f} s)",
            f"{site.actor}: {' '.join(start_argv())}",
            f"{site.actor}: hosted-engine --set-maintenance --mode=none    (only if it is ours)",
            "```",
            "### Way back\n",
            "Reject: the rescue system goes on, under global maintenance. "
            + WAY_BACK.format(host=site.actor, cluster=site.cluster),
        ]
    )


def _ask(name: str, evidence: str) -> None:
    gate(name, evidence=evidence, risk="A2", expires_seconds=int(limit("gate_expires_seconds")))
