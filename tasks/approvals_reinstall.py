"""The gates of a clean reinstall: what is removed from the host, and what from the storage."""

from shlex import quote

from tasks.gates import TargetForm, gate
from tasks.limits import limit
from tasks.reinstall import PACKAGES, Remains, remains_markdown
from tasks.reinstall_archive import Archive
from tasks.reinstall_changes import VIRSH_AUTH
from tasks.reinstall_seen import Seen, seen_markdown
from tasks.reinstall_storage import Purge


def approve_cleaning(
    remains: Remains, seen: Seen, archive: Archive, purge: Purge, remove_packages: bool
) -> None:
    """Ask for the approval of removing what was listed. Raises GateRejected, GateExpired."""
    gate(
        "approve_cleaning",
        evidence=cleaning_evidence(remains, seen, archive, purge, remove_packages),
        risk="A3",
        form=TargetForm,
        target=remains.host,
        expires_seconds=int(limit("gate_expires_seconds")),
    )


def approve_purge(remains: Remains, purge: Purge, fingerprint: str) -> None:
    """Ask for the approval of removing the storage domain, if that was asked for.

    Raises GateRejected, GateExpired.
    """
    if not purge.wanted:
        return
    gate(
        "approve_purge",
        evidence=purge_evidence(remains, purge, fingerprint),
        risk="A3",
        form=TargetForm,
        target=purge.storage_domain,
        expires_seconds=int(limit("gate_expires_seconds")),
    )


def cleaning_evidence(
    remains: Remains, seen: Seen, archive: Archive, purge: Purge, remove_packages: bool
) -> str:
    """Return what a person must see before the host is cleaned, in Markdown."""
    packages = [p for p in PACKAGES if p in remains.packages] if remove_packages else []
    storage = (
        f"`{purge.directory}`, asked for at a gate of its own" if purge.wanted else "left alone"
    )
    return "\n".join(
        [
            f"## Remove a failed installation from {remains.host}\n",
            remains_markdown(remains),
            f"\n- storage: {storage}",
            f"- packages that are removed: {', '.join(packages) or 'none'}",
            f"- archive: **{archive.host}:{archive.path}** ({archive.size_bytes} bytes), SHA-256 "
            f"`{archive.sha256}`; copy on the control node: {archive.copy or 'none, too big'}",
            "- other VMs that run here: none",
            *seen_markdown(seen),
            "\n### Commands\n",
            "```",
            *_commands(remains, packages),
            "```",
            f"### Way back, on {archive.host}\n",
            "```",
            *archive.way_back,
            "```",
            f"To approve, type the name of the host: `{remains.host}`",
        ]
    )


def purge_evidence(remains: Remains, purge: Purge, fingerprint: str) -> str:
    """Return what a person must see before the storage domain is removed, in Markdown."""
    more = purge.count - len(purge.entries)
    return "\n".join(
        [
            f"## Remove the storage domain {purge.storage_domain}\n",
            f"- directory: **{purge.directory}** ({purge.size_bytes} bytes in "
            f"{purge.count} entries), on **{purge.source}**",
            f"- named by: {remains.claims.source}",
            f"- hosts that do not use it: {', '.join(purge.asked_hosts) or 'none was asked'}",
            f"- nobody wrote to it in {limit('quiet_seconds'):.0f} s (fingerprint `{fingerprint}`)",
            "- **there is no way back**: the storage domain with the engine's disk is not archived",
            "\n### Command\n",
            "```",
            f"rm -r --one-file-system -- {quote(purge.directory)}",
            "```",
            "### Content (bytes, name)\n",
            "```",
            *purge.entries,
            *([f"... and {more} more"] if more > 0 else []),
            "```",
            f"To approve, type the storage domain's id: `{purge.storage_domain}`",
        ]
    )


def _commands(remains: Remains, packages: list[str]) -> list[str]:
    units = " ".join(unit.name for unit in remains.on_units)
    vms = [vm.name for vm in remains.own_vms]
    return [
        *([f"systemctl disable --now {units}"] if units else []),
        *(f"virsh destroy {vm}; virsh undefine --nvram {vm}" for vm in vms),
        *([f"(libvirt's password, if it asks for one, from {VIRSH_AUTH})"] if vms else []),
        *(f"sanlock client rem_lockspace -s {quote(e.spec)}" for e in remains.own_lockspaces),
        *(
            f"rm {'-r --one-file-system ' if e.kind == 'directory' else ''}-- {quote(e.path)}"
            for e in remains.items
        ),
        *([f"rpm -e -- {' '.join(packages)}"] if packages else []),
    ]
