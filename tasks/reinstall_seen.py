"""Signs of life: what a host, and the others of its cluster, see of whiteboards and lockspaces."""

from dataclasses import dataclass

from tasks.env import Shell, ShellError, world
from tasks.hosts import host_names, sh
from tasks.limits import limit
from tasks.links import searched
from tasks.metadata import METADATA
from tasks.refusal import CheckRefused
from tasks.reinstall import Remains
from tasks.runs import log
from tasks.witnesses import ReadFailed, live_ids, read_raw, records, shape_of

WHITEBOARD = f"hosted-engine.{METADATA}"
WHO = ("sh", "-c", "hostname; hostname -f 2>/dev/null; exit 0")
# `sanlock client host_status` prints "ID timestamp T" for each host that it has seen in use.
HOST_STATUS = r"""
PATH=$PATH:/usr/sbin:/sbin
for name in "$@"; do
  said=$(sanlock client host_status -s "$name") || exit
  printf '%s\n' "$said" | sed -n "s|^\([0-9]*\) timestamp \([0-9]*\).*|$name \1 \2|p"
done
"""


@dataclass(frozen=True, slots=True)
class Whiteboard:
    """A whiteboard that a host can see, and who writes to it."""

    seen_by: str
    path: str
    storage_domain: str
    live: tuple[int, ...]
    names: tuple[str, ...]  # "2: h2 (EngineUp)", of every readable record
    ids: tuple[int, ...]
    hostnames: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """What can be seen of whiteboards and lockspaces, at two moments."""

    whiteboards: tuple[Whiteboard, ...]
    own_names: tuple[str, ...]
    live_in_lockspaces: tuple[str, ...]  # "hosted-engine: host id 2"
    silent: tuple[str, ...]  # why another host of the inventory could not be asked


def look_twice(remains: Remains) -> Seen:
    """Return who writes to the whiteboards and renews leases.

    The leases are the host's own; the whiteboards are those that any host of the inventory sees:
    a host whose storage is not connected sees nothing of the cluster that it belongs to. Raises
    CheckRefused when sanlock there does not say who lives.
    """
    shell = world().shell(remains.cluster, remains.host)
    names = sorted({each.name for each in remains.lockspaces})
    before, silent = _boards_by_host(remains)
    leases = _leases(shell, names)
    quiet_seconds = limit("quiet_seconds")
    log().info("%s: looking again in %.0f s, for signs of life", remains.host, quiet_seconds)
    world().clock.sleep(quiet_seconds)
    boards = []
    for host, read in before.items():
        try:
            boards += [
                _board(host, path, was, _again(remains, host, path, was)) for path, was in read
            ]
        except ShellError as error:
            silent.append(str(error))
    own = {each.name: each.host_id for each in remains.lockspaces}
    now = _leases(shell, names)
    renewed = [
        f"{name}: host id {host_id}"
        for (name, host_id), stamp in now.items()
        if stamp != leases.get((name, host_id)) and host_id != own.get(name)
    ]
    said = shell.run(WHO, timeout_seconds=limit("look_seconds")).stdout.split()
    return Seen(tuple(boards), tuple(dict.fromkeys(said)), tuple(renewed), tuple(silent))


def life_sign(remains: Remains, seen: Seen) -> str | None:
    """Return what shows that the host is part of a cluster that lives or could, or None."""
    host = remains.host
    for board in seen.whiteboards:
        problem = _life_on(remains, board, seen.own_names)
        if problem is not None:
            return problem
    if seen.live_in_lockspaces:
        return (
            f"sanlock on {host} has joined lockspaces with live peers:"
            f" {', '.join(seen.live_in_lockspaces)}"
        )
    if engine_answers(remains):
        return f"the engine VM runs on {host} and the engine answers"
    return None


def engine_answers(remains: Remains) -> bool:
    """Return whether the engine VM runs on the host and the engine in it answers."""
    if not any(vm.runs for vm in remains.own_vms):
        return False
    shell = world().shell(remains.cluster, remains.host)
    argv = ("hosted-engine", "--check-liveliness")
    return shell.run(argv, timeout_seconds=limit("look_seconds")).exit_code == 0


