"""Writes that upstream loses: the cluster's flag beside the agent's own block, and old blocks."""

import threading
from pathlib import Path

import pytest

from ha.broker import BrokerService
from ha.core.record import BLOCK_BYTES, RANGE_BYTES, encode_global
from ha.deploy_storage import empty_whiteboard
from ha.storage_domain import storage_domain_of
from tests.ha.broker_world import BrokerWorld
from tests.ha.deployed import KEYS

BLOCK = b"1|1|" + b"x" * (BLOCK_BYTES - 4)


def test_a_flag_set_while_the_agents_block_is_on_its_way_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Upstream keeps one write waiting, and the later of two replaces the earlier."""
    world = BrokerWorld()
    service = BrokerService(world.env, 7, interval_seconds=3600)
    service.lock_host_id()
    written, slow = world.whiteboard.write_block, threading.Event()

    def write_block(host_id: int, block: bytes) -> None:
        if host_id:
            assert slow.wait(10), "the flag is written meanwhile"
        written(host_id, block)

    monkeypatch.setattr(world.whiteboard, "write_block", write_block)
    own = threading.Thread(target=service.write_block, args=(BLOCK,))
    own.start()
    service.set_global_maintenance(True)
    slow.set()
    own.join(10)
    assert world.whiteboard.blocks == {0: encode_global(True), 7: BLOCK}


def test_a_device_with_blocks_of_an_old_cluster_is_emptied_to_the_last_host_id(
    tmp_path: Path,
) -> None:
    """Upstream empties 1 MiB: what is behind it shows up as hosts after 255."""
    domain = storage_domain_of(KEYS, tmp_path)
    assert domain.is_block
    metadata = domain.place(domain.metadata)
    metadata.parent.mkdir(parents=True)
    metadata.write_bytes(b"\xaa" * (9 * 1024 * 1024))
    domain.place(domain.configuration).write_bytes(b"\xaa" * 65536)
    empty_whiteboard(domain)
    assert not any(metadata.read_bytes()[:RANGE_BYTES])
    assert metadata.stat().st_size == 9 * 1024 * 1024
