"""The gates of the lockspace runbooks: what is shown, what is asked."""

from collections.abc import Sequence

from tasks.approvals import at_the_end
from tasks.backup import Backup, backup_lines, restore_command, restored_lines
from tasks.gates import TargetForm, gate
from tasks.limits import limit
from tasks.lockspace import Diagnosis, Lockspace, diagnosis_markdown
from tasks.lockspace_area import MAX_HOSTS
from tasks.lockspace_leave import LeftProof
from tasks.lockspace_write import init_command
from tasks.run_site import Site
from tasks.whiteboard_table import Snapshot


def approve_lockspace_write(
    site: Site, found: Diagnosis, *, proof: LeftProof, backup: Backup, baseline: Snapshot
) -> None:
    """Ask for the approval of initialising the lockspace. Raises GateRejected, GateExpired."""
    lockspace = found.lockspace
    count = MAX_HOSTS[found.sector_bytes]
    lines = [
        f"## Initialise the lockspace hosted-engine of {site.cluster}\n",
        *_where(site, lockspace, proof),
        f"- written: the first MiB, **{count} free host ids**; all leases in it are forgotten",
        *backup_lines(backup),
        "- the engine VM and all guests keep running: their leases are in the storage domain's "
        "own lockspace, which is sound and not touched",
        at_the_end(site, baseline),
        f"\n### Diagnosis\n\n{diagnosis_markdown(found)}\n",
        "### Command\n",
        f"```\n{init_command(lockspace.target.path, found.sector_bytes)}\n```",
        "### Way back\n",
        f"`runbook undo RUN` while all services are stopped, or by hand on {backup.host}:\n",
        f"```\n{restore_command(backup)}\n```",
    ]
    _ask("approve_lockspace_write", site, lines)


def approve_lockspace_restore(
    site: Site,
    lockspace: Lockspace,
    backup: Backup,
    *,
    proof: LeftProof,
    kept: Backup,
    history: Sequence[str],
) -> None:
    """Ask for the approval of writing the old area back. Raises GateRejected, GateExpired."""
    lines = [
        f"## Write the old lockspace of {site.cluster} back\n",
        *_where(site, lockspace, proof),
        *restored_lines(backup, kept),
        *history,
        "\n### Command\n",
        f"```\n{restore_command(backup)}\n```",
        "### Way back\n",
        f"`runbook undo RUN`, or by hand on {kept.host}:\n",
        f"```\n{restore_command(kept)}\n```",
        "Agents and brokers stay stopped afterwards. The lockspace will be broken again: way "
        "forward is the runbook recover-lockspace.\n",
    ]
    _ask("approve_lockspace_restore", site, lines)


def _ask(name: str, site: Site, lines: list[str]) -> None:
    told = [*lines, f"To approve, type the name of the cluster: `{site.cluster}`"]
    gate(
        name,
        evidence="\n".join(told),
        risk="A3",
        form=TargetForm,
        target=site.cluster,
        expires_seconds=int(limit("gate_expires_seconds")),
    )


def _where(site: Site, lockspace: Lockspace, proof: LeftProof) -> list[str]:
    target = lockspace.target
    return [
        f"- host that writes: **{site.actor}**; host that witnesses: {site.witness}",
        f"- target: **{target.path}** ({target.kind}), its first {target.size_bytes} bytes backed "
        f"up, found by {', '.join(target.links)}",
        f"- agents and brokers stopped, and no sanlock in the lockspace, on: "
        f"**{', '.join(proof.hosts)}**; no byte changed in {proof.quiet_seconds:.0f} s",
    ]
