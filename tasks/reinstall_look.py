"""Look for what a failed installation of hosted engine has left on a host."""

import re
from collections.abc import Iterable, Iterator

from tasks.env import Shell, world
from tasks.hosts import sh
from tasks.limits import limit
from tasks.metadata import CONF
from tasks.recorded import look
from tasks.refusal import CheckRefused
from tasks.reinstall import (
    ANSWERS,
    BOOTSTRAP_VM,
    FILES,
    KEPT_ANSWERS,
    PACKAGES,
    PREPARED,
    UNITS,
    Claims,
    Item,
    Lockspace,
    Remains,
    Unit,
    Vm,
    remains_markdown,
)
from tasks.report import show

# Only these keys: conf and answers may hold passwords. `hosted-engine.conf` has the last word, then
# the answers of the installation, then the newest of those that every attempt keeps.
READ_CLAIMS = r"""
keys='(vmid|host_id|domainType|sdUUID|storage)'
names='OVEHOSTED_(STORAGE/(sdUUID|domainType|storageDomainConnection|hostID)|VM/vmUUID)'
[ -f "$1" ] && grep -E "^$keys=" "$1" | sed "s|^|$1	|"
[ -f "$2" ] && grep -E "^$names=" "$2" | sed "s|^|$2	|"
kept=$(ls -1t "$3"answers-*.conf 2>/dev/null | head -n 1)
[ -n "$kept" ] && grep -E "^$names=" "$kept" | sed "s|^|$kept	|"
exit 0
"""

# A link below /var/tmp or in a file's place is nobody's leftover: it is neither listed nor
# followed. virsh -r needs no password where VDSM has set one. A daemon that does not answer is told
# of: silence is not "none". A sanlock that is off has joined nothing.
READ_REMAINS = r"""
LC_ALL=C; export LC_ALL; PATH=$PATH:/usr/sbin:/sbin
bootstrap=$1 prepared=$2 release=$3 units=$4 packages=$5; shift 5
for f in "$@"; do
  [ -f "$f" ] && [ ! -L "$f" ] && printf 'file\t%s\t%s\n' "$(stat -c %s -- "$f")" "$f"
done
for d in "$bootstrap"* "$prepared"; do
  [ -d "$d" ] && [ ! -L "$d" ] &&
    printf 'directory\t%s\t%s\n' "$(du -s --apparent-size -B1 -- "$d" | cut -f1)" "$d"
done
for u in $units; do
  active=$(systemctl is-active "$u" 2>/dev/null); enabled=$(systemctl is-enabled "$u" 2>/dev/null)
  [ -n "$active" ] || printf 'silent\tsystemd (systemctl is-active %s)\n' "$u"
  printf 'unit\t%s\t%s\t%s\n' "$u" "${active:-unknown}" "${enabled:-unknown}"
done
if command -v virsh >/dev/null; then
  names=$(virsh -r list --all --name) || printf 'silent\tlibvirt (virsh -r list)\n'
  printf '%s\n' "$names" | while IFS= read -r name; do
    [ -n "$name" ] && printf 'vm\t%s\t%s\n' "$(virsh -r domstate "$name" 2>/dev/null)" "$name"
  done
fi
if command -v sanlock >/dev/null; then
  if said=$(sanlock client status); then
    printf '%s\n' "$said" | sed -n 's/^\([sr]\) /sanlock\t\1\t/p'
  else
    case $(systemctl is-active sanlock) in
      inactive|failed|unknown) ;; *) printf 'silent\tsanlock (sanlock client status)\n' ;;
    esac
  fi
fi
for p in $packages; do rpm -q --qf 'package\t%{NAME}\n' "$p" 2>/dev/null | grep '^package'; done
if command -v nodectl >/dev/null || grep -qs '^VARIANT_ID="\{0,1\}ovirt-node' "$release"
then printf 'node\tyes\n'; fi
exit 0
"""
OS_RELEASE = "/etc/os-release"
PLAIN = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{7,63}")
_ANSWERED = {
    "OVEHOSTED_STORAGE/sdUUID": "sdUUID",
    "OVEHOSTED_STORAGE/domainType": "domainType",
    "OVEHOSTED_STORAGE/storageDomainConnection": "storage",
    "OVEHOSTED_STORAGE/hostID": "host_id",
    "OVEHOSTED_VM/vmUUID": "vmid",
}


