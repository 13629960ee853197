"""The outside witness: what every host says and what the storage says, read one by one.

Unlike a runbook's checks nothing here refuses: a host that cannot be asked is part of what is seen.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tasks.env import Shell, ShellError, World, use_world, world
from tasks.hosts import MOST_AT_ONCE, HostLook, host_names, look_at_host, sh
from tasks.limits import limit
from tasks.links import LINKS
from tasks.lockspace_area import ALIGN_BYTES, SECTORS, faults, judge_area, ranges, sector_of
from tasks.metadata import CONF
from tasks.recorded import look
from tasks.report import now_text, show
from tasks.whiteboard_table import BlockRow, block_rows, blocks_markdown
from tasks.witnesses import ReadFailed, live_ids, maintenance_flag, read_raw

LOCKSPACE = "hosted-engine"
SAID_CHARACTERS = 500  # of a host that could not look; an anomaly is told in one line
# The configured host id, then where the links lead that the storage domain has.
READ_PLACES = r"""
LC_ALL=C; export LC_ALL
sed -n 's/^host_id=\([0-9]*\)$/id\t\1/p' "$1" 2>/dev/null
find -L "$2" -name 'hosted-engine.metadata' -o -name 'hosted-engine.lockspace' |
while IFS= read -r link; do
  target=$(readlink -f -- "$link") || { echo "$link leads nowhere" >&2; continue; }
  if [ -b "$target" ]; then size=$(blockdev --getsize64 "$target")
  else size=$(stat -c %s -- "$target"); fi || continue
  printf '%s\t%s\t%s\n' "${link##*.}" "$size" "$link"
done
exit 0
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A whiteboard or lockspace as one host sees it."""

    kind: str  # metadata | lockspace
    path: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class HostSight:
    """One host, or why it could not be asked."""

    host: str
    host_id: int  # the inventory's
    trouble: str = ""
    look: HostLook | None = None
    configured_id: int | None = None
    places: tuple[Place, ...] = ()
    missed: str = ""  # what the host said of places that it could not look at


@dataclass(frozen=True, slots=True)
class StorageSight:
    """What the storage itself holds, read through the first host that could."""

    read_by: str = ""
    trouble: str = ""
    maintenance: bool = False
    rows: tuple[BlockRow, ...] = ()
    live: tuple[int, ...] = ()
    lockspace_faults: dict[str, str] = field(default_factory=dict)  # host ids by fault


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One thing that is wrong; the host is empty where it is the cluster's."""

    kind: str
    host: str
    detail: str

    def __str__(self) -> str:
        """Return it on one line."""
        return f"{self.kind}{f' ({self.host})' if self.host else ''}: {self.detail}"


@look
def read_every_host(cluster: str) -> tuple[HostSight, ...]:
    """Ask every host at once; one that does not answer is noted as such."""
    names = host_names(cluster)
    with ThreadPoolExecutor(max_workers=min(len(names), MOST_AT_ONCE)) as pool:
        here = world()
        look_seconds = limit("look_seconds")
        return tuple(pool.map(lambda name: _sight(here, cluster, name, look_seconds), names))


@look
def read_storage(cluster: str, hosts: tuple[HostSight, ...]) -> StorageSight:
    """Read whiteboard and lockspace around every cache, by the first host that can."""
    troubles = []
    for sight in hosts:
        if sight.look is None:
            continue
        try:
            return _storage(cluster, sight)
        except (ReadFailed, ShellError, ValueError) as error:
            troubles.append(f"{sight.host}: {error}")
    return StorageSight(trouble="; ".join(troubles) or "no host answers")


@look
def read_report(
    cluster: str, hosts: tuple[HostSight, ...], storage: StorageSight, found: tuple[Anomaly, ...]
) -> str:
    """Show what was seen, for people; returns it."""
    lines = [
        f"## {cluster}, seen from outside",
        f"{now_text()}; read by {storage.read_by or 'nobody'}\n",
        *(f"- **{each}**" for each in found or ("nothing is wrong, as far as can be seen",)),
        "\n| host | id | agent | broker | engine VM here | trouble |",
        "|---|---|---|---|---|---|",
        *map(_host_line, hosts),
        "",
        blocks_markdown(storage.rows) if storage.rows else f"No whiteboard: {storage.trouble}",
    ]
    text = "\n".join(lines)
    show("watch", text, f"{cluster}, seen from outside")
    return text


def _host_line(sight: HostSight) -> str:
    now = sight.look
    if now is None:
        return f"| {sight.host} | {sight.host_id} | | | | {sight.trouble.replace('|', ' ')} |"
    return (
        f"| {sight.host} | {sight.configured_id or sight.host_id} | {now.agent} | {now.broker} "
        f"| {now.domain or '-'} | |"
    )


def _sight(here: World, cluster: str, name: str, look_seconds: float) -> HostSight:
    host_id = here.inventory.cluster(cluster).host(name).host_id
    try:
        with use_world(here):
            seen = look_at_host(cluster, name, look_seconds)
            ran = here.shell(cluster, name).run(
                sh(READ_PLACES, CONF, LINKS), timeout_seconds=look_seconds
            )
    except ShellError as error:
        return HostSight(name, host_id, trouble=str(error))
    configured = None
    places = []
    for line in ran.stdout.splitlines():
        match line.split("\t"):
            case ["id", number]:
                configured = int(number)
            case ["metadata" | "lockspace" as kind, size, path] if size.isdigit():
                places.append(Place(kind, path, int(size)))
    missed = "; ".join(ran.stderr.splitlines())[:SAID_CHARACTERS]
    return HostSight(name, host_id, "", seen, configured, tuple(places), missed)


def _storage(cluster: str, sight: HostSight) -> StorageSight:
    """Read it by one host. Raises ReadFailed, ShellError, ValueError."""
    shell, look_seconds = world().shell(cluster, sight.host), limit("look_seconds")
    board = _place(sight, "metadata")

    def read() -> bytes:
        return read_raw(shell, board.path, board.size_bytes, timeout_seconds=look_seconds)

    before = read()
    world().clock.sleep(limit("publish_seconds"))
    after = read()
    return StorageSight(
        read_by=sight.host,
        maintenance=maintenance_flag(after),
        rows=block_rows(after),
        live=live_ids(before, after),
        lockspace_faults=_faults(shell, sight, look_seconds),
    )


def _faults(shell: Shell, sight: HostSight, timeout_seconds: float) -> dict[str, str]:
    """Return what is wrong with the lockspace, with the host ids; nothing if it is sound."""
    try:
        place = _place(sight, "lockspace")
        size_bytes = min(place.size_bytes, ALIGN_BYTES)
        area = read_raw(shell, place.path, size_bytes, timeout_seconds=timeout_seconds)
    except (ReadFailed, ValueError) as error:
        return {str(error): "all"}
    slots = judge_area(area, LOCKSPACE, sector_of(area) or min(SECTORS))
    return {what: ranges(ids) for what, ids in faults(slots).items()}


def _place(sight: HostSight, kind: str) -> Place:
    found = [place for place in sight.places if place.kind == kind]
    if len(found) != 1:
        why = f": {sight.missed}" if sight.missed else ""
        raise ReadFailed(f"{len(found)} times hosted-engine.{kind} below {LINKS}{why}")
    return found[0]


def running(hosts: Sequence[HostSight]) -> list[str]:
    """Return the hosts whose libvirt runs the engine VM; a paused one may be migrating in."""
    return [each.host for each in hosts if each.look and each.look.domain == "running"]