def seen_markdown(seen: Seen) -> list[str]:
    """Return what was seen, in Markdown."""
    lines = [
        f"- whiteboard that {each.seen_by} sees: `{each.path}`, published:"
        f" {', '.join(each.names) or 'nothing that can be read'};"
        f" live: {', '.join(map(str, each.live)) or 'none'}"
        for each in seen.whiteboards
    ]
    silent = (f"- **could not be asked what it sees: {each}**" for each in seen.silent)
    return [*(lines or ["- whiteboards that any host sees: none"]), *silent]


def _life_on(remains: Remains, board: Whiteboard, own_names: tuple[str, ...]) -> str | None:
    """Return what a whiteboard says against a failed installation, or None."""
    host = remains.host
    own_id = remains.claims.host_id
    own_id = own_id or world().inventory.cluster(remains.cluster).host(host).host_id
    where = board.path if board.seen_by == host else f"{board.path}, which {board.seen_by} sees"
    others = [host_id for host_id in board.live if host_id != own_id]
    if own_id in board.live and (board.storage_domain != remains.claims.storage_domain or others):
        return (
            f"{host} is live as host id {own_id} on {where}"
            f" (live there: {', '.join(map(str, board.live))})"
        )
    told = list(zip(board.ids, board.hostnames, board.names, strict=True))
    mine = [name for n, hostname, name in told if n == own_id or hostname in own_names]
    theirs = [name for _, _, name in told if name not in mine]
    # Also where nobody lives: a cluster that is down has its only trace there.
    if mine and theirs:
        return (
            f"{host} has published on {where} ({', '.join(mine)}), and so have others:"
            f" {', '.join(theirs)}"
        )
    return None


def _boards_by_host(
    remains: Remains,
) -> tuple[dict[str, list[tuple[str, bytes | None]]], list[str]]:
    """Return what each host reads of the whiteboards that it sees, and who could not be asked."""
    found: dict[str, list[tuple[str, bytes | None]]] = {}
    silent = []
    for name in dict.fromkeys([remains.host, *host_names(remains.cluster)]):
        shell = world().shell(remains.cluster, name)
        try:
            found[name] = [(path, _read(shell, path, n)) for path, n in _whiteboards(shell).items()]
        except (ShellError, CheckRefused) as error:
            if name == remains.host:
                raise
            silent.append(str(error))
    return found, silent


def _again(remains: Remains, host: str, path: str, was: bytes | None) -> bytes | None:
    """Return a whiteboard that was whole when it was read before, read anew."""
    if was is None:
        return None
    return _read(world().shell(remains.cluster, host), path, len(was))


def _whiteboards(shell: Shell) -> dict[str, int]:
    found = {}
    for line in searched(shell, WHITEBOARD, limit("look_seconds")):
        match line.split("\t"):
            case ["found", link, _, kind, size] if kind != "missing" and size.isdigit():
                found[link] = int(size)
    return found


def _read(shell: Shell, path: str, size_bytes: int) -> bytes | None:
    """Return a whiteboard, or None for one that is not whole: its installation broke off."""
    try:
        shape_of(size_bytes)
        return read_raw(shell, path, size_bytes, timeout_seconds=limit("look_seconds"))
    except (ReadFailed, ValueError):
        return None


def _board(host: str, path: str, before: bytes | None, after: bytes | None) -> Whiteboard:
    domain = path.split("/")[-3]
    if before is None or after is None:
        return Whiteboard(host, path, domain, (), (), (), ())
    told = records(after)
    return Whiteboard(
        seen_by=host,
        path=path,
        storage_domain=domain,
        live=live_ids(before, after),
        names=tuple(f"{n}: {e.hostname} ({e.state or 'no state'})" for n, e in told.items()),
        ids=tuple(told),
        hostnames=tuple(each.hostname for each in told.values()),
    )


def _leases(shell: Shell, names: list[str]) -> dict[tuple[str, int], int]:
    if not names:
        return {}
    ran = shell.run(sh(HOST_STATUS, *names), timeout_seconds=limit("look_seconds"))
    if ran.exit_code != 0:
        said = (ran.stderr or ran.stdout).strip()[-300:]
        raise CheckRefused(
            f"{ran.host}: sanlock does not say who lives in {', '.join(names)}: {said}",
            "look there with sanlock client status, and run this again",
        )
    lines = (line.split(" ") for line in ran.stdout.splitlines())
    return {(name, int(host_id)): int(stamp) for name, host_id, stamp in lines}
