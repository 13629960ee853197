"""What the sanlock daemon of a host says of a lockspace: its status, its log, its own reading."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tasks.env import Shell
from tasks.hosts import sh

NAME = "hosted-engine"
LOG_LINES = 5000
CODE = re.compile(r" (?:error|result) (-2\d\d)\b")
NAMED = re.compile(r" (s\d+) lockspace ([^: ]+):")
SPACE = re.compile(r" (s\d+) ")

# A colon within a path is written with a backslash (man sanlock). read_leader fills its answer
# with what lay in memory when it could read nothing, so only its first line counts. Without -Z it
# cannot read an area that holds no lease at all; sanlock before 3.7 does not know -Z.
LOOK_AT_SANLOCK = r"""
LC_ALL=C; export LC_ALL
own=$(printf %s "$1" | sed 's/:/\\:/g'); ids=$(printf %s "$2" | sed 's/:/\\:/g')
domain=$3; id=$4; sector=$5; lines=$6
set --; if sanlock help 2>&1 | grep -q -- '-Z 512'; then set -- -Z "$sector" -A 1M; fi
leader() { sanlock direct read_leader -s "$1" $2 2>&1 | sed -n 's/^read_leader done /'"$3"'=/p'; }
echo "daemon=$(systemctl is-active sanlock)"
sanlock client status 2>/dev/null | sed -n 's/^s /space=/p'
leader "hosted-engine:$id:$own:0" "$*" leader
leader "$domain:$id:$ids:0" "$*" domain_leader
tail -n "$lines" /var/log/sanlock.log 2>/dev/null |
  grep -E ' s[0-9]+ lockspace |(error|result) -2[0-9][0-9]' | sed 's/^/log=/'
"""


@dataclass(frozen=True, slots=True)
class SanlockLook:
    """One host's sanlock at one moment; a leader code of 0 is sanlock's "I can read it"."""

    host: str
    daemon: str
    spaces: tuple[str, ...]  # as `sanlock client status` lists lockspaces, without the path
    leader: str
    domain_leader: str
    errors: dict[str, int] = field(default_factory=dict)  # "NAME CODE": how often the log has it

    def lists(self, name: str = NAME) -> bool:
        """Whether the daemon is in a lockspace, or on its way in or out."""
        return any(each.split(":")[0] == name for each in self.spaces)


def look_at_sanlock(
    shell: Shell,
    *,
    paths: tuple[str, str],
    domain: str,
    host_id: int,
    sector_bytes: int,
    timeout_seconds: float,
) -> SanlockLook:
    """Return what a host's sanlock says; `paths` are those of the lockspace and the domain's."""
    argv = sh(LOOK_AT_SANLOCK, *paths, domain, str(host_id), str(sector_bytes), str(LOG_LINES))
    ran = shell.run(argv, timeout_seconds=timeout_seconds)
    told = [line.partition("=") for line in ran.stdout.splitlines()]
    return SanlockLook(
        host=ran.host,
        daemon=_last(told, "daemon"),
        spaces=tuple(_short(text) for key, _, text in told if key == "space"),
        leader=_last(told, "leader"),
        domain_leader=_last(told, "domain_leader"),
        errors=dict(Counter(_errors([text for key, _, text in told if key == "log"]))),
    )


def _errors(lines: list[str]) -> Iterator[str]:
    """Yield "NAME CODE" for each error, the lockspace told by its number of that moment."""
    names: dict[str, str] = {}
    for line in lines:
        if named := NAMED.search(line):
            names[named[1]] = named[2]
        if code := CODE.search(line):
            space = SPACE.search(line)
            by_word = re.search(r" lockspace (\S+) host_id", line)
            name = by_word[1] if by_word else names.get(space[1] if space else "", "?")
            yield f"{name} {code[1]}"


def _last(told: list[tuple[str, str, str]], wanted: str) -> str:
    found = [text for key, _, text in told if key == wanted]
    return found[-1].strip() if found else "unknown"


def _short(text: str) -> str:
    """Return `NAME:ID` of a lockspace: paths are long."""
    return ":".join(text.split(":")[:2])
