"""`sanlock` on a simulated host: what the daemon is in and holds, and what it reads."""

import errno
from collections.abc import Iterator
from pathlib import Path

from ha.simulator.door.call import Call
from ha.simulator.door.lease_file import LeaseFile
from ha.simulator.leases import Space
from ha.simulator.sanlock import OK
from ha.simulator.site import VM_SPACE, WHITEBOARD_SPACE

HELP = "sanlock direct init [-Z 512|4096] [-A 1M|2M|4M|8M]"
EMULATOR_PID = 4242
NOT_THERE = -errno.ENOENT


def sanlock(call: Call) -> int:
    """Answer `sanlock client|direct VERB -s SPEC ...`."""
    answered = VERBS.get(" ".join(call.words[:2]))
    if answered is not None:
        return answered(call)
    call.say(HELP)
    return int(list(call.words) != ["help"])


def _status(call: Call) -> int:
    call.running.out.extend(_status_lines(call))
    return 0


def _status_lines(call: Call) -> Iterator[str]:
    yield f"daemon {call.host.name}"
    for space in call.host.sanlock.spaces.values():
        word = {None: " ADD", False: " REM", True: ""}[space.held]
        yield f"s {_spec(call, space)}{word}"
    vm_space = call.host.sanlock.spaces.get(VM_SPACE)
    if vm_space is not None and vm_space.users:
        path = _escaped(call, call.folder.domain.vm_lease[0])
        yield f"r {VM_SPACE}:{call.folder.conf.vm_disk_vol_id}:{path}:0:1 p {EMULATOR_PID}"


def _host_status(call: Call) -> int:
    space = call.host.sanlock.spaces.get(_option(call, "-s").partition(":")[0])
    if space is None or space.held is not True:
        return _done(call, "host_status", NOT_THERE)
    monotonic, now = call.host.time.monotonic(), call.host.site.schedule.now
    for host_id, seen in sorted(space.seen.items()):
        call.say(f"{host_id} timestamp {seen.timestamp}")
        if "-D" in call.words:
            call.say(f"    last_check={int(monotonic)}")
            call.say(f"    last_live={int(monotonic - (now - seen.live_at))}")
    return 0


def _rem_lockspace(call: Call) -> int:
    return _done(call, "rem_lockspace", _leave(call))


def _leave(call: Call) -> int:
    """As sanlock does: name, host id and path must be as they were when it joined."""
    given = _option(call, "-s")
    for space in call.host.sanlock.spaces.values():
        if _spec(call, space) == given:
            code = call.host.sanlock.leave(space.area, space.host_id)
            return -code if code != OK else OK
    return NOT_THERE


def _read_leader(call: Call) -> int:
    name, host_id, area = _named(call)
    _done(call, "read_leader", NOT_THERE if area is None else area.fault(host_id, name))
    return 0  # so does the real one after some errors


def _init(call: Call) -> int:
    _, _, area = _named(call)
    if area is None:
        return _done(call, "init", NOT_THERE)
    area.initialise()
    return _done(call, "init", OK)


def _named(call: Call) -> tuple[str, int, LeaseFile | None]:
    """Return name, host id and the lockspace at the path of `-s NAME:ID:PATH:OFFSET`."""
    name, host_id, rest = _option(call, "-s").split(":", 2)
    place = Path(rest.rpartition(":")[0].replace("\\:", ":")).resolve()
    site = call.host.site
    areas = {WHITEBOARD_SPACE: site.whiteboard_area, VM_SPACE: site.vm_area}
    for known, path in call.folder.lockspaces().items():
        area = areas[known]
        if path.resolve() == place and isinstance(area, LeaseFile):
            return name, int(host_id), area
    return name, int(host_id), None


def _spec(call: Call, space: Space) -> str:
    domain = call.folder.domain
    agents = domain.prepared(domain.lockspace)
    path = agents if space.area.name == WHITEBOARD_SPACE else domain.ids
    return f"{space.area.name}:{space.host_id}:{_escaped(call, path)}:0"


def _escaped(call: Call, path: Path) -> str:
    return f"/{path.relative_to(call.folder.shared)}".replace(":", "\\:")


def _option(call: Call, name: str) -> str:
    words = list(call.words)
    return words[words.index(name) + 1] if name in words[:-1] else ""


def _done(call: Call, what: str, code: int) -> int:
    call.say(f"{what} done {code}")
    return int(code != OK)


VERBS = {
    "client status": _status,
    "client host_status": _host_status,
    "client rem_lockspace": _rem_lockspace,
    "direct read_leader": _read_leader,
    "direct init": _init,
}
