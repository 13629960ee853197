"""The checks that many runbooks begin with: each looks, and refuses; none changes anything."""

from itertools import takewhile

from ha.core.record import Verdict
from tasks.env import HostKeyRefused, HostUnreachable, Ran, Shell, ShellError, world
from tasks.hosts import HostLook, host_ids, host_names, look_at_hosts, on_all, sh
from tasks.limits import limit
from tasks.metadata import Target, Volume, find_target, read_volume
from tasks.recorded import check
from tasks.refusal import CheckRefused
from tasks.run_site import Site
from tasks.runs import log
from tasks.unfinished import left_behind
from tasks.whiteboard_table import BlockRow, bad_ids, block_rows
from tasks.witnesses import bad_blocks, changed_blocks, maintenance_flag, read_raw, records

NOT_FOUND = (126, 127)
SPARE_BYTES = 64 * 1024 * 1024

# The directory may not be there yet: ask the nearest parent that is.
FREE_SPACE = """
d=$1; while [ ! -d "$d" ]; do d=$(dirname -- "$d"); done; df -Pk -- "$d" | tail -n 1
"""


@check
def require_hosts_ready(cluster: str) -> tuple[str, ...]:
    """Require that every host answers with its known key and has a working hosted-engine.

    Returns the hosts' names. Raises CheckRefused with one sentence a host.
    """
    look_seconds = limit("look_seconds")
    problems = on_all(cluster, lambda shell: _problem_of(shell, look_seconds))
    found = [f"{host}: {problem}" for host, problem in problems.items() if problem]
    if found:
        raise CheckRefused(
            "; ".join(found), "every host must be reachable, known and deployed before this runs"
        )
    return tuple(problems)


@check
def require_one_configuration(cluster: str) -> Volume:
    """Require that all hosts are configured for one whiteboard volume. Raises CheckRefused."""
    ids = {name: host_id for host_id, name in host_ids(cluster).items()}
    return read_volume(cluster, ids, limit("look_seconds"))


@check
def require_one_target(cluster: str, volume: Volume) -> Target:
    """Require that all links lead to the configured volume. Raises CheckRefused."""
    return find_target(cluster, volume, limit("look_seconds"))


@check
def require_bad_block(cluster: str, target: Target) -> tuple[BlockRow, ...]:
    """Require a bad block on the storage, or an earlier run that zeroed them and did not finish.

    Returns all rows. Raises CheckRefused.
    """
    data = _read(cluster, host_names(cluster)[0], target)
    rows = block_rows(data)
    if bad_ids(rows):
        return rows
    left = left_behind(cluster, held=maintenance_flag(data))
    if left is None:
        raise CheckRefused(
            f"nothing to repair: every block of {target.path} can be read",
            "look for another cause of the symptom",
        )
    log().warning("run %s wrote and did not finish: this run goes on from there", left)
    return rows


@check
def require_known_writers(cluster: str, target: Target) -> tuple[int, ...]:
    """Require that only inventory hosts write, and none of them a block that is too new.

    Returns the host ids that were seen writing. Raises CheckRefused.
    """
    ids = host_ids(cluster)
    witness = host_names(cluster)[0]
    before = _read(cluster, witness, target)
    world().clock.sleep(limit("publish_seconds"))
    after = _read(cluster, witness, target)
    writers = tuple(host_id for host_id in changed_blocks(before, after) if host_id != 0)
    strangers = [host_id for host_id in writers if host_id not in ids]
    if strangers:
        raise CheckRefused(
            f"host id {', '.join(map(str, strangers))} writes to the whiteboard but is not in "
            "the inventory",
            "add that host to the inventory, or stop and undeploy it",
        )
    looks = {each.host_id: each for each in look_at_hosts(cluster, limit("look_seconds"))}
    for block in bad_blocks(after):
        # Of a host that does not write, only a version that is too new speaks for a newer agent.
        writes = block.host_id in writers
        if block.host_id in ids and (writes or block.verdict is Verdict.TOO_NEW):
            _require_not_newer(block.host_id, ids, looks, writes=writes)
    return writers


@check
def require_acting_host(cluster: str, target: Target, canary: str | None) -> Site:
    """Require a host that can act; it also starts first. Returns who acts and who witnesses.

    Global maintenance can only be set where an agent runs, and setting it there clears that
    host's local maintenance: so a host in local maintenance does not act. Raises CheckRefused.
    """
    looks = _canaries(cluster, canary)
    fit = [each for each in looks if each.agent == "active" and not each.local_maintenance]
    if not fit:
        raise CheckRefused(
            f"{canary or 'no host'} has a running agent and is out of local maintenance",
            "start ovirt-ha-broker and ovirt-ha-agent on a host that is not in maintenance",
        )
    return _site(cluster, target, fit)


