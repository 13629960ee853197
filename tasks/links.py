"""Search a host's storage for links of a name, and tell where they lead."""

from tasks.env import Shell
from tasks.hosts import sh
from tasks.refusal import CheckRefused

LINKS = "/rhev"

# `stat` names the kind of a file in the host's language. What find cannot read, or not in time, may
# hide what is searched for, and is told; what went away meanwhile, or is a loop, hides nothing. An
# export that squashes root keeps it out of lost+found.
FIND_TARGET = """
LC_ALL=C; export LC_ALL
tell() {
  target=$(readlink -f -- "$2") && kind=$(stat -c %F -- "$target" 2>/dev/null) || kind=missing
  case $kind in
    'block special file') size=$(blockdev --getsize64 "$target") ;;
    missing) size=0 ;;
    *) size=$(stat -c %s -- "$target") ;;
  esac
  printf '%s\\t%s\\t%s\\t%s\\t%s\\n' "$1" "$2" "$target" "$kind" "$size"
}
{
  timeout -s KILL 45 find -L "$1" -name lost+found -prune -o -name "$3" -print; code=$?
  [ "$code" -le 1 ] || echo "cut off with exit code $code"
} 2>&1 | while IFS= read -r line; do
  case $line in
    /*) tell found "$line" ;;
    *': No such file or directory'|*'File system loop detected'*) ;;
    *) printf 'unread\\t%s\\n' "$line" ;;
  esac
done
if [ -n "$2" ]; then tell configured "$2"; fi
"""


def searched(
    shell: Shell, link: str, timeout_seconds: float, *, device: str = ""
) -> tuple[str, ...]:
    """Return what FIND_TARGET says of a link's name on a host, by lines.

    Raises CheckRefused when not all of the storage there could be searched.
    """
    ran = shell.run(sh(FIND_TARGET, LINKS, device, link), timeout_seconds=timeout_seconds)
    lines = tuple(ran.stdout.splitlines())
    unread = [line.partition("\t")[2] for line in lines if line.startswith("unread\t")]
    if unread:
        raise CheckRefused(
            f"{ran.host}: `find -L {LINKS} -name {link}` could not search all: "
            f"{'; '.join(unread)[:500]}",
            "see to that storage there, or unmount it if nothing needs it",
        )
    return lines
