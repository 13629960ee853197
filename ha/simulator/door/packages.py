"""Packages of simulated machines: `dnf`, `rpm` and the like, and the engine's own commands.

Of two versions of everything the first is installed and the second offered. An agent that is
started again is of the version that is installed then.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from ha.simulator.door.call import FAILURE, Call
from ha.simulator.door.systemctl import MAIN_PID

OLD, NEW = "1.0-1", "2.0-1"
MONITOR = "hosted-engine-runbooks-ha"
PROVIDED = "ovirt-hosted-engine-ha"
ENGINE = "ovirt-engine"
KERNEL = "kernel"
HOST_PACKAGES = (MONITOR, "base")
ENGINE_PACKAGES = (ENGINE, "ovirt-engine-setup", KERNEL, "base")
SOME = 100
"""dnf's exit code of check-update when there are updates."""
UPDATE_SECONDS = 30.0
SETUP_SECONDS = 90.0
BACKUP_SECONDS = 20.0
LOOK_SECONDS = 0.2


@dataclass(slots=True)
class Packages:
    """The packages of one machine."""

    installed: dict[str, str]
    offered: dict[str, str] = field(default_factory=dict)
    installed_at: int = 0
    """When the last of them was installed, as the machine's clock said."""
    booted: int = 0
    """Which boot of the engine VM has the kernel that is installed."""


def two_versions(names: tuple[str, ...]) -> Packages:
    """Return the old version of these, with the new one offered."""
    return Packages(dict.fromkeys(names, OLD), dict.fromkeys(names, NEW))


def dnf(call: Call) -> int:
    """Answer `dnf [-q|-y] check-update|update [PATTERN...]`."""
    verb, *patterns = [word for word in call.words if not word.startswith("-")]
    call.host.site.schedule.sleep(LOOK_SECONDS)
    pending = list(_pending(call.packages, patterns))
    if verb == "check-update":
        for name in pending:
            call.say(f"{name}.noarch  {call.packages.offered[name]}  simulated")
        return SOME if pending else 0
    call.host.site.schedule.sleep(UPDATE_SECONDS if pending else LOOK_SECONDS)
    _install(call, pending)
    call.say("Complete!" if pending else "Nothing to do.")
    return 0


def rpm(call: Call) -> int:
    """Answer `rpm -q [--whatprovides] --qf FORMAT NAME`, and `rpm -qa ...`: there is nothing."""
    packages, name = call.packages, call.words[-1]
    if "-qa" in call.words:
        return 0
    if name == PROVIDED and "--whatprovides" in call.words and MONITOR in packages.installed:
        call.say(f"monitor={MONITOR} {packages.installed[MONITOR]} {packages.installed_at}")
        return 0
    if name not in packages.installed:
        call.say(f"package {name} is not installed")
        return FAILURE
    call.say(packages.installed[name])
    return 0


def ps(call: Call) -> int:
    """Answer `ps -o etimes= -p PID`: how long a daemon runs."""
    for unit in (call.host.agent, call.host.broker):
        if str(MAIN_PID[unit.manner.name]) == call.words[-1] and unit.run is not None:
            call.say(str(int(call.host.site.schedule.now - unit.run.since)))
            return 0
    return FAILURE


def engine_setup(call: Call) -> int:
    """Answer `engine-setup`: the engine is stopped meanwhile."""
    engine = call.host.site.engine
    engine.broken = True
    call.host.site.schedule.sleep(SETUP_SECONDS)
    engine.broken = False
    _install(call, [ENGINE])
    call.say("[ INFO  ] Execution of setup completed successfully")
    return 0


def engine_upgrade_check(call: Call) -> int:
    """Answer `engine-upgrade-check`: 0 when there is an upgrade."""
    return int(ENGINE not in _pending(call.packages, [ENGINE], engine=True))


def engine_backup(call: Call) -> int:
    """Answer `engine-backup --file=FILE ...`."""
    files = [word.partition("=")[2] for word in call.words if word.startswith("--file=")]
    call.host.site.schedule.sleep(BACKUP_SECONDS)
    for file in files:
        Path(file).write_text(f"backup of {call.packages.installed}\n", encoding="utf-8")
    return 0


def needs_restarting(call: Call) -> int:
    """Answer `needs-restarting -r`: 1 when the running kernel is not the one installed."""
    return int(call.packages.booted > call.host.site.engine.boots)


def _pending(packages: Packages, patterns: list[str], *, engine: bool = False) -> Iterator[str]:
    """Yield what is offered and not installed; the engine is engine-setup's to upgrade."""
    for name, version in packages.offered.items():
        wanted = any(fnmatch(name, pattern) for pattern in patterns or ["*"])
        if wanted and (engine or name != ENGINE) and packages.installed.get(name) != version:
            yield name


def _install(call: Call, names: list[str]) -> None:
    packages, host = call.packages, call.host
    for name in names:
        packages.installed[name] = packages.offered[name]
    if names:
        packages.installed_at = int(host.time.wall())
    if MONITOR in names:
        host.version = packages.installed[MONITOR]
    if KERNEL in names:
        packages.booted = host.site.engine.boots + 1