@look
def read_remains(cluster: str, host: str) -> Remains:
    """List what a failed installation has left on the host. Raises CheckRefused."""
    found = remains_of(cluster, host)
    show("remains", remains_markdown(found), f"What a failed installation left on {host}")
    return found


def remains_of(cluster: str, host: str, claims: Claims | None = None) -> Remains:
    """Return what is on the host now; the claims of an earlier look if its files are gone.

    Raises CheckRefused when libvirt, sanlock or systemd there cannot say what runs.
    """
    shell = world().shell(cluster, host)
    look_seconds = limit("look_seconds")
    said = claims or _claims(shell, look_seconds)
    prepared = f"{PREPARED}{said.storage_domain}" if said.storage_domain else ""
    places = (BOOTSTRAP_VM, prepared, OS_RELEASE, " ".join(UNITS), " ".join(PACKAGES))
    ran = shell.run(sh(READ_REMAINS, *places, *FILES), timeout_seconds=look_seconds).checked()
    told = tuple(tuple(line.split("\t")) for line in ran.stdout.splitlines())
    if silent := [what for (what,) in _of(told, "silent", 1)]:
        raise CheckRefused(
            f"{host}: no answer from {', '.join(silent)}: {ran.stderr.strip()[-300:]}",
            "nobody can say what runs there: start it (systemctl status libvirtd sanlock) and run"
            " this again",
        )
    sanlock = [(kind, text) for kind, text in _of(told, "sanlock", 2)]
    return Remains(
        cluster=cluster,
        host=host,
        claims=said,
        items=(
            *(Item("file", path, int(size)) for size, path in _of(told, "file", 2)),
            *(Item("directory", path, int(size)) for size, path in _of(told, "directory", 2)),
        ),
        vms=tuple(Vm(name, state) for state, name in _of(told, "vm", 2)),
        units=tuple(
            Unit(name, active, enabled)
            for name, active, enabled in _of(told, "unit", 3)
            if (active, enabled) != ("inactive", "unknown")
        ),
        lockspaces=tuple(Lockspace(text.split(" ")[0]) for kind, text in sanlock if kind == "s"),
        leases=tuple(text for kind, text in sanlock if kind == "r"),
        packages=tuple(name for (name,) in _of(told, "package", 1)),
        is_node=bool(list(_of(told, "node", 1))),
    )


def _of(told: Iterable[tuple[str, ...]], kind: str, count: int) -> Iterator[tuple[str, ...]]:
    return (line[1:] for line in told if line[0] == kind and len(line) == count + 1)


def _claims(shell: Shell, timeout_seconds: float) -> Claims:
    argv = sh(READ_CLAIMS, CONF, ANSWERS, KEPT_ANSWERS)
    ran = shell.run(argv, timeout_seconds=timeout_seconds).checked()
    found: dict[str, str] = {}
    source = ""
    for line in ran.stdout.splitlines():
        place, _, pair = line.partition("\t")
        key, _, value = pair.partition("=")
        name = _ANSWERED.get(key, key)
        value = value.strip() if name == key else value.partition(":")[2].strip()
        if name not in found and value:
            found[name] = value
            source = source or (place if name == "sdUUID" else "")
    host_id = found.get("host_id", "")
    return Claims(
        source=source,
        storage_domain=_plain(source, found.get("sdUUID", "")),
        domain_type=found.get("domainType", ""),
        storage=found.get("storage", ""),
        host_id=int(host_id) if host_id.isdigit() else None,
        vmid=found.get("vmid", ""),
    )


def _plain(source: str, name: str) -> str:
    """Return the name if it can be part of a path and mean nothing else. Raises CheckRefused."""
    if name and not PLAIN.fullmatch(name):
        raise CheckRefused(f"{source} names the storage domain {name!r}", "correct that file")
    return name
