"""The changes of a clean reinstall on the host itself: exactly what was listed, nothing else."""

from collections.abc import Callable
from functools import partial

from tasks.env import world
from tasks.hosts import sh
from tasks.limits import limit
from tasks.recorded import Outcome, change, wait
from tasks.reentry import begun
from tasks.refusal import CheckRefused
from tasks.reinstall import Remains
from tasks.reinstall_again import (
    ALL_GONE,
    AS_ARCHIVED,
    LOCKSPACES_GONE,
    UNITS_GONE,
    VMS_GONE,
    require_as_approved,
)
from tasks.reinstall_archive import Archive
from tasks.reinstall_look import remains_of
from tasks.runs import log
from tasks.steps import run_once
from tasks.waiting import wait_until

EVERY_SECONDS = 2.0
NOT_FOUND = 127

STOP = 'systemctl disable --now "$@"'
# VDSM's libvirt asks for a password, which upstream keeps in this file. HA starts a VM that is
# nowhere defined: it is gone when it ends.
REMOVE_VMS = r"""
auth=$1; shift; uri=qemu:///system
[ -f "$auth" ] && uri="$uri?authfile=$auth"
for vm in "$@"; do
  virsh -c "$uri" destroy "$vm" 2>/dev/null
  names=$(virsh -c "$uri" list --all --name) || exit
  printf '%s\n' "$names" | grep -qxF -e "$vm" || continue
  virsh -c "$uri" undefine --nvram "$vm" || virsh -c "$uri" undefine "$vm" || exit
done
"""
VIRSH_AUTH = "/etc/ovirt-hosted-engine/virsh_auth.conf"
# A lockspace in which something still holds a lease is not left: sanlock would kill the holder.
LEAVE = r"""
PATH=$PATH:/usr/sbin:/sbin
for spec in "$@"; do
  tries=20  # a VM that has just ended gives its lease back within a moment
  while sanlock client status | grep -F "r ${spec%%:*}:"; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || { echo "a lease of ${spec%%:*} is still held" >&2; exit 66; }
    sleep 1
  done
  sanlock client rem_lockspace -s "$spec" || exit
done
"""
# Only names that were listed, one by one: no pattern reaches rm. A name that became a link since is
# not followed, a file that holds something else stays; a file system mounted below a directory is
# not entered.
REMOVE = rf"""{AS_ARCHIVED}
archive=$1; shift
as_archived "$archive" "$@" || exit
for path in "$@"; do
  [ -e "$path" ] || [ -L "$path" ] || continue
  [ ! -L "$path" ] || {{ echo "$path has become a link" >&2; exit 66; }}
  if [ -d "$path" ]; then rm -r --one-file-system -- "$path" || exit
  else rm -- "$path" || exit; fi
done
"""
# Not dnf: it would remove what depends on them, too. rpm refuses instead.
REMOVE_PACKAGES = 'rpm -e -- "$@"'


class NotRemoved(Exception):
    """Something of the list is still there after its removal; raised by the changes."""


@change
def stop_units(remains: Remains, archive: Archive) -> Outcome:
    """Stop the listed units and keep them from starting with the host.

    This, like each change here, raises NotRemoved, and CheckRefused when something is not as it
    was approved.
    """
    step, argv = "stop_units", sh(STOP, *(unit.name for unit in remains.on_units))
    ready = partial(require_as_approved, remains, archive, step)
    return _remove(remains, step, argv, _units, ready)


@change
def remove_engine_vms(remains: Remains, archive: Archive) -> Outcome:
    """End and undefine HostedEngine and HostedEngineLocal. Raises NotRemoved."""
    step, names = "remove_engine_vms", [vm.name for vm in remains.own_vms]
    ready = partial(require_as_approved, remains, archive, step, UNITS_GONE)
    argv = sh(REMOVE_VMS, VIRSH_AUTH, *names)
    return _remove(remains, step, argv, lambda now: [e.name for e in now.own_vms], ready)


@change
def leave_lockspaces(remains: Remains, archive: Archive) -> Outcome:
    """Leave the lockspaces of the failed storage domain, and no other. Raises NotRemoved."""
    step = "leave_lockspaces"
    argv = sh(LEAVE, *(each.spec for each in remains.own_lockspaces))
    ready = partial(require_as_approved, remains, archive, step, VMS_GONE)
    return _remove(remains, step, argv, lambda now: [e.spec for e in now.own_lockspaces], ready)


@change
def remove_listed_files(remains: Remains, archive: Archive) -> Outcome:
    """Remove exactly the listed files and directories. Raises NotRemoved."""
    step = "remove_listed_files"
    argv = sh(REMOVE, archive.path, *(item.path for item in remains.items))
    ready = partial(require_as_approved, remains, archive, step, LOCKSPACES_GONE)
    return _remove(remains, step, argv, lambda now: [e.path for e in now.items], ready)


