"""A cluster whose agents are stopped, as one of its hosts sees the storage."""

from pathlib import Path

from ha.core.record import Record, encode_global, encode_record
from ha.storage_domain import StorageDomain, storage_domain_of
from tests.ha.cli.sim import SimHost
from tests.ha.cli.sim_storage import MIB, area_of


def block(host_id: int, *, stopped: bool = True, timestamp: int = 1) -> bytes:
    status = '{"vm": "down", "health": "bad", "detail": "unknown"}'
    record = Record(
        host_id=host_id, timestamp=timestamp, score=0, engine_status=status, hostname=f"h{host_id}",
        maintenance=False, stopped=stopped, conf_on_shared_storage=True, local_conf_timestamp=1,
    )  # fmt: skip
    return encode_record(record)


def domain_of(host: SimHost) -> StorageDomain:
    lines = host.paths.hosted_engine_conf.read_text().splitlines()
    return storage_domain_of(dict(line.split("=", 1) for line in lines), host.root)


def lockspace_of(host: SimHost) -> Path:
    domain = domain_of(host)
    return domain.place(domain.lockspace)


def area(host: SimHost) -> bytes:
    return lockspace_of(host).read_bytes()


def stop_all(host: SimHost) -> SimHost:
    """Global maintenance, two hosts that stopped cleanly, and a lockspace of zeroes."""
    domain = domain_of(host)
    for volume in domain.volumes:
        host.write(domain.place(volume), "")
    host.write(domain.ids, "")
    for place, content in ((lockspace_of(host), bytes(MIB)), (domain.ids, area_of("sd"))):
        place.write_bytes(content)
    host.whiteboard.blocks = {0: encode_global(True), 1: block(1), 2: block(2)}
    return host
