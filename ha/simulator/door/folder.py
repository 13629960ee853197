"""A simulated cluster's files: the shared storage, and what each machine has for itself.

What stands below /rhev, /etc and so on of a host is below its own folder here; whoever runs its
commands translates the paths. The commands of HA, libvirt and the like lead to the door.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ha.core.record import BLOCK_BYTES
from ha.simulator.deployed import conf_of
from ha.simulator.door.ask import ANSWERS, DOOR
from ha.simulator.door.block_file import BlockFile
from ha.simulator.door.lease_file import ALIGN_BYTES, LeaseFile, area_of
from ha.simulator.site import VM_SPACE, WHITEBOARD_SPACE, Shared
from ha.simulator.storage import Storage
from ha.storage_domain import StorageDomain, storage_domain_of

# Small, as every read of the whiteboard by a runbook takes all of it.
WHITEBOARD_BYTES = 256 * BLOCK_BYTES
LOCKSPACE_BYTES = 2 * ALIGN_BYTES
# A command asks at the door, and the answer is a script. It runs some thousand times in a runbook,
# so it starts no more than it must. $$ is nobody else's while it runs.
ASK = """#!/bin/sh
{first}answer=$SIMULATED_FOLDER/answers/$$
mkfifo "$answer" 2>/dev/null || {{ rm -f "$answer"; mkfifo "$answer" || exit 255; }}
printf '%s\\0' $(($# + 5)) $$ run "$SIMULATED_HOST" "$OVIRT_HOSTED_ENGINE_CONSOLE_PASSWORD" \\
  {name} "$@" >"$SIMULATED_FOLDER/door"
. "$answer"
"""
# What comes before it is asked. What is waited for by looking again and again may be a real
# process, so a short wait is one in real time, too. What is in a session of its own, which is not
# that of the command that somebody runs, waits aside: nobody waits for it.
FIRST = {
    "sleep": "case $1 in 0.*) /bin/sleep 0.05 ;; esac\n"
    + """\
read -r _ _ _ _ _ session _ </proc/$$/stat
read -r _ _ _ parent _ </proc/$session/stat
[ "$parent" = "$SIMULATED_BY" ] || set -- "$1" aside
""",
    "timeout": 'case "$*" in */dev/tcp/*) ;; *) exec /usr/bin/timeout "$@" ;; esac\n',
    "date": 'case "$*" in +%s) ;; *) exec /bin/date "$@" ;; esac\n',
    "hostname": 'echo "$SIMULATED_HOST"; exit\n',
}


class Folder:
    """The places in a simulated cluster's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.shared = self.path / "shared"
        self.door = self.path / DOOR
        self.answers = self.path / ANSWERS
        self.conf = conf_of(1, {})
        self.domain: StorageDomain = storage_domain_of(self.conf.values, self.shared)

    def machine(self, name: str) -> Path:
        """Return what is / for a host."""
        return self.path / "machines" / name

    def commands(self, kind: str) -> Path:
        """Return the folder of the commands of a kind of machine."""
        return self.path / "bin" / kind

    def lockspaces(self) -> Mapping[str, Path]:
        """Return the files of the two lockspaces by name."""
        return {
            WHITEBOARD_SPACE: self.domain.place(self.domain.lockspace),
            VM_SPACE: self.domain.ids,
        }

    def make_shared(self, hosts: int) -> Shared:
        """Make an empty storage domain; return it for a simulation."""
        domain, spaces = self.domain, self.lockspaces()
        _sized(domain.place(domain.metadata), WHITEBOARD_BYTES)
        for name, place in spaces.items():
            _sized(place, LOCKSPACE_BYTES)
            with place.open("r+b") as file:
                file.write(area_of(name))
        for volume in (domain.configuration, domain.engine_disk):
            _sized(domain.place(volume), BLOCK_BYTES)
        for volume in domain.volumes:
            _link(domain.prepared(volume), domain.place(volume))
        for link, volume in domain.links.items():
            _link(link, domain.prepared(volume))
        whiteboard, vm = (LeaseFile(name, place, hosts) for name, place in spaces.items())
        return Shared(Storage(BlockFile(domain.place(domain.metadata))), whiteboard, vm)

    def make_machine(self, name: str) -> None:
        """Make a host's own folder, with its way to the shared storage."""
        root = self.machine(name)
        root.mkdir(parents=True)
        _link(root / "rhev", self.shared / "rhev")
        _link(root / "run/vdsm", self.shared / "run/vdsm")

    def make_commands(self, kind: str, names: Sequence[str]) -> None:
        """Let these commands lead to the door."""
        folder = self.commands(kind)
        folder.mkdir(parents=True)
        for name in names:
            script = folder / name
            script.write_text(ASK.format(first=FIRST.get(name, ""), name=name))
            script.chmod(0o755)


def _sized(place: Path, size_bytes: int) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("wb") as file:
        file.truncate(size_bytes)


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target)
