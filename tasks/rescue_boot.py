"""What the engine VM really boots from: libvirt's live XML, and what was read from the drive.

Any medium can be judged so; one of which it is known what it says on the serial console, by that.
"""

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass

from tasks.hosts import sh
from tasks.limits import limit
from tasks.migration import DOMAIN
from tasks.recorded import wait
from tasks.rescue import RescuePlan
from tasks.rescue_power import EVERY_SECONDS, not_running_on
from tasks.run_site import Site
from tasks.runs import log
from tasks.waiting import wait_until

EXCERPT_CHARACTERS = 2000
LONGEST_CONSOLE_BYTES = 65_536
# What a boot loader, a kernel and its first file system come to at the least.
BOOTED_BYTES = 1024 * 1024
LIVE_XML = ("virsh", "--readonly", "dumpxml", DOMAIN)
READ_CONSOLE = f'tail -c "+$2" -- "$1" 2>/dev/null | tail -c {LONGEST_CONSOLE_BYTES}'
BLOCK_STATISTICS = ("virsh", "--readonly", "domblkstat", DOMAIN)


class MediumStillIn(Exception):
    """The engine VM runs with the rescue medium in its drive; raised by prove_no_medium."""


@dataclass(frozen=True, slots=True)
class Booted:
    """What proves that the medium booted."""

    drive: str
    read_bytes: int
    console: str  # the end of the serial console's log, if the VM has one


@wait(foretold=lambda site, plan: Booted("DRIVE", 0, ""))
def wait_until_rescue_boots(site: Site, plan: RescuePlan) -> Booted:
    """Wait until the VM runs there alone, and has read its system from the medium.

    Raises TimedOut.
    """
    booted: list[Booted] = []

    def look() -> str | None:
        missing = not_running_on(site, site.actor)
        if missing is not None:
            return missing
        found = _look_at_drive(site, plan)
        if isinstance(found, str):
            return found
        booted.append(found)
        return None

    wait_until(
        f"the rescue medium boots on {site.actor}",
        look,
        timeout_seconds=limit("rescue_boots_seconds"),
        every_seconds=EVERY_SECONDS,
        progress=log().info,
    )
    return booted[-1]


@wait
def prove_no_medium(site: Site, plan: RescuePlan) -> str:
    """Prove by libvirt that the engine VM runs without the rescue medium. Raises MediumStillIn."""
    domain = _live_domain(site)
    for source in domain.iterfind("./devices/disk/source"):
        if source.get("file") == plan.medium or source.get("dev") == plan.medium:
            raise MediumStillIn(f"{site.actor}: {plan.medium} is in a drive of the engine VM")
    return "no drive holds the medium"


def _live_domain(site: Site) -> ET.Element:
    ran = site.shell(site.actor).run(LIVE_XML, timeout_seconds=limit("look_seconds"))
    return ET.fromstring(ran.checked().stdout)


def _look_at_drive(site: Site, plan: RescuePlan) -> Booted | str:
    """Return what the VM read from the medium, or what is missing."""
    shell, seconds = site.shell(site.actor), limit("look_seconds")
    domain = _live_domain(site)
    drives = (
        disk.find("target")
        for disk in domain.iterfind("./devices/disk")
        for source in disk.findall("source")
        if source.get("file") == plan.medium
    )
    target = next((each for each in drives if each is not None), None)
    if target is None:
        return f"no drive of the VM holds {plan.medium}"
    drive = target.get("dev", "")
    told = shell.run((*BLOCK_STATISTICS, drive), timeout_seconds=seconds).stdout
    found = re.search(r"rd_bytes\s+(\d+)", told)
    read_bytes = int(found[1]) if found else 0
    if read_bytes < BOOTED_BYTES:
        return f"the VM has read {read_bytes} bytes of {plan.medium} ({drive})"
    console = _console(site, plan)
    if plan.console_says not in console:
        return f"the console has not said {plan.console_says!r}"
    return Booted(drive, read_bytes, console[-EXCERPT_CHARACTERS:])


def _console(site: Site, plan: RescuePlan) -> str:
    """Return what the serial console said since the plan was made."""
    if not plan.console_log:
        return ""
    argv = sh(READ_CONSOLE, plan.console_log, str(plan.console_bytes + 1))
    ran = site.shell(site.actor).run(argv, timeout_seconds=limit("look_seconds"))
    return _printable(ran.stdout)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\n" else "" for c in text)
