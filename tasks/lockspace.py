"""Which lockspace is broken: found, read from storage by every host, and judged slot by slot."""

from dataclasses import dataclass, replace

from tasks.env import Shell, world
from tasks.hosts import host_ids, host_names, on_all
from tasks.limits import limit
from tasks.lockspace_area import ALIGN_BYTES, Slot, faults, held, judge_area, ranges, sector_of
from tasks.lockspace_sanlock import NAME, SanlockLook, look_at_sanlock
from tasks.metadata import LOCKSPACE, Target, Volume, find_target, read_volume
from tasks.recorded import check
from tasks.refusal import CheckRefused
from tasks.report import show
from tasks.run_site import Site
from tasks.whiteboard_table import bad_ids, block_rows
from tasks.witnesses import read_raw

# What sanlock's largest alignment would take: our write ends after the first MiB, and what comes
# after it is kept and compared all the same.
AREA_BYTES = 8 * ALIGN_BYTES
DEFAULT_SECTOR_BYTES = 512


@dataclass(frozen=True, slots=True)
class Lockspace:
    """Where the lockspace is, and where that of the storage domain is."""

    volume: Volume
    target: Target  # its size is that of the area which is backed up
    domain_ids: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is broken, and who says so."""

    lockspace: Lockspace
    sector_bytes: int
    faults: dict[str, str]  # host ids by what their slots are
    held: dict[int, str]  # the sound slots that a host holds, with its name
    hosts: tuple[SanlockLook, ...]


@check
def require_one_lockspace(cluster: str, volume: Volume) -> Lockspace:
    """Require that all hosts' links lead to the configured lockspace. Raises CheckRefused."""
    return find_lockspace(cluster, volume)


def find_lockspace(cluster: str, volume: Volume) -> Lockspace:
    """Return where all hosts' links and configurations say the lockspace is.

    Raises CheckRefused.
    """
    ids = {name: host_id for host_id, name in host_ids(cluster).items()}
    own = read_volume(cluster, ids, limit("look_seconds"), LOCKSPACE)
    target = area_of(find_target(cluster, own, limit("look_seconds")))
    return Lockspace(own, target, _domain_ids(volume, target.path))


@check
def require_broken_lockspace(cluster: str, volume: Volume) -> Diagnosis:
    """Require that the hosted-engine lockspace is broken on storage, and the domain's is sound.

    It is found as the whiteboard's `volume` was; every host reads both, and its sanlock is asked.
    Raises CheckRefused.
    """
    lockspace = find_lockspace(cluster, volume)
    sector_bytes = _require_sound_domain(cluster, lockspace)
    slots = _read_slots(cluster, lockspace, sector_bytes)
    found = diagnosis_of(cluster, lockspace, slots, sector_bytes)
    say_diagnosis(cluster, found)
    if not found.faults:
        raise CheckRefused(
            f"nothing to repair: all {len(slots)} slots of {lockspace.target.path} are sound"
            f" ({_said(found)})",
            "look for another cause: storage that hangs (-202), a host id used twice (-262), a"
            " host that lost its power (up to 210 s)",
        )
    return found


@check
def require_readable_whiteboard(cluster: str, target: Target) -> int:
    """Require that every block of the whiteboard can be read; returns how many there are.

    Upstream's `--reinitialize-lockspace` skips all of its checks when one block is garbage.
    Raises CheckRefused.
    """
    shell = world().shell(cluster, host_names(cluster)[0])
    data = read_raw(shell, target.path, target.size_bytes, timeout_seconds=limit("look_seconds"))
    rows = block_rows(data)
    if bad := bad_ids(rows):
        raise CheckRefused(
            f"block {ranges(bad)} of the whiteboard cannot be read",
            "run metadata-too-new first; with the lockspace broken as well, that run ends where it"
            " waits for its canary, all blocks readable: then run this one again",
        )
    return len(rows)


def area_of(target: Target) -> Target:
    """Return a lockspace's volume as the area at its start. Raises CheckRefused."""
    if target.size_bytes < ALIGN_BYTES:
        raise CheckRefused(
            f"{target.path}: {target.size_bytes} bytes cannot hold a lockspace", "look at it"
        )
    return replace(target, size_bytes=min(target.size_bytes, AREA_BYTES))


def read_slots(site: Site, lockspace: Lockspace, sector_bytes: int) -> tuple[Slot, ...]:
    """Return the slots of the lockspace as the witness reads them. Raises ReadFailed."""
    data = _area(site.shell(site.witness), lockspace.target.path, limit("look_seconds"))
    return judge_area(data, NAME, sector_bytes)


def diagnosis_of(
    cluster: str, lockspace: Lockspace, slots: tuple[Slot, ...], sector_bytes: int
) -> Diagnosis:
    """Return what storage and all hosts' sanlock say."""
    return Diagnosis(
        lockspace=lockspace,
        sector_bytes=sector_bytes,
        faults={what: ranges(ids) for what, ids in faults(slots).items()},
        held={host_id: slot.owner for host_id, slot in held(slots).items()},
        hosts=ask_sanlock(cluster, lockspace, sector_bytes),
    )


