"""The checks before a clean reinstall: it must be a failed installation, and nobody's but its."""

from dataclasses import dataclass
from shlex import quote

from tasks.checks import FREE_SPACE, available_kib
from tasks.env import Shell, ShellError, world
from tasks.hosts import sh
from tasks.inventory import InventoryError
from tasks.limits import limit
from tasks.metadata import FIND_TARGET, LINKS
from tasks.recorded import check
from tasks.refusal import CheckRefused
from tasks.reinstall import Remains
from tasks.reinstall_look import remains_of
from tasks.runs import log
from tasks.witnesses import ReadFailed, live_ids, read_raw, records, shape_of

SPARE_KIB = 64 * 1024
# Under its real name: what is on the list of removal may be named in other ways, too.
FIND_ANSWERS = '[ -f "$1" ] && readlink -f -- "$1"'
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
    """A whiteboard that the host can see, and who writes to it."""

    path: str
    storage_domain: str
    live: tuple[int, ...]
    names: tuple[str, ...]  # "2: h2 (EngineUp)", of every readable record
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a host can see of whiteboards and lockspaces, at two moments."""

    whiteboards: tuple[Whiteboard, ...]
    own_names: tuple[str, ...]
    live_in_lockspaces: tuple[str, ...]  # "hosted-engine: host id 2"


@check
def require_host_to_clean(cluster: str, host: str) -> str:
    """Require that the host is in the inventory and answers; returns its name. Raises CheckRefused.

    The cluster need not be healthy, nor its other hosts be up.
    """
    try:
        world().inventory.cluster(cluster).host(host)
        ran = world().shell(cluster, host).run(WHO, timeout_seconds=limit("look_seconds"))
    except (InventoryError, ShellError) as error:
        raise CheckRefused(
            str(error), "name a host of the inventory that can be reached"
        ) from error
    return (ran.stdout.split() or [host])[0]


@check
def require_failed_install(
    remains: Remains, purge_storage: bool, remove_packages: bool, answer_file: str | None
) -> str:
    """Require that something is left, on a host where it may be removed. Raises CheckRefused."""
    _require_own_host(remains)
    if remove_packages and answer_file:
        raise CheckRefused(
            "a deployment needs the packages that are to be removed",
            "remove them in one run, install them, then deploy with another",
        )
    if answer_file is not None:
        _require_answers(remains, answer_file)
    if remains.empty and not (purge_storage or (remove_packages and remains.packages)):
        raise CheckRefused(
            f"nothing to clean on {remains.host}: no file, VM, unit or lockspace of an install",
            "run hosted-engine --deploy",
        )
    return remains.claims.storage_domain


def _require_own_host(remains: Remains) -> None:
    """Require a host that is no image, and runs no VM but hosted engine's."""
    host = remains.host
    if remains.is_node:
        raise CheckRefused(
            f"{host} is an oVirt Node: its packages and files are one image",
            "install the node anew from its ISO",
        )
    if remains.foreign_vms:
        names = ", ".join(vm.name for vm in remains.foreign_vms)
        raise CheckRefused(
            f"{host} runs VMs that are not hosted engine's: {names}",
            "move them away or shut them down",
        )


def _require_answers(remains: Remains, answer_file: str) -> None:
    """Require answers that are there, and still are when the list has been removed."""
    shell = world().shell(remains.cluster, remains.host)
    ran = shell.run(sh(FIND_ANSWERS, answer_file), timeout_seconds=limit("look_seconds"))
    place = ran.stdout.strip()
    if ran.exit_code != 0 or not place:
        raise CheckRefused(
            f"{remains.host}: there is no answer file {answer_file}",
            "name a file of the host's that is there",
        )
    listed = [e.path for e in remains.items if f"{place}/".startswith(f"{e.path}/")]
    if listed:
        raise CheckRefused(
            f"{remains.host}: {answer_file} is in {listed[0]}, which is on the list of removal",
            f"copy it to a place of its own (install -m 600 {quote(answer_file)}"
            " /root/answers.conf), and name that",
        )


@check
def require_not_live(remains: Remains) -> Seen:
    """Require that the host is part of no living cluster; returns what was seen.

    Whiteboards and lockspaces are looked at twice, longer apart than two writes of an agent and
    two renewals of a lease. Raises CheckRefused.
    """
    seen = look_twice(remains)
    problem = life_sign(remains, seen)
    if problem is not None:
        raise CheckRefused(
            problem,
            "this is no failed installation: take the host out of the cluster through the engine "
            "(maintenance, then undeploy)",
        )
    return seen