@change
def remove_named_packages(
    remains: Remains, archive: Archive, remove_packages: bool
) -> Outcome | None:
    """Remove hosted engine's own packages, if that was asked for. Raises NotRemoved."""
    if not remove_packages:
        return None
    step, argv = "remove_named_packages", sh(REMOVE_PACKAGES, *remains.packages)
    ready = partial(require_as_approved, remains, archive, step, ALL_GONE)
    return _remove(remains, step, argv, lambda now: list(now.packages), ready)


@wait
def prove_clean(remains: Remains) -> str:
    """Prove that nothing of the list remains, libvirt works and the host is not deployed."""
    shell = world().shell(remains.cluster, remains.host)
    look_seconds = limit("look_seconds")

    def missing() -> str | None:
        try:
            left = list(remains_of(remains.cluster, remains.host, remains.claims).left())
        except CheckRefused as unanswered:
            return str(unanswered)
        if left:
            return f"still there: {', '.join(left)}"
        if shell.run(("virsh", "-r", "list"), timeout_seconds=look_seconds).exit_code != 0:
            return "libvirt does not answer: systemctl start libvirtd"
        said = shell.run(("hosted-engine", "--check-deployed"), timeout_seconds=look_seconds)
        return None if said.exit_code in (1, NOT_FOUND) else "--check-deployed says deployed"

    wait_until(
        f"{remains.host} clean",
        missing,
        timeout_seconds=limit("clean_seconds"),
        every_seconds=EVERY_SECONDS,
        progress=log().info,
    )
    return "nothing of the list remains; hosted-engine --check-deployed says: not deployed"


@change
def deploy_again(remains: Remains, archive: Archive, answer_file: str | None) -> Outcome | None:
    """Run `hosted-engine --deploy` with an answer file of the host's, if one was named.

    Raises CheckRefused when that file is not there, or the host is not clean any more.
    """
    if answer_file is None:
        return None
    step = "deploy_again"
    shell = world().shell(remains.cluster, remains.host)
    there = shell.run(("test", "-f", answer_file), timeout_seconds=limit("look_seconds"))
    if there.exit_code != 0 and not begun(remains.host, step):
        raise CheckRefused(
            f"{remains.host}: there is no answer file {answer_file}",
            "the host is clean: run hosted-engine --deploy by hand",
        )
    require_as_approved(remains, archive, step, ALL_GONE)
    argv = ("hosted-engine", "--deploy", f"--config-append={answer_file}")
    run_once(shell, argv, step=step, timeout_seconds=limit("deploy_seconds"))
    return Outcome.CHANGED


@wait
def wait_until_deployed(remains: Remains, answer_file: str | None) -> str:
    """Wait until the host says that it is deployed and its agent runs, if it was deployed."""
    if answer_file is None:
        return "not asked for: run hosted-engine --deploy when you are ready"
    shell = world().shell(remains.cluster, remains.host)
    look_seconds = limit("look_seconds")

    def missing() -> str | None:
        said = shell.run(("hosted-engine", "--check-deployed"), timeout_seconds=look_seconds)
        if said.exit_code != 0:
            return (said.stdout + said.stderr).strip() or "not deployed"
        unit = shell.run(("systemctl", "is-active", "ovirt-ha-agent"), timeout_seconds=look_seconds)
        return None if unit.exit_code == 0 else f"ovirt-ha-agent is {unit.stdout.strip()}"

    wait_until(
        f"{remains.host} deployed",
        missing,
        timeout_seconds=limit("deployed_seconds"),
        every_seconds=EVERY_SECONDS,
        progress=log().info,
    )
    return f"{remains.host} is deployed and its agent runs"


def _units(now: Remains) -> list[str]:
    return [f"{unit.name} ({unit.active}, {unit.enabled})" for unit in now.on_units]


def _remove(
    remains: Remains,
    step: str,
    argv: tuple[str, ...],
    left: Callable[[Remains], list[str]],
    ready: Callable[[], None],
) -> Outcome:
    """Run one command unless nothing is left to do, and look again with another one.

    `ready` looks right before the command is sent for the first time, and refuses.
    """

    def now() -> list[str]:
        return left(remains_of(remains.cluster, remains.host, remains.claims))

    if not begun(remains.host, step) and not now():
        return Outcome.ALREADY
    ready()
    shell = world().shell(remains.cluster, remains.host)
    run_once(shell, argv, step=step, timeout_seconds=limit("remove_seconds"))
    if still := now():
        raise NotRemoved(f"{remains.host}: {step}: still there: {', '.join(still)}")
    return Outcome.CHANGED
