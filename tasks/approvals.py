"""The gates of the metadata runbooks: what is shown, what is asked, what follows."""

from collections.abc import Sequence

from pydantic import Field

from tasks.backup import Backup, backup_lines, restore_command, restored_lines
from tasks.gates import TargetForm, gate
from tasks.limits import limit
from tasks.lockspace_area import ranges
from tasks.own_maintenance import leaving_line
from tasks.run_site import Site
from tasks.services import StoppedProof
from tasks.whiteboard_table import BlockRow, Snapshot, bad_ids, blocks_markdown
from tasks.zeroing import Plan, Scope

MOST_COMMANDS = 20


class WriteForm(TargetForm):
    """The form of the gate before the write."""

    scope: Scope = Field(
        default=Scope.BAD_ONLY,
        description="What is zeroed. The good blocks are worth keeping: they are the hosts' last"
        " known states.",
    )


def approve_write(
    site: Site,
    rows: Sequence[BlockRow],
    backup: Backup,
    *,
    proof: StoppedProof,
    baseline: Snapshot,
) -> Plan:
    """Ask for the approval of the write and return what was chosen.

    Raises GateRejected, GateExpired.
    """
    host_ids = bad_ids(rows)
    decision = gate(
        "approve_write",
        evidence=write_evidence(site, rows, backup, proof=proof, baseline=baseline),
        risk="A3",
        form=WriteForm,
        target=site.cluster,
        expires_seconds=int(limit("gate_expires_seconds")),
    )
    scope = Scope(decision.fields.get("scope", Scope.BAD_ONLY))
    return Plan(scope, host_ids, backup.sha256)


def approve_restore(
    site: Site, backup: Backup, proof: StoppedProof, kept: Backup, history: Sequence[str]
) -> None:
    """Ask for the approval of writing the backup back. Raises GateRejected, GateExpired."""
    gate(
        "approve_restore",
        evidence=restore_evidence(site, backup, proof, kept, history),
        risk="A3",
        form=TargetForm,
        target=site.cluster,
        expires_seconds=int(limit("gate_expires_seconds")),
    )


def write_evidence(
    site: Site,
    rows: Sequence[BlockRow],
    backup: Backup,
    *,
    proof: StoppedProof,
    baseline: Snapshot,
) -> str:
    """Return what a person must see before the write, in Markdown."""
    host_ids = bad_ids(rows)
    return "\n".join(
        [
            f"## Zero blocks of the whiteboard of {site.cluster}\n",
            *_where(site, proof),
            f"- blocks to be zeroed: **{_zeroed(host_ids)}** "
            f"({len(host_ids)} x 4096 bytes), or everything, as you choose",
            *backup_lines(backup),
            at_the_end(site, baseline),
            *_commands(site, host_ids),
            "Block 0 (maintenance=1) is written again before any agent starts.\n",
            "### Way back\n",
            f"`runbook undo RUN` while all services are stopped, or by hand on {backup.host}:\n",
            "```",
            restore_command(backup),
            "```",
            f"### Blocks\n\n{blocks_markdown(rows)}\n",
            f"To approve, type the name of the cluster: `{site.cluster}`",
        ]
    )


def _zeroed(host_ids: tuple[int, ...]) -> str:
    """Return the blocks in few words: of a whole file of garbage they are two thousand."""
    return ranges(host_ids) or "none, an earlier run has done it"


def _commands(site: Site, host_ids: tuple[int, ...]) -> list[str]:
    where = (site.target.path, site.target.size_bytes)
    bad_only = Plan(Scope.BAD_ONLY, host_ids).commands(*where)
    more = len(bad_only) - MOST_COMMANDS
    return [
        "\n### Commands, if you choose *bad blocks only*\n",
        "```",
        *bad_only[:MOST_COMMANDS],
        *([f"... and {more} more, one a block"] if more > 0 else []),
        "```",
        "### Commands, if you choose *everything, as the Howto says*\n",
        "```",
        *Plan(Scope.EVERYTHING, ()).commands(*where),
        "```",
    ]


def restore_evidence(
    site: Site, backup: Backup, proof: StoppedProof, kept: Backup, history: Sequence[str]
) -> str:
    """Return what a person must see before the restore, in Markdown."""
    return "\n".join(
        [
            f"## Write the backup over the whiteboard of {site.cluster}\n",
            *_where(site, proof),
            *restored_lines(backup, kept),
            *history,
            "\n### Command\n",
            "```",
            restore_command(backup),
            "```",
            "### Way back\n",
            f"`runbook undo RUN`, or by hand on {kept.host}:\n",
            "```",
            restore_command(kept),
            "```",
            "Agents and brokers stay stopped afterwards. The bad blocks will be back: way forward "
            "is the runbook metadata-too-new.\n",
            f"To approve, type the name of the cluster: `{site.cluster}`",
        ]
    )


def _where(site: Site, proof: StoppedProof) -> list[str]:
    target = site.target
    said = ", ".join(map(str, proof.said_stopped)) or "none"
    return [
        f"- host that writes: **{site.actor}**; host that witnesses: {site.witness}",
        f"- target: **{target.path}** ({target.kind}, {target.size_bytes} bytes), "
        f"found by {', '.join(target.links)}",
        f"- agents and brokers proven stopped on: **{', '.join(proof.hosts)}**; no byte changed "
        f"in {proof.quiet_seconds:.0f} s; host ids that published a clean stop: {said}",
    ]


def at_the_end(site: Site, baseline: Snapshot) -> str:
    """Return what becomes of global maintenance and the engine VM, in Markdown.

    By libvirt: the block of a host that lost its power with the VM says that it is up for ever.
    """
    runs = tuple(each.host for each in baseline.hosts if each.runs_engine)
    return leaving_line(site.cluster, on_before=baseline.global_maintenance, engine_hosts=runs)
