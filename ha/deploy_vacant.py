"""What a block domain's devices hold that a first deployment would overwrite: it must be nothing.

A deployment that broke off has left nothing in this sense: zeroes, free leases of this domain, and
the beginning of the disk image that is imported.
"""

from collections.abc import Iterator
from pathlib import Path

from ha.core.leases import HOST_IDS, read_leases, read_ownership, sector_bytes_of
from ha.core.record import Record, judge_whiteboard
from ha.deploy_storage import EMPTIED_BYTES, LOCKSPACE_NAME, MIB
from ha.direct_io import PAGE_BYTES, read_direct
from ha.storage_domain import ALIGN_BYTES, StorageDomain, StorageError

_NAMED_HOSTS = 3


def require_vacant(domain: StorageDomain, image: Path | None) -> None:
    """Look at all that is written anew; `image` is None when the engine disk is left as it is.

    Raises StorageError with each device that holds something, and OSError.
    """
    found = list(_contents(domain, image))
    if found:
        raise StorageError(
            "\n".join(
                [
                    "The storage is in use, or was. If this host is to join a hosted engine,"
                    " OVEHOSTED_STORAGE/confVolUUID names another volume than that one's.",
                    *found,
                ]
            )
        )


def _contents(domain: StorageDomain, image: Path | None) -> Iterator[str]:
    whiteboard, lockspace = domain.place(domain.metadata), domain.place(domain.lockspace)
    lease, offset_bytes = domain.vm_lease
    if what := _on_whiteboard(whiteboard):
        yield _told(whiteboard, what, count=EMPTIED_BYTES // MIB)
    for device, name in ((lockspace, LOCKSPACE_NAME), (domain.ids, domain.sd_uuid)):
        if what := _in_lockspace(device, name):
            yield _told(device, what)
    if what := _in_lease(lease, offset_bytes, domain):
        yield _told(lease, what, seek=offset_bytes // MIB)
    if image is not None and (what := _on_disk(domain.place(domain.engine_disk), image)):
        yield _told(domain.place(domain.engine_disk), what)


def _told(device: Path, what: str, *, seek: int = 0, count: int = 1) -> str:
    return (
        f"{device} is not empty ({what}). If its content may go:"
        f" dd if=/dev/zero of={device} bs={MIB} seek={seek} count={count} conv=notrunc"
    )


def _on_whiteboard(device: Path) -> str:
    data = b"".join(read_direct(device, start, MIB) for start in range(0, EMPTIED_BYTES, MIB))
    if not any(data):
        return ""
    records = [block.record for block in judge_whiteboard(data)]
    hosts = [f"{each.host_id} {each.hostname}" for each in records if isinstance(each, Record)]
    more = ", ..." if len(hosts) > _NAMED_HOSTS else ""
    return f"hosts {', '.join(hosts[:_NAMED_HOSTS])}{more}" if hosts else "no host's record"


def _in_lockspace(device: Path, name: str) -> str:
    area = read_direct(device, 0, ALIGN_BYTES)
    sector_bytes = sector_bytes_of(area)
    leases = {lease.host_id: lease for lease in read_leases(area, sector_bytes)}
    for host_id in range(1, HOST_IDS[sector_bytes] + 1):
        lease = leases.get(host_id)
        if lease is None:
            if any(area[(host_id - 1) * sector_bytes : host_id * sector_bytes]):
                return "no lockspace"
        elif lease.timestamp:
            return f"host id {host_id} was not given back by {lease.owner_name or 'its host'}"
        elif lease.space_name != name:
            return f"the lockspace {lease.space_name!r}"
    return ""


def _in_lease(device: Path, offset_bytes: int, domain: StorageDomain) -> str:
    sector = read_direct(device, offset_bytes, PAGE_BYTES)
    if not any(sector):
        return ""
    owner = read_ownership(sector, domain.sd_uuid, domain.engine_disk.volume)
    if owner is None:
        return "no lease on this engine disk"
    return f"host id {owner.host_id} holds the engine VM" if owner.timestamp else ""


def _on_disk(device: Path, image: Path) -> str:
    with image.open("rb") as source:
        expected = source.read(PAGE_BYTES).ljust(PAGE_BYTES, b"\0")
    first = read_direct(device, 0, PAGE_BYTES)
    return f"it does not begin as {image} does" if any(first) and first != expected else ""
