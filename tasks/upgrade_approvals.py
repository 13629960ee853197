"""The gates of the upgrade: what is shown, and what a person does in the engine himself."""

from typing import Literal

from tasks.engine_backup_copy import copy_path
from tasks.engine_site import SETUP_PACKAGES, backup_path
from tasks.gates import gate
from tasks.limits import limit
from tasks.packages import MONITOR
from tasks.run_site import Site
from tasks.upgrade_backup import backup_folder
from tasks.upgrade_commands import host_commands, undo_of
from tasks.upgrade_plan import UpgradePlan, plan_markdown
from tasks.whiteboard_table import Snapshot, blocks_markdown


def approve_upgrade(site: Site, plan: UpgradePlan, baseline: Snapshot) -> None:
    """Ask before anything is changed; with nothing to do nothing is asked.

    Raises GateRejected, GateExpired.
    """
    if plan.work:
        _ask("approve_upgrade", upgrade_evidence(site, plan, baseline), "A2")


def approve_rest(site: Site, plan: UpgradePlan, host: str) -> None:
    """Ask after the first host, before the others. Raises GateRejected, GateExpired."""
    if host != plan.hosts[0] or len(plan.hosts) == 1:
        return
    evidence = "\n".join(
        [
            f"## {host} of {site.cluster} is upgraded: go on with the others?\n",
            f"- {host} runs {MONITOR} **{plan.target}**, is back in service, and the cluster is as "
            "well as before the upgrade: one engine VM, in good health, no score lost",
            f"- next, one at a time: **{', '.join(plan.hosts[1:])}**",
            *(line for each in plan.hosts[1:] for line in host_commands(site, plan, each)),
            "\n### Way back\n",
            f"Rejecting leaves {host} upgraded and the others as they are; a later run goes on. "
            f"To take it back on {host}: {undo_of(plan, host)}.\n",
        ]
    )
    _ask("approve_rest", evidence, "A1")


def approve_host_out(site: Site, plan: UpgradePlan, host: str) -> None:
    """Where VDSM manages the hosts: let a person put the host into maintenance in the engine.

    Raises GateRejected, GateExpired.
    """
    if plan.by_engine:
        evidence = "\n".join(
            [
                f"## Put {host} of {site.cluster} into maintenance, in the engine\n",
                f"- Compute, Hosts, {host}, Management, Maintenance: the engine moves its VMs, its "
                "own among them, and sets local maintenance",
                "- approve when the engine shows the host in maintenance; it is looked at then",
                "\n### Way back\n",
                "Activate the host in the engine. Rejecting leaves it as it is.\n",
            ]
        )
        _ask(f"approve_host_out-{host}", evidence, "A1")


def approve_host_back(site: Site, plan: UpgradePlan, host: str) -> None:
    """Where VDSM manages the hosts: let a person activate the host in the engine.

    The Howto leaves this step out; without it the host has score 0 and nothing moves there.
    Raises GateRejected, GateExpired.
    """
    if plan.by_engine and host not in plan.resting:
        evidence = "\n".join(
            [
                f"## Activate {host} of {site.cluster}, in the engine\n",
                f"- {host} runs {MONITOR} **{plan.target}**",
                f"- Compute, Hosts, {host}, Management, Activate",
                "- approve when the engine shows the host up; it is looked at then\n",
            ]
        )
        _ask(f"approve_host_back-{host}", evidence, "A1")


def approve_cluster_level(site: Site, plan: UpgradePlan) -> None:
    """Where there is an engine that manages the hosts: let a person raise the cluster's level.

    Raises GateRejected, GateExpired.
    """
    if plan.by_engine and plan.work:
        evidence = "\n".join(
            [
                f"## Raise the compatibility level of {site.cluster}, in the engine\n",
                f"- all hosts run {MONITOR} **{plan.target}**",
                "- Compute, Clusters, Edit, Compatibility Version; VMs take it over when they are "
                "restarted next",
                "- approve when it is done, or at once if it stays as it is",
                "\n### Way back\n",
                "There is none: the level cannot be lowered.\n",
            ]
        )
        _ask("approve_cluster_level", evidence, "A2")


def upgrade_evidence(site: Site, plan: UpgradePlan, baseline: Snapshot) -> str:
    """Return what a person must see before the upgrade, in Markdown."""
    on = "already on: this run leaves it" if baseline.global_maintenance else "off"
    last = "; ".join(f"{each.host} {each.version}" for each in baseline.hosts)
    return "\n".join(
        [
            f"## Upgrade {site.cluster}\n",
            plan_markdown(site.cluster, plan),
            f"\n- HA monitors now: {last}; global maintenance is {on}",
            f"- engine VM on {', '.join(e.host for e in baseline.hosts if e.runs_engine)}; "
            "it is moved while it runs before its host is upgraded",
            *_engine_commands(plan),
            *(line for each in plan.hosts for line in host_commands(site, plan, each)),
            "\n### Way back\n",
            *(f"- {each}: {undo_of(plan, each)}" for each in plan.hosts),
            f"- copies of the configuration and the whiteboard: `{backup_folder()}` of each host",
            *_engine_back(plan),
            "",
            f"### Whiteboard\n\n{blocks_markdown(baseline.rows)}\n",
        ]
    )


def _engine_back(plan: UpgradePlan) -> list[str]:
    """Return how the engine is taken back: a configured one takes no backup before its cleanup."""
    if plan.engine is None or not plan.engine_work:
        return []
    log, copy = "/var/log/ovirt-engine/restore.log", copy_path()
    lost = (
        f"- if the engine VM is lost: its backup is copied to `{copy}` on the control node before "
        "anything is changed; on a host that gets a new, empty storage domain: "
        "`hosted-engine --deploy --restore-from-file=` and that file"
    )
    return [
        "- engine, in its VM, under global maintenance: `engine-cleanup`; "
        f"`engine-backup --mode=restore --file={backup_path()} --log={log} "
        "--provision-all-databases --restore-permissions`; `engine-setup --accept-defaults`",
        *([lost] if copy else []),
    ]


def _engine_commands(plan: UpgradePlan) -> list[str]:
    if plan.engine is None or not plan.engine_work:
        return ["- engine VM: **nothing to do**"]
    manager = plan.engine.manager
    return [
        "\n### In the engine VM, under global maintenance\n",
        "```",
        f"engine-backup --mode=backup --scope=all --file={backup_path()}.new "
        f"--log={backup_path()}.log && mv {backup_path()}.new {backup_path()}",
        f"{manager} -y update '{SETUP_PACKAGES}'",
        "engine-setup --accept-defaults",
        f"{manager} -y update",
        "```",
    ]


def _ask(name: str, evidence: str, risk: Literal["A1", "A2"]) -> None:
    gate(name, evidence=evidence, risk=risk, expires_seconds=int(limit("gate_expires_seconds")))
