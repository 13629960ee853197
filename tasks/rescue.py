"""Boot the engine VM from a rescue medium: plan, edited vm.conf, start, and shutdown again."""

from dataclasses import dataclass
from hashlib import sha256

from tasks.hosts import look_at_hosts, sh
from tasks.limits import limit
from tasks.maintenance_checks import VM_CONF
from tasks.metadata import Target
from tasks.migration import engine_host
from tasks.recorded import Outcome, change, check, wait
from tasks.refusal import CheckRefused
from tasks.rescue_conf import RescueConfError, boots_from, medium_in, rescue_conf, serial_log
from tasks.rescue_power import (
    DOWN,
    EVERY_SECONDS,
    ask_to_shut_down,
    cut_power,
    down_or_host,
    not_down,
    start_vm,
)
from tasks.run_site import Site
from tasks.runs import current_run, log
from tasks.steps import run_once
from tasks.waiting import wait_until

FOLDER = "/var/lib/hosted-engine-runbooks/rescue"
# Readable for root is not enough: oVirt's QEMU runs as the user qemu.
LOOK_AT_MEDIUM = """
[ -f "$1" ] || [ -b "$1" ] || { echo "$1 is not there" >&2; exit 66; }
if id qemu >/dev/null 2>&1 && ! runuser -u qemu -- test -r "$1"
then echo "the user qemu cannot read $1" >&2; exit 77; fi
stat -L -c %s -- "$1"
"""
SIZE = 'stat -c %s -- "$1" 2>/dev/null || echo 0'
WRITE_CONF = """
umask 027; mkdir -p "${1%/*}" && printf '%s' "$2" >"$1.new" && chmod 0640 "$1.new" || exit
chown vdsm:kvm "$1.new" 2>/dev/null
mv "$1.new" "$1" && sha256sum <"$1"
"""


@dataclass(frozen=True, slots=True)
class RescuePlan:
    """What is booted where, with which vm.conf, and where the engine VM runs before."""

    medium: str
    medium_bytes: int
    conf_path: str
    conf_text: str
    running: str  # a host, or `down`
    console_log: str = ""  # where libvirt copies the serial console to, on the host
    console_bytes: int = 0  # of it, before anything was done
    console_says: str = ""  # what it says when the medium is up, if a person knows

    @property
    def sha256(self) -> str:
        """The checksum of the edited vm.conf."""
        return sha256(self.conf_text.encode()).hexdigest()


@check
def require_rescue_host(cluster: str, target: Target, host: str | None) -> Site:
    """Require the host that boots the medium: the chosen one, or that which runs the engine VM.

    Its agent runs and it is not in local maintenance, as it also sets global maintenance. Raises
    CheckRefused.
    """
    looks = look_at_hosts(cluster, limit("look_seconds"))
    names = [each.host for each in looks]
    chosen = host or engine_host(looks) or next((e.host for e in looks if e.agent == "active"), "")
    if chosen not in names:
        raise CheckRefused(f"no host {chosen!r} can be taken", f"choose of {', '.join(names)}")
    here = next(each for each in looks if each.host == chosen)
    if here.agent != "active" or here.local_maintenance:
        raise CheckRefused(
            f"{chosen}: its agent is {here.agent}, local maintenance is "
            f"{'on' if here.local_maintenance else 'off'}",
            "choose a host whose agent runs and that is not in local maintenance",
        )
    others = tuple(name for name in names if name != chosen)
    return Site(cluster, target, chosen, others[0] if others else chosen, others)


@check
def require_rescue_plan(site: Site, medium: str, console_says: str, menu: bool) -> RescuePlan:
    """Require a medium that QEMU reads, and a vm.conf that can be edited. Raises CheckRefused."""
    return _plan(site, medium, console_says, menu)


