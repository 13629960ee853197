"""Who uses the storage of a failed installation: what ties other hosts to it, and who writes."""

from collections.abc import Iterator

from tasks.env import ShellError, world
from tasks.hosts import host_names, sh
from tasks.limits import limit
from tasks.refusal import CheckRefused
from tasks.reinstall import PREPARED, Remains

# What ties a host to the domain: its export mounted, a lockspace, a prepared volume, the VM. A
# daemon that runs and does not answer could hold any of them; one that is off holds none.
READ_TIES = r"""
LC_ALL=C; export LC_ALL; PATH=$PATH:/usr/sbin:/sbin
cut -d' ' -f1,2 /proc/self/mounts | tr ' ' '\n' | grep -xF -e "$1" -e "$4" |
  sed 's/^/mounted there: /'
if command -v sanlock >/dev/null; then
  if said=$(sanlock client status 2>/dev/null); then
    printf '%s\n' "$said" | grep -F -e "$2" | sed 's/^/sanlock there: /'
  else
    case $(systemctl is-active sanlock) in
      inactive|failed|unknown) ;; *) echo "sanlock there does not answer" ;;
    esac
  fi
fi
[ -e "$3$2" ] && echo "it has volumes of it prepared"
if command -v virsh >/dev/null; then
  if names=$(virsh -r list --all --name 2>/dev/null); then
    printf '%s\n' "$names" | grep -qxF HostedEngine &&
      [ "$(virsh -r domstate HostedEngine 2>/dev/null)" != "shut off" ] &&
      echo "it runs the VM HostedEngine"
  else echo "libvirt there does not answer"; fi
fi
exit 0
"""
# Whoever uses the domain renews a lease in it or writes to it: the start of every file, and the
# times of all, are the same twice only if nobody does. Read directly, past this host's cache. What
# cannot be read (a stale handle, an export that squashes root) would look the same for ever.
FINGERPRINT = r"""
LC_ALL=C; export LC_ALL
start_of() {
  dd if="$1" bs=1M count=8 iflag=direct 2>/dev/null || dd if="$1" bs=1M count=8 status=none
}
fingerprint() {
  files=$(find "$1" -type f -print) || return
  each=$(printf '%s\n' "$files" | sort | while IFS= read -r f; do
    [ -n "$f" ] || continue
    stat -c '%s %Y %n' -- "$f" || exit
    sum=$({ { start_of "$f" || echo unreadable >&3; } | sha256sum; } 3>&1) || exit
    case $sum in *unreadable*) exit 1 ;; esac
    printf '%s\n' "$sum"
  done) || return
  printf '%s\n' "$each" | sha256sum | cut -d' ' -f1
}
"""
PRINT = f'{FINGERPRINT}fingerprint "$1"\n'


def require_no_ties(remains: Remains, source: str, mount: str) -> tuple[str, ...]:
    """Require that no other host of the inventory uses the storage; returns who was asked.

    Raises CheckRefused.
    """
    others = [name for name in host_names(remains.cluster) if name != remains.host]
    problems = list(_ties(remains, others, source, mount))
    if problems:
        raise CheckRefused(
            "; ".join(problems),
            "the storage is left alone unless every other host of the inventory can say that it"
            " does not use it: bring it up, or take it out of the inventory",
        )
    return tuple(others)


def fingerprint_of(remains: Remains, directory: str) -> str:
    """Return what changes when somebody writes below the directory. Raises CheckRefused."""
    shell = world().shell(remains.cluster, remains.host)
    ran = shell.run(sh(PRINT, directory), timeout_seconds=limit("purge_seconds"))
    if ran.exit_code != 0:
        said = (ran.stderr or ran.stdout).strip()[-300:] or f"exit code {ran.exit_code}"
        raise CheckRefused(
            f"{remains.host} cannot read all of {directory}, so it cannot tell whether somebody"
            f" writes there: {said}",
            "make it readable for root there, or run this without purge_storage",
        )
    return ran.stdout.strip()


def _ties(remains: Remains, others: list[str], source: str, mount: str) -> Iterator[str]:
    domain = remains.claims.storage_domain
    argv = sh(READ_TIES, source, domain, PREPARED, mount)
    for name in others:
        shell = world().shell(remains.cluster, name)
        try:
            ran = shell.run(argv, timeout_seconds=limit("look_seconds")).checked()
        except ShellError as error:
            yield str(error)
            continue
        yield from (f"{name}: {line}" for line in ran.stdout.splitlines())