@check
def require_archive_space(remains: Remains, directory: str) -> int:
    """Require room for the archive; returns the free KiB. Raises CheckRefused."""
    shell = world().shell(remains.cluster, remains.host)
    ran = shell.run(sh(FREE_SPACE, directory), timeout_seconds=limit("look_seconds")).checked()
    free_kib = available_kib(ran)
    needed_kib = SPARE_KIB + sum(e.size_bytes for e in remains.items if e.kind == "file") // 1024
    if free_kib < needed_kib:
        raise CheckRefused(
            f"{remains.host}: {directory} has {free_kib} KiB free, {needed_kib} are needed",
            "free some space there or choose another backup_directory",
        )
    return free_kib


@check
def require_still_failed(remains: Remains) -> str:
    """Require that all is as it was approved. Raises CheckRefused."""
    now = remains_of(remains.cluster, remains.host)
    new = sorted(set(now.left()) - set(remains.left()))
    if now.foreign_vms or new:
        names = [f"VM {vm.name}" for vm in now.foreign_vms]
        raise CheckRefused(
            f"{remains.host} is not as it was approved: {', '.join([*names, *new])}",
            "start a new run, which lists what is there now",
        )
    problem = life_sign(remains, look_twice(remains))
    if problem is not None:
        raise CheckRefused(problem, "nothing was removed; look at the cluster")
    return remains.host


def look_twice(remains: Remains) -> Seen:
    """Return who writes to the whiteboards and renews leases that the host can see."""
    shell = world().shell(remains.cluster, remains.host)
    paths = _whiteboards(shell)
    names = sorted({each.name for each in remains.lockspaces})
    before = {path: _read(shell, path, size) for path, size in paths.items()}
    leases = _leases(shell, names)
    quiet_seconds = limit("quiet_seconds")
    log().info("%s: looking again in %.0f s, for signs of life", remains.host, quiet_seconds)
    world().clock.sleep(quiet_seconds)
    boards = [_board(p, before[p], _read(shell, p, size)) for p, size in paths.items()]
    own = {each.name: each.host_id for each in remains.lockspaces}
    now = _leases(shell, names)
    renewed = [
        f"{name}: host id {host_id}"
        for (name, host_id), stamp in now.items()
        if stamp != leases.get((name, host_id)) and host_id != own.get(name)
    ]
    said = shell.run(WHO, timeout_seconds=limit("look_seconds")).stdout.split()
    return Seen(tuple(boards), tuple(dict.fromkeys(said)), tuple(renewed))


def life_sign(remains: Remains, seen: Seen) -> str | None:
    """Return what shows that the host is part of a living cluster, or None."""
    host, failed = remains.host, remains.claims.storage_domain
    own_id = remains.claims.host_id
    own_id = own_id or world().inventory.cluster(remains.cluster).host(host).host_id
    for board in seen.whiteboards:
        others = [host_id for host_id in board.live if host_id != own_id]
        mine = own_id in board.live
        if mine and (board.storage_domain != failed or others):
            return (
                f"{host} is live as host id {own_id} on {board.path}"
                f" (live there: {', '.join(map(str, board.live))})"
            )
    if seen.live_in_lockspaces:
        return (
            f"sanlock on {host} has joined lockspaces with live peers:"
            f" {', '.join(seen.live_in_lockspaces)}"
        )
    if any(vm.runs for vm in remains.own_vms) and _engine_answers(remains):
        return f"the engine VM runs on {host} and the engine answers"
    return None


def _engine_answers(remains: Remains) -> bool:
    shell = world().shell(remains.cluster, remains.host)
    argv = ("hosted-engine", "--check-liveliness")
    return shell.run(argv, timeout_seconds=limit("look_seconds")).exit_code == 0


def _whiteboards(shell: Shell) -> dict[str, int]:
    ran = shell.run(sh(FIND_TARGET, LINKS, ""), timeout_seconds=limit("look_seconds"))
    found = {}
    for line in ran.stdout.splitlines():
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


def _board(path: str, before: bytes | None, after: bytes | None) -> Whiteboard:
    domain = path.split("/")[-3]
    if before is None or after is None:
        return Whiteboard(path, domain, (), (), ())
    told = records(after)
    names = tuple(f"{n}: {each.hostname} ({each.state or 'no state'})" for n, each in told.items())
    return Whiteboard(path, domain, live_ids(before, after), names, tuple(told))


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
