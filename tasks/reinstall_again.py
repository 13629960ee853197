"""The last look before each command of a clean reinstall: all is still as it was approved.

What the checks of a run found is recorded, and not looked for again by a later attempt: between
them and a command may lie a power cut, or the hours of a gate. Somebody may have deployed the host
by hand meanwhile. So whatever is about to be removed is looked at right before.
"""

from tasks.env import world
from tasks.hosts import sh
from tasks.limits import limit
from tasks.plan import planning
from tasks.refusal import CheckRefused
from tasks.reinstall import BOOTSTRAP_VM, Remains
from tasks.reinstall_archive import Archive
from tasks.reinstall_look import remains_of
from tasks.reinstall_seen import engine_answers, life_sign, look_twice
from tasks.steps import claimed

# How many groups of `Remains.groups` must be gone already.
NOTHING_GONE, UNITS_GONE, VMS_GONE, LOCKSPACES_GONE, ALL_GONE = range(5)

# A file is compared by what it holds: an agent that still runs writes some of them anew, the same.
AS_ARCHIVED = r"""
LC_ALL=C; export LC_ALL
as_archived() {
  archive=$1; shift
  [ -f "$archive" ] || { echo "there is no archive $archive any more" >&2; return 66; }
  for path in "$@"; do
    [ -f "$path" ] || continue
    kept=$(tar -xOPf "$archive" -- "$path" | sha256sum)
    [ "$kept" = "$(sha256sum <"$path")" ] ||
      { echo "$path is not as it was archived" >&2; return 65; }
  done
}
"""
COMPARE = f'{AS_ARCHIVED}as_archived "$@"\n'


def change_since(remains: Remains, archive: Archive, gone: int = NOTHING_GONE) -> str | None:
    """Return what is not as it was approved, or None. Raises CheckRefused."""
    host = remains.host
    now = remains_of(remains.cluster, host, remains.claims)
    approved = {mark for group in remains.groups[gone:] for mark in group}
    new = [f"VM {vm.name}" for vm in now.foreign_vms]
    new += [mark for group in now.groups for mark in group if mark not in approved]
    if new:
        return f"{host} is not as it was approved: {', '.join(new)}"
    if engine_answers(now):
        return f"the engine VM runs on {host} and the engine answers"
    files = [each.path for each in remains.items if not each.path.startswith(BOOTSTRAP_VM)]
    shell = world().shell(remains.cluster, host)
    ran = shell.run(sh(COMPARE, archive.path, *files), timeout_seconds=limit("archive_seconds"))
    if ran.exit_code != 0:
        return f"{host}: {ran.stderr.strip()[-300:] or f'exit code {ran.exit_code}'}"
    return None


def require_as_approved(
    remains: Remains, archive: Archive, step: str, gone: int = NOTHING_GONE
) -> None:
    """Require, before a step is sent, that all is as it was approved. Raises CheckRefused.

    Signs of life are looked for while the services may run; once they are off, their being on
    again is the sign.
    """
    shell = world().shell(remains.cluster, remains.host)
    if planning() is not None or claimed(shell, step=step):
        return
    problem = change_since(remains, archive, gone)
    if problem is None and gone == NOTHING_GONE:
        problem = life_sign(remains, look_twice(remains))
    if problem is not None:
        raise CheckRefused(
            f"{problem}; {step} was not begun", "start a new run, which lists what is there now"
        )