@check
def require_same_plan(site: Site, plan: RescuePlan, menu: bool) -> str:
    """Require that medium and engine VM are as approved; returns where the VM runs.

    Raises CheckRefused.
    """
    now = _plan(site, plan.medium, plan.console_says, menu)
    if (now.medium_bytes, now.running) != (plan.medium_bytes, plan.running):
        raise CheckRefused(
            f"approved was a medium of {plan.medium_bytes} bytes with the engine VM on "
            f"{plan.running}; now it is {now.medium_bytes} bytes and {now.running}",
            "start a new run",
        )
    return now.running


@change
def write_rescue_conf(site: Site, plan: RescuePlan) -> Outcome:
    """Write the edited copy of vm.conf; the host's own is never touched. Raises StepFailed."""
    ran = run_once(
        site.shell(site.actor),
        sh(WRITE_CONF, plan.conf_path, plan.conf_text),
        step="write_rescue_conf",
        timeout_seconds=limit("look_seconds"),
    )
    if not ran.stdout.startswith(plan.sha256):
        raise RescueConfError(f"{site.actor}: {plan.conf_path} has another checksum: {ran.stdout}")
    return Outcome.CHANGED


@change
def start_rescue(site: Site, plan: RescuePlan) -> Outcome:
    """Start the VM with the edited copy. Its proof is wait_until_rescue_boots.

    Raises CheckRefused when it runs elsewhere, VmNotStarted.
    """
    return start_vm(site, site.actor, plan.conf_path, step="start_rescue")


@change
def shut_down_rescue(site: Site, host: str) -> Outcome:
    """Ask the rescue system to shut down; it is not down yet when this returns."""
    return ask_to_shut_down(site, host, "shut_down_rescue")


@wait(foretold=lambda site: DOWN)
def wait_until_rescue_ends(site: Site) -> str:
    """Wait for the shutdown's end; returns `down`, or the host that still runs the VM."""
    return down_or_host(site)


@change
def cut_rescue_power(site: Site, running: str) -> Outcome:
    """Cut the power of a rescue system that does not heed its button. Raises VmNotDown."""
    return cut_power(site, running, "cut_rescue_power")


@wait
def wait_until_rescue_is_down(site: Site) -> str:
    """Wait until the VM is nowhere: no domain, no lease. Raises TimedOut."""
    wait_until(
        "the rescue system is down everywhere",
        lambda: not_down(site),
        timeout_seconds=limit("down_seconds"),
        every_seconds=EVERY_SECONDS,
        progress=log().info,
    )
    return f"no domain and no lease on {', '.join(site.hosts)}"


def _plan(site: Site, medium: str, console_says: str, menu: bool) -> RescuePlan:
    shell, seconds = site.shell(site.actor), limit("look_seconds")
    found = shell.run(sh(LOOK_AT_MEDIUM, medium), timeout_seconds=seconds)
    if found.exit_code != 0 or not found.stdout.strip().isdigit():
        raise CheckRefused(
            f"{site.actor}: {found.stderr.strip() or 'no size'}",
            "put the image where QEMU may read it, such as /var/tmp, labelled virt_content_t",
        )
    own = shell.run(("cat", VM_CONF), timeout_seconds=seconds)
    if own.exit_code != 0:
        raise CheckRefused(f"{site.actor}: {own.stderr.strip()}", "start ovirt-ha-agent there")
    try:
        text = rescue_conf(own.stdout, medium, menu=menu)
        if boots_from(text) != medium or medium_in(own.stdout) == medium:
            raise RescueConfError(f"{medium} is in {VM_CONF} already, or does not come first")
        console_log = serial_log(own.stdout)
        if console_says and not console_log:
            raise RescueConfError("the VM has no serial console that libvirt keeps a log of")
    except RescueConfError as error:
        raise CheckRefused(
            f"{site.actor}: {VM_CONF}: {error}", "correct it, or choose other parameters"
        ) from error
    size = shell.run(sh(SIZE, console_log), timeout_seconds=seconds).stdout.strip()
    run = current_run()
    path = f"{FOLDER}/{run.run_id if run else 'no-run'}.conf"
    running = engine_host(site.look_at_all()) or DOWN
    return RescuePlan(
        medium, int(found.stdout), path, text, running, console_log, int(size or 0), console_says
    )
