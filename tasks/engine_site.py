"""The engine VM from inside: its packages, engine-setup, and a backup before either.

A cluster whose inventory has no [clusters.NAME.engine] keeps some other machine alive: then there
is no engine to upgrade, and these steps have nothing to do.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tasks.engine_backup_copy import copy_out
from tasks.env import Shell, world
from tasks.hosts import sh
from tasks.inventory import ENGINE
from tasks.limits import limit
from tasks.packages import pending_in
from tasks.plan import RUN, planning
from tasks.recorded import Outcome, change
from tasks.refusal import CheckRefused
from tasks.reissue import next_issue
from tasks.run_site import Site
from tasks.runs import current_run, log
from tasks.steps import claimed, run_once
from tasks.witnesses import maintenance_flag

BACKUPS = "/var/lib/ovirt-engine-backup"
SETUP_PACKAGES = "ovirt*setup*"
UPGRADE_AVAILABLE = 0  # engine-upgrade-check's exit code; 1 when there is none
# engine-setup's own words in its log, at the very end.
SUCCESS = "Execution of setup completed successfully"
LOGS = "/var/log/ovirt-engine/setup"

LOOK = """
LC_ALL=C; export LC_ALL
manager=$(command -v dnf || command -v yum) && echo "manager=${manager##*/}"
for name in ovirt-engine ovirt-engine-setup; do
  version=$(rpm -q --qf '%{VERSION}-%{RELEASE}' "$name") && echo "$name=$version"
done
engine-upgrade-check >/dev/null 2>&1; echo "upgrade_check=$?"
if command -v needs-restarting >/dev/null; then
  needs-restarting -r >/dev/null 2>&1 || echo reboot=yes
