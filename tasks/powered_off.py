"""A host that is switched off: proven silent by its peers, attested by a person at a gate.

No command can stop what runs on a host that cannot be reached. What can be seen from elsewhere is
that it writes nothing any more and that its leases have run out; that it has no power, and will
get none while the run lasts, only a person can say.
"""

import re
from dataclasses import dataclass

from tasks.absent import absent
from tasks.env import AccessRefused, HostKeyRefused, LostContact, Shell, world
from tasks.gates import TargetForm, gate
from tasks.hosts import host_ids, host_names, on_all, sh
from tasks.limits import limit
from tasks.metadata import Target, Volume, read_volume
from tasks.plan import planning
from tasks.recorded import check
from tasks.refusal import CheckRefused
from tasks.witnesses import block_at, read_raw

# sanlock's timeouts.h: 8 x io_timeout until a lease has run out, 60 more for the watchdog.
HOST_DEAD_SECONDS = 140
STATUS = 'sanlock client host_status -s "$1" -D'
HOST = re.compile(r"^(\d+) timestamp (\d+)$")


@dataclass(frozen=True, slots=True)
class Silent:
    """One host that is off, and who has seen that."""

    host: str
    host_id: int
    said: tuple[str, ...]


@check
def require_silent(cluster: str, volume: Volume, target: Target) -> tuple[Silent, ...]:
    """Require that each host that is to be off is silent; returns what the others have seen.

    It does not answer, its block does not change over two turns of an agent, and sanlock on every
    other host says that its lease in the storage domain is free, or has run out. Raises
    CheckRefused.
    """
    names = absent()
    if not names:
        return ()
    ids = _ids(cluster, names)
    for name in names:
        _require_unreachable(world().shell(cluster, name))
    _require_no_write(cluster, target, ids)
    look_seconds, domain = limit("look_seconds"), volume.storage_domain
    told = on_all(cluster, lambda shell: _leases(shell, domain, look_seconds))
    return tuple(Silent(name, ids[name], _require_dead(ids[name], name, told)) for name in names)


def require_still_silent(cluster: str) -> None:
    """Require before a write that hosts that are to be off are as silent as when it was attested.

    What they might have written meanwhile is for the caller to compare. Raises CheckRefused.
    """
    names = absent()
    if not names or planning() is not None:
        return
    look_seconds = limit("look_seconds")
    for name in names:
        _require_unreachable(world().shell(cluster, name))
    here = {name: host_id for host_id, name in host_ids(cluster).items()}
    domain = read_volume(cluster, here, look_seconds).storage_domain
    told = on_all(cluster, lambda shell: _leases(shell, domain, look_seconds))
    for name, host_id in _ids(cluster, names).items():
        _require_dead(host_id, name, told)


def approve_powered_off(cluster: str, silent: tuple[Silent, ...]) -> None:
    """Ask a person to attest, by name, that hosts have no power; nobody is asked if all are on.

    Raises GateRejected, GateExpired.
    """
    if not silent:
        return
    names = ",".join(each.host for each in silent)
    lines = [
        f"## Go on without {names}, which cannot be reached\n",
        "- attest that each of them is **switched off, and stays off until the run has ended**: "
        "a host that only lost its network still writes, and one that comes back meanwhile "
        "writes again",
        *(f"- {each.host} (host id {each.host_id}): {'; '.join(each.said)}" for each in silent),
        f"- its block has not changed within {limit('publish_seconds'):.0f} s",
        "- when it is switched on again, it starts its own agent and broker: see that it takes "
        "its host id\n",
        f"To approve, type the names: `{names}`",
    ]
    gate(
        "approve_powered_off",
        evidence="\n".join(lines),
        risk="A3",
        form=TargetForm,
        target=names,
        expires_seconds=int(limit("gate_expires_seconds")),
    )


def _ids(cluster: str, names: tuple[str, ...]) -> dict[str, int]:
    found = world().inventory.cluster(cluster)
    return {name: found.host(name).host_id for name in names}


def _require_unreachable(shell: Shell) -> None:
    try:
        shell.run(("true",), timeout_seconds=limit("look_seconds"))
    except LostContact:
        return
    except (AccessRefused, HostKeyRefused) as error:
        raise CheckRefused(f"{shell.host} answers: {error}", "it is not off") from error
    raise CheckRefused(f"{shell.host} answers", "it is not off: run this without powered_off")


def _require_no_write(cluster: str, target: Target, ids: dict[str, int]) -> None:
    shell = world().shell(cluster, host_names(cluster)[0])
    size_bytes, look_seconds = target.size_bytes, limit("look_seconds")
    before = read_raw(shell, target.path, size_bytes, timeout_seconds=look_seconds)
    world().clock.sleep(limit("publish_seconds"))
    after = read_raw(shell, target.path, size_bytes, timeout_seconds=look_seconds)
    wrote = [name for name, n in ids.items() if block_at(before, n) != block_at(after, n)]
    if wrote:
        raise CheckRefused(
            f"{', '.join(wrote)} writes to the whiteboard", "it is not off: only its network is"
        )


def _leases(shell: Shell, domain: str, timeout_seconds: float) -> dict[int, str] | None:
    """Return what a host's sanlock says of the leases of a lockspace; None if it is not in it."""
    ran = shell.run(sh(STATUS, domain), timeout_seconds=timeout_seconds)
    if ran.exit_code != 0:
        return None
    found: dict[int, str] = {}
    host_id, seen = 0, {"last_check": 0, "last_live": 0}
    for line in ran.stdout.splitlines():
        if host := HOST.match(line):
            host_id = int(host[1])
            found[host_id] = "free" if host[2] == "0" else "alive"
            continue
        key, _, value = line.strip().partition("=")
        if key in seen and value.isdigit():
            seen[key] = int(value)
        if key == "last_live" and found.get(host_id) == "alive":
            silent_seconds = seen["last_check"] - seen["last_live"]
            if silent_seconds >= HOST_DEAD_SECONDS:
                found[host_id] = f"run out {silent_seconds} s ago"
    return found


def _require_dead(
    host_id: int, name: str, told: dict[str, dict[int, str] | None]
) -> tuple[str, ...]:
    said = {
        host: leases.get(host_id, "free") for host, leases in told.items() if leases is not None
    }
    alive = [host for host, lease in said.items() if lease == "alive"]
    if alive or not said:
        raise CheckRefused(
            f"sanlock on {', '.join(alive)} has seen {name} alive within the last"
            f" {HOST_DEAD_SECONDS} s"
            if alive
            else "no host is in the storage domain's lockspace",
            "wait until its lease has run out, and see that it is really off",
        )
    return tuple(f"its lease, as {host} sees it: {lease}" for host, lease in said.items())
