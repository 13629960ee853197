"""The metrics of a whole broker in memory, over HTTP; and of one whose sanlock hangs."""

import threading
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from ha.broker import BrokerService
from ha.core.leases import LeaseHolder
from ha.env.metrics_server import MetricsServer
from ha.env.ports import LockspaceFailed
from ha.metrics_scrape import Scraper
from ha.serve_metrics import Metrics
from tests.ha.broker_world import BrokerWorld, MemoryLockspace
from tests.ha.test_metrics import read

HOST_ID = 7
BLOCK = b"1|1|".ljust(4096, b"x")


class Renewed(MemoryLockspace):
    """Its lease was renewed at 1000 of sanlock's clock; it may hang or fail."""

    hang: threading.Event | None = None

    def holders(self) -> Sequence[LeaseHolder]:
        if self.hang:
            self.hang.wait(10)
        if self.trouble:
            raise self.trouble[0]
        others = (LeaseHolder(8, "dead", 1, 3),)
        return (LeaseHolder(HOST_ID, "live", 1, 1000), *others) if self.host_id else others


class Bench:
    """A broker with metrics at a port of its own."""

    def __init__(self) -> None:
        self.world = BrokerWorld(lockspace=Renewed(), vm_lockspace=Renewed())
        self.metrics = Metrics(("127.0.0.1", 0), self.world.env, {})
        self.service = BrokerService(self.metrics.env, HOST_ID, interval_seconds=3600)
        self.service.start()
        served = self.metrics.serve(self.service, HOST_ID)
        assert served is not None
        self.server: MetricsServer = served

    def scrape(self) -> dict[str, float]:
        url = f"http://127.0.0.1:{self.server.server_port}/metrics"
        with urllib.request.urlopen(url, timeout=20) as answer:
            return read(answer.read().decode())


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.server.shutdown()
    bench.server.server_close()
    bench.service.stop()


def test_all_of_it(bench: Bench) -> None:
    bench.service.lock_host_id()
    bench.service.write_block(BLOCK)
    bench.service.read_blocks([1, 2])
    bench.service.read_blocks(None)
    bench.service.notify("state_transition", "EngineUp-EngineStop")
    bench.service.notify("anomaly.two-vms", "ids 1, 2", 5.0)
    bench.service.set_live_hosts([7, 8], {"state": "EngineStop", "score": 3400})
    found = bench.scrape()
    assert found["lease_held{lockspace=whiteboard}"] == 1
    assert found["lease_held{lockspace=vm}"] == 1
    assert found["host_lease_state{host_id=8,lockspace=vm,state=dead}"] == 1
    assert found["storage_seconds_count{operation=write}"] == 1
    assert found["storage_seconds_count{operation=read}"] == 1
    assert found["storage_seconds_count{operation=read_all}"] == 1
    assert found["storage_seconds_count{operation=domain}"] >= 1
    assert found["transitions_total{from=EngineUp,to=EngineStop}"] == 1
    assert found["anomalies_total{kind=two-vms}"] == 1
    assert found["state{state=EngineStop}"] == 1
    assert found["hosts_alive{}"] == 2
    assert found["cpu_load_ratio{}"] == 0.25
    # And they reached the broker's own notifier.
    assert bench.world.notes == ["state_transition EngineUp-EngineStop", "anomaly.two-vms ids 1, 2"]


def test_the_leases_age_is_of_sanlocks_clock(bench: Bench) -> None:
    bench.service.lock_host_id()
    scraper = Scraper(
        bench.service,
        bench.metrics.env,
        HOST_ID,
        bench.metrics._meters,
        sanlock_now=lambda: 1042.0,
    )
    assert read(scraper.text())["lease_age_seconds{lockspace=whiteboard}"] == 42


def test_without_the_lease_it_has_no_age(bench: Bench) -> None:
    found = bench.scrape()
    assert found["lease_held{lockspace=whiteboard}"] == 0
    assert "lease_age_seconds{lockspace=whiteboard}" not in found


def test_while_the_lease_is_being_left_it_has_no_age(bench: Bench) -> None:
    bench.service.lock_host_id()
    bench.world.lockspace.in_progress = True
    found = bench.scrape()
    assert found["host_lease_state{host_id=7,lockspace=whiteboard,state=live}"] == 1
    assert "lease_age_seconds{lockspace=whiteboard}" not in found


def test_a_sanlock_that_fails_costs_its_metrics_only(bench: Bench) -> None:
    bench.world.lockspace.trouble = [LockspaceFailed("no daemon")]
    found = bench.scrape()
    assert "lease_held{lockspace=whiteboard}" not in found
    assert found["lease_held{lockspace=vm}"] == 0


def test_a_sanlock_that_hangs_costs_its_metrics_only(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ha.metrics_scrape.SANLOCK_SECONDS", 0.1)
    hang = threading.Event()
    bench.world.lockspace.hang = hang  # type: ignore[attr-defined]
    env = replace(bench.metrics.env)
    scraper = Scraper(bench.service, env, HOST_ID, bench.metrics._meters)
    found = read(scraper.text())
    assert "lease_held{lockspace=whiteboard}" not in found
    assert found["lease_held{lockspace=vm}"] == 0
    assert found["cpu_load_ratio{}"] == 0.25
    hang.set()


def test_an_address_that_cannot_be_had_does_not_stop_the_broker(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    taken = ("127.0.0.1", bench.server.server_port)
    second = Metrics(taken, bench.world.env, {})
    assert second.serve(bench.service, HOST_ID) is None
    assert f"No metrics are served at 127.0.0.1 port {taken[1]}" in caplog.text