def ask_sanlock(cluster: str, lockspace: Lockspace, sector_bytes: int) -> tuple[SanlockLook, ...]:
    """Return what all hosts' sanlock say of the two lockspaces."""
    ids = {name: host_id for host_id, name in host_ids(cluster).items()}
    look_seconds = limit("look_seconds")
    looks = on_all(
        cluster,
        lambda shell: look_at_sanlock(
            shell,
            paths=(lockspace.target.path, lockspace.domain_ids),
            domain=lockspace.volume.storage_domain,
            host_id=ids[shell.host],
            sector_bytes=sector_bytes,
            timeout_seconds=look_seconds,
        ),
    )
    return tuple(looks.values())


def say_diagnosis(cluster: str, found: Diagnosis) -> None:
    """Show a diagnosis."""
    show("lockspace-diagnosis", diagnosis_markdown(found), f"Lockspace of {cluster}")


def diagnosis_markdown(found: Diagnosis) -> str:
    """Return a diagnosis for people."""
    lockspace = found.lockspace
    own = [f"  - slots {ids}: **{what}**" for what, ids in found.faults.items()]
    holders = ", ".join(f"{n} ({owner})" for n, owner in found.held.items()) or "none"
    return "\n".join(
        [
            f"- `{NAME}` at {lockspace.target.path}, sectors of {found.sector_bytes} bytes:",
            *(own or ["  - all slots are sound"]),
            f"- sound slots that are held: {holders}",
            f"- the storage domain's own `{lockspace.volume.storage_domain}` at "
            f"{lockspace.domain_ids} is sound; the engine VM's lease hangs on it, not on the other",
            "",
            "| host | sanlock | in lockspaces | its slot | the domain's | errors in its log |",
            "|---|---|---|---|---|---|",
            *(
                f"| {each.host} | {each.daemon} | {', '.join(each.spaces) or '-'} "
                f"| {each.leader} | {each.domain_leader} | {_log(each)} |"
                for each in found.hosts
            ),
        ]
    )


def _require_sound_domain(cluster: str, lockspace: Lockspace) -> int:
    """Return the domain's sector size, after all hosts' slots in it were found sound."""
    domain, path = lockspace.volume.storage_domain, lockspace.domain_ids
    look_seconds = limit("look_seconds")
    areas = on_all(cluster, lambda shell: _area(shell, path, look_seconds))
    wanted = sorted(host_ids(cluster))
    for host, data in areas.items():
        sector = sector_of(data)
        slots = judge_area(data, domain, sector, any_alignment=True) if sector else ()
        wrong = faults([slot for slot in slots if slot.host_id in wanted])
        if sector is None or wrong:
            what = "; ".join(f"{each}: host id {ranges(ids)}" for each, ids in wrong.items())
            raise CheckRefused(
                f"{host}: the lockspace of the storage domain itself, {domain} at {path}, is"
                f" broken ({what or 'its first slot is no lease'}): it is VDSM's, guards the"
                " disks, and is not repaired here",
                "see to the storage; then put the domain into maintenance and initialise its ids"
                " volume as VDSM's documentation says, with no VM running from it",
            )
    return next((s for data in areas.values() if (s := sector_of(data))), DEFAULT_SECTOR_BYTES)


def _read_slots(cluster: str, lockspace: Lockspace, sector_bytes: int) -> tuple[Slot, ...]:
    path, look_seconds = lockspace.target.path, limit("look_seconds")
    areas = on_all(cluster, lambda shell: _area(shell, path, look_seconds))
    views = {host: judge_area(data, NAME, sector_bytes) for host, data in areas.items()}
    told = {host: faults(slots) for host, slots in views.items()}
    first = next(iter(told.values()))
    if differing := [host for host, each in told.items() if each != first]:
        raise CheckRefused(
            f"{', '.join(differing)} does not see the same lockspace as {next(iter(told))}",
            "see to the storage: connect the same on all hosts",
        )
    return next(iter(views.values()))


def _domain_ids(volume: Volume, path: str) -> str:
    """Return where the storage domain's own lockspace is."""
    if volume.device:
        return f"/dev/{volume.storage_domain}/ids"
    end = path.index(f"/{volume.storage_domain}/") + len(volume.storage_domain) + 1
    return f"{path[:end]}/dom_md/ids"


def _area(shell: Shell, path: str, timeout_seconds: float) -> bytes:
    return read_raw(shell, path, ALIGN_BYTES, timeout_seconds=timeout_seconds)


def _said(found: Diagnosis) -> str:
    return "; ".join(f"{each.host}: sanlock reads its slot: {each.leader}" for each in found.hosts)


def _log(look: SanlockLook) -> str:
    return ", ".join(f"{what} x{count}" for what, count in look.errors.items()) or "none"
