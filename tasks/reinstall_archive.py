"""The archive of what a clean reinstall removes: on the host, and a copy on the control node."""

import base64
import binascii
import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote

from tasks.env import Shell, world
from tasks.hosts import sh
from tasks.limits import limit
from tasks.metadata import MOUNTS
from tasks.recorded import change
from tasks.reinstall import BOOTSTRAP_VM, Remains
from tasks.runs import current_run
from tasks.settings import settings
from tasks.steps import run_once

COPIED_BYTES = 1024 * 1024
NAME = "remains.tar"
FORETOLD = "SHA256-OF-ARCHIVE"

# A first attempt that died half-way leaves a `.part`, never a file of the archive's own name.
# `tar -P` keeps the names absolute, so that what was listed and what is kept can be compared.
ARCHIVE = r"""
LC_ALL=C; export LC_ALL; umask 077
d=$1 vms=$2 mounts=$3 storage=$4; shift 4
mkdir -p -- "$d" || exit
for vm in $vms; do virsh -r dumpxml --security-info "$vm" >"$d/$vm.xml" 2>/dev/null ||
  virsh -r dumpxml "$vm" >"$d/$vm.xml" || exit; done
: >"$d/storage.list"
if [ -n "$storage" ]; then
  find "$mounts" -maxdepth 3 -type d -name "$storage" -exec ls -lRn {} + \
    >"$d/storage.list" 2>/dev/null
fi
tar -cPf "$d/remains.tar.part" -- "$@" || exit
mv -- "$d/remains.tar.part" "$d/remains.tar" && sync && ls -l -- "$d"
"""
FETCH = 'base64 -- "$1"'
# -d compares every member with what is on the host now.
COMPARE = 'LC_ALL=C tar -dPf "$1" && tar -tPf "$1"'


class ArchiveWrong(Exception):
    """The archive is not what it must be; nothing has been removed. Raised by archive_remains."""


@dataclass(frozen=True, slots=True)
class Archive:
    """What was kept, and where."""

    host: str
    directory: str
    path: str
    sha256: str
    size_bytes: int
    copy: str  # on the control node; nothing if it is too big for that
    way_back: tuple[str, ...]  # commands, to be run on the host


def foretold_archive(remains: Remains, directory: str) -> Archive:
    """Return what a plan says of the archive."""
    place = _place(directory)
    path = f"{place}/{NAME}"
    units = " ".join(unit.name for unit in remains.on_units)
    way_back = (
        f"tar -xpPf {quote(path)}",
        *(f"virsh define {quote(f'{place}/{vm.name}.xml')}" for vm in remains.own_vms),
        *([f"systemctl enable --now {units}"] if units else []),
    )
    return Archive(remains.host, place, path, FORETOLD, 0, "", way_back)


@change(foretold=foretold_archive)
def archive_remains(remains: Remains, directory: str) -> Archive:
    """Archive files, links and VM definitions, and prove the archive by reading it elsewhere.

    The bootstrap VM's folders are not archived: their disk is a copy of the appliance.
    Raises ArchiveWrong.
    """
    wanted = foretold_archive(remains, directory)
    shell = world().shell(remains.cluster, remains.host)
    kept = [item.path for item in remains.items if not item.path.startswith(BOOTSTRAP_VM)]
    run_once(
        shell,
        sh(
            ARCHIVE,
            wanted.directory,
            " ".join(vm.name for vm in remains.own_vms),
            MOUNTS,
            remains.claims.storage_domain,
            *(kept or [wanted.directory + "/storage.list"]),
        ),
        step="archive_remains",
        timeout_seconds=limit("archive_seconds"),
    )
    data = fetch(shell, wanted.path)
    _require_whole(shell, wanted.path, kept)
    sha256 = hashlib.sha256(data).hexdigest()
    copy = _copied(remains.host, data) if len(data) <= COPIED_BYTES else ""
    return replace(wanted, sha256=sha256, size_bytes=len(data), copy=copy)


def fetch(shell: Shell, path: str) -> bytes:
    """Return a file of the host's. Raises ArchiveWrong."""
    ran = shell.run(sh(FETCH, path), timeout_seconds=limit("archive_seconds"))
    try:
        if ran.exit_code != 0:
            raise ArchiveWrong(f"{ran.host}: cannot read {path}: {ran.stderr.strip()}")
        return base64.b64decode(ran.stdout)
    except binascii.Error as error:
        raise ArchiveWrong(f"{ran.host}: {path}: {error}") from error


def _require_whole(shell: Shell, path: str, kept: list[str]) -> None:
    """Require that every path is in the archive, and as on the host. Raises ArchiveWrong."""
    ran = shell.run(sh(COMPARE, path), timeout_seconds=limit("archive_seconds"))
    members = {line.rstrip("/") for line in ran.stdout.splitlines()}
    missing = [each for each in kept if each not in members]
    if ran.exit_code != 0 or missing:
        said = (ran.stderr or ran.stdout).strip()[-500:]
        raise ArchiveWrong(
            f"{ran.host}: {path} is not whole: {', '.join(missing) or said}; nothing was removed"
        )


def _copied(host: str, data: bytes) -> str:
    run = current_run()
    folder = settings().home / "archives" / (run.run_id if run else "no-run")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    place = Path(folder / f"{host}-{NAME}")
    handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return str(place)


def _place(directory: str) -> str:
    run = current_run()
    return f"{directory}/{run.run_id if run else 'no-run'}"