fi
[ -n "$manager" ] || exit 0
out=$("$manager" -q check-update "$1" 2>&1); echo "setup_update=$?"; echo "$out"
echo @
out=$("$manager" -q check-update 2>&1); echo "check_update=$?"; echo "$out"
"""
BACKUP = """
umask 077
mkdir -p -- "$(dirname -- "$1")" || exit
engine-backup --mode=backup --scope=all --file="$1.new" --log="$1.log" && mv -- "$1.new" "$1"
"""
CHECKSUM = '[ -s "$1" ] && sha256sum -- "$1"'
LAST_LOG = """
log=$(ls -t "$1"/*.log 2>/dev/null | head -n 1); [ -n "$log" ] || exit 0
tail -n 5 "$log"
"""


class EngineStepFailed(Exception):
    """A step in the engine VM did not come to what it is for; the message says what to look at."""


@dataclass(frozen=True, slots=True)
class EngineLook:
    """The engine VM's packages at one moment."""

    version: str
    setup_version: str
    manager: str
    setup_pending: tuple[str, ...]
    pending: tuple[str, ...]
    upgrade_available: bool
    wants_reboot: bool

    @property
    def done(self) -> bool:
        """Return whether nothing is left to do."""
        pending = self.setup_pending or self.pending
        return not (self.upgrade_available or pending or self.wants_reboot)


def engine_shell(cluster: str) -> Shell | None:
    """Return the engine VM's shell, or None where the inventory does not say how to reach it."""
    if world().inventory.cluster(cluster).engine is None:
        return None
    return world().shell(cluster, ENGINE)


def look_at_engine(cluster: str) -> EngineLook | None:
    """Return how the engine VM's packages are, or None where there is no way in.

    Raises CheckRefused when it has no package manager or no engine.
    """
    shell = engine_shell(cluster)
    if shell is None:
        return None
    argv = sh(LOOK, SETUP_PACKAGES)
    ran = shell.run(argv, timeout_seconds=limit("repository_seconds"))
    setup, _, everything = ran.stdout.partition("\n@\n")
    facts = dict(line.split("=", 1) for line in ran.stdout.splitlines() if "=" in line)
    missing = [name for name in ("manager", "ovirt-engine") if name not in facts]
    codes = {facts.get("setup_update"), facts.get("check_update")}
    if missing or not codes <= {"0", "100"}:
        raise CheckRefused(
            f"the engine VM: {', '.join(missing) or 'check-update'} is missing or does not work: "
            f"{(ran.stderr or ran.stdout).strip()[-300:]}",
            "log in there and look at its packages and repositories",
        )
    return EngineLook(
        version=facts["ovirt-engine"],
        setup_version=facts.get("ovirt-engine-setup", "unknown"),
        manager=facts["manager"],
        setup_pending=pending_in(setup.partition("setup_update=")[2]),
        pending=pending_in(everything.partition("check_update=")[2]),
        upgrade_available=facts.get("upgrade_check") == str(UPGRADE_AVAILABLE),
        wants_reboot=facts.get("reboot") == "yes",
    )


def backup_path() -> str:
    """Return where the run in force keeps the engine's backup, in the engine VM."""
    run = current_run()
    return f"{BACKUPS}/{run.run_id if run else RUN}.backup"


@change
def back_up_engine(site: Site) -> Outcome:
    """Let the engine back itself up, and copy that out of its VM, before it is changed.

    Raises EngineStepFailed, CopyDiffers.
    """
    look, this = look_at_engine(site.cluster), next_issue(ENGINE, "back_up_engine")
    if look is None or (look.done and not this.under_way):
        return Outcome.ALREADY
    shell, path = world().shell(site.cluster, ENGINE), backup_path()
    within = limit("engine_backup_seconds")
    there = _backup_sha256(shell, path, within) if this.again and not this.under_way else ""
    if there:
        copy_out(shell, path, there, within_seconds=within)
        return Outcome.CHANGED
    ran = run_once(
        shell, sh(BACKUP, path), step=this.name, timeout_seconds=within, accept=range(256)
    )
    sha256 = _backup_sha256(shell, path, within)
    if ran.exit_code != 0 or not sha256:
        raise EngineStepFailed(
            f"engine: `engine-backup` ended with exit code {ran.exit_code} and left no backup at"
            f" {path}: {ran.stdout.strip()[-500:]}; see to it there, then retry the run"
        )
    copy = copy_out(shell, path, sha256, within_seconds=within)
    log().info("engine: backup %s, SHA-256 %s; its copy: %s", path, sha256, copy or "none")
    return Outcome.CHANGED


@change
def update_engine_setup(site: Site) -> Outcome:
    """Update engine-setup's own packages in the engine VM. Raises EngineStepFailed."""
    look = look_at_engine(site.cluster)
    manager = "" if look is None else look.manager
    return _in_engine(
        site,
        "update_engine_setup",
        (manager, "-y", "update", SETUP_PACKAGES),
        within="update_seconds",
        missing=lambda look: ", ".join(look.setup_pending),
    )


@change
def run_engine_setup(site: Site) -> Outcome:
    """Run engine-setup without questions; its own log says whether it came to its end.

    Raises CheckRefused when global maintenance is no longer on, EngineStepFailed.
    """
    return _in_engine(
        site,
        "run_engine_setup",
        ("engine-setup", "--accept-defaults"),
        within="engine_setup_seconds",
        missing=lambda look: f"the engine, {look.version}" if look.upgrade_available else "",
        proof=SUCCESS,
    )


@change
def update_engine_packages(site: Site) -> Outcome:
    """Update the engine VM's other packages. Raises EngineStepFailed."""
    look = look_at_engine(site.cluster)
    manager = "" if look is None else look.manager
    return _in_engine(
        site,
        "update_engine_packages",
        (manager, "-y", "update"),
        within="update_seconds",
        missing=lambda look: ", ".join(look.pending),
    )


def _backup_sha256(shell: Shell, path: str, within_seconds: float) -> str:
    """Return the checksum of a backup that holds something; empty if there is none."""
    seen = shell.run(sh(CHECKSUM, path), timeout_seconds=within_seconds)
    return seen.stdout.split()[0] if seen.exit_code == 0 and seen.stdout.split() else ""


def _in_engine(
    site: Site,
    step: str,
    argv: tuple[str, ...],
    *,
    within: str,
    missing: Callable[[EngineLook], str],
    proof: str = "",
) -> Outcome:
    """Run a command in the engine VM under global maintenance until nothing is missing."""
    look, this = look_at_engine(site.cluster), next_issue(ENGINE, step)
    if look is None:
        return Outcome.ALREADY
    if not this.under_way and not missing(look):
        return Outcome.CHANGED if this.again else Outcome.ALREADY
    shell = world().shell(site.cluster, ENGINE)
    _require_maintenance(site, this.name, shell)
    ran = run_once(shell, argv, step=this.name, timeout_seconds=limit(within), accept=range(256))
    said = ran.stdout
    if proof:
        said += shell.run(sh(LAST_LOG, LOGS), timeout_seconds=limit("look_seconds")).stdout
    after = look_at_engine(site.cluster)
    left = "" if after is None else missing(after)
    if ran.exit_code != 0 or left or proof not in said:
        raise EngineStepFailed(
            f"engine: `{' '.join(argv)}` ended with exit code {ran.exit_code}; still to be "
            f"upgraded: {left or 'nothing'}; it said: {said.strip()[-500:]}. All of it is in "
            f"{ran.place} there. What to do: correct it there, then retry the run"
        )
    return Outcome.CHANGED


def _require_maintenance(site: Site, step: str, shell: Shell) -> None:
    """Require global maintenance before anything is sent to the engine. Raises CheckRefused.

    The engine stops while it is set up: HA would take it for broken, and restart its VM.
    """
    if planning() is not None or claimed(shell, step=step):
        return
    if not maintenance_flag(site.read(site.witness)):
        raise CheckRefused(
            "global maintenance is no longer on", "nothing was sent; start a new run"
        )