@check
def require_host_to_act(
    cluster: str, target: Target, writers: tuple[int, ...], canary: str | None
) -> Site:
    """Require a host that can act, of those that write; of all hosts, where none writes.

    Then no agent can set global maintenance, and a person decides how to go on. Raises
    CheckRefused.
    """
    looks = [each for each in _canaries(cluster, canary) if not each.local_maintenance]
    fit = [each for each in looks if each.host_id in writers] if writers else looks
    if not fit:
        writing = "writes to the whiteboard and " if writers else ""
        raise CheckRefused(
            f"{canary or 'no host'} {writing}is out of local maintenance",
            "start ovirt-ha-broker and ovirt-ha-agent on a host that is not in maintenance",
        )
    return _site(cluster, target, fit)


@check
def require_backup_space(site: Site, directory: str) -> int:
    """Require room for the backup; returns the free bytes. Raises CheckRefused."""
    shell = site.shell(site.actor)
    ran = shell.run(sh(FREE_SPACE, directory), timeout_seconds=limit("look_seconds")).checked()
    free_bytes = available_kib(ran) * 1024
    needed_bytes = site.target.size_bytes + SPARE_BYTES
    if free_bytes < needed_bytes:
        raise CheckRefused(
            f"{site.actor}: {directory} has {free_bytes} bytes free, the backup needs"
            f" {needed_bytes}",
            "free some space there or choose another backup_directory",
        )
    return free_bytes


def find_again(site: Site, volume: Volume) -> Target:
    """Return what the whiteboard's links lead to now. Raises CheckRefused."""
    return find_target(site.cluster, volume, limit("look_seconds"))


def _canaries(cluster: str, canary: str | None) -> list[HostLook]:
    """Return how the hosts are that may act: all, or the chosen one."""
    looks = look_at_hosts(cluster, limit("look_seconds"))
    names = tuple(each.host for each in looks)
    if canary is not None and canary not in names:
        raise CheckRefused(f"no host {canary!r} in the inventory", f"choose of {', '.join(names)}")
    return [each for each in looks if canary in (None, each.host)]


def _site(cluster: str, target: Target, fit: list[HostLook]) -> Site:
    """Return the site with the first fit host as the one that acts; one without the engine VM."""
    told = records(_read(cluster, fit[0].host, target))
    runs_engine = {host_id for host_id, record in told.items() if record.vm == "up"}
    idle = [e for e in fit if not e.may_run_engine and e.host_id not in runs_engine]
    actor = (idle or fit)[0].host
    others = tuple(name for name in host_names(cluster) if name != actor)
    return Site(cluster, target, actor, others[0] if others else actor, others)


def _read(cluster: str, host: str, target: Target) -> bytes:
    shell = world().shell(cluster, host)
    return read_raw(shell, target.path, target.size_bytes, timeout_seconds=limit("look_seconds"))


def _problem_of(shell: Shell, timeout_seconds: float) -> str | None:
    try:
        ran = shell.run(("hosted-engine", "--check-deployed"), timeout_seconds=timeout_seconds)
    except HostKeyRefused as error:
        return f"its host key is not the known one: {error}"
    except HostUnreachable as error:
        return f"cannot be reached: {error}"
    except ShellError as error:
        return str(error)
    if ran.exit_code in NOT_FOUND:
        return "has no working `hosted-engine`"
    if ran.exit_code != 0:
        said = (ran.stdout + ran.stderr).strip()[-200:] or "no output"
        return f"`hosted-engine --check-deployed` ended with {ran.exit_code}: {said}"
    return None


def _require_not_newer(
    host_id: int, ids: dict[int, str], looks: dict[int, HostLook], *, writes: bool
) -> None:
    remedy = "do not zero it: finish the upgrade of the other hosts"
    if host_id not in looks:
        raise CheckRefused(
            f"{ids[host_id]} (host id {host_id}) is said to be off, and its block cannot be read: "
            "it may be a newer agent's, and the host cannot be asked",
            f"{remedy}, with it on; if it is gone for good, take it out of the inventory",
        )
    here = looks[host_id]
    if writes:
        raise CheckRefused(
            f"{here.host} (host id {host_id}) is alive and writes a block that the others "
            "cannot read: a newer agent",
            remedy,
        )
    older = [e for e in looks.values() if version_key(e.version) < version_key(here.version)]
    if older:
        raise CheckRefused(
            f"{here.host} (host id {host_id}) has {here.version}, newer than "
            f"{older[0].version} on {older[0].host}, for all that can be told",
            remedy,
        )


def version_key(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a package version, to compare by; unknown is the highest."""
    if version == "unknown":
        return (1 << 30,)
    key = []
    for part in version.replace("-", ".").split("."):
        digits = "".join(takewhile(str.isdigit, part))
        if not digits:
            break
        key.append(int(digits))
    return tuple(key)


def available_kib(ran: Ran) -> int:
    """Return the free KiB that `df -P` told of. Raises CheckRefused."""
    match ran.stdout.split():  # as POSIX has it for df -P
        case [_, _, _, available, _, *_] if available.lstrip("-").isdigit():
            return int(available)
    raise CheckRefused(f"{ran.host}: cannot understand df: {ran.stdout!r}", "look at df there")
