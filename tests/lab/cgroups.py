"""Control groups: how a whole host loses its power in one stroke."""

import time
from dataclasses import dataclass
from pathlib import Path

from tests.lab.commands import LabError

MOUNT = Path("/sys/fs/cgroup")
PREFIX = "he-lab-"
STALE_AFTER_SECONDS = 600
GONE_WITHIN_SECONDS = 30


def unified() -> Path | None:
    """Where the version 2 hierarchy is mounted, alone or beside version 1; None if nowhere."""
    for place in (MOUNT, MOUNT / "unified"):
        if (place / "cgroup.procs").exists() and (place / "cgroup.controllers").exists():
            return place
    return None


def hierarchies() -> list[Path]:
    """Every hierarchy in which systemd-nspawn makes groups below its caller's."""
    found = [place for place in (unified(), MOUNT / "systemd") if place and place.is_dir()]
    return [place for place in found if (place / "cgroup.procs").exists()]


@dataclass(frozen=True, slots=True)
class Group:
    """A group by that name, in all hierarchies that matter."""

    name: str

    @property
    def folders(self) -> list[Path]:
        """The group's folder in each hierarchy."""
        return [place / self.name for place in hierarchies()]

    @property
    def _unified(self) -> Path:
        place = unified()
        if place is None:
            raise LabError("no version 2 control group hierarchy is mounted")
        return place / self.name

    def child(self, name: str) -> "Group":
        """The group of that name below this one."""
        return Group(f"{self.name}/{name}")

    def create(self) -> None:
        """Make the group, or keep it."""
        for folder in self.folders:
            folder.mkdir(parents=True, exist_ok=True)

    def populated(self) -> bool:
        """Whether any process is in the group or below it."""
        try:
            return "populated 1" in (self._unified / "cgroup.events").read_text()
        except FileNotFoundError:
            return False

    def processes(self) -> int:
        """How many processes are in the group itself."""
        try:
            return len((self._unified / "cgroup.procs").read_text().split())
        except FileNotFoundError:
            return 0

    def freeze(self, frozen: bool) -> None:
        """Stop all processes of the group where they stand, or let them go on."""
        (self._unified / "cgroup.freeze").write_text("1" if frozen else "0")

    def strike(self) -> None:
        """Kill every process in the group at once, without waiting."""
        if self.populated():
            (self._unified / "cgroup.kill").write_text("1")

    def kill(self) -> None:
        """Kill every process in the group at once, wait until they are gone, drop the group.

        Raises LabError when something survives, as a process in uninterruptible sleep does.
        """
        self.strike()
        ends_at = time.monotonic() + GONE_WITHIN_SECONDS
        while self.populated():
            if time.monotonic() > ends_at:
                raise LabError(f"processes of {self.name} survive SIGKILL")
            time.sleep(0.01)
        self.remove()

    def remove(self) -> None:
        """Drop the group and the empty groups below it."""
        for folder in self.folders:
            below = sorted(folder.rglob("*/"), key=lambda path: len(path.parts), reverse=True)
            for group in (*below, folder):
                if group.is_dir() and not group.is_symlink():
                    _rmdir(group)


def remove_stale() -> None:
    """Drop what labs left that were killed together with their machine."""
    for place in hierarchies():
        for folder in place.glob(f"{PREFIX}*"):
            group = Group(folder.name)
            # A lab that is just coming up has groups without a process, too: leave it alone.
            stale = time.time() - folder.stat().st_mtime > STALE_AFTER_SECONDS
            if stale and not group.populated():
                group.remove()


def _rmdir(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        # Busy: the kernel still lets go of a killed process. The next `up` or `down` drops it.
        return
