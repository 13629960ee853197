"""A libvirt that does not answer is no host without the engine VM."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.hosts import EngineUnknown, look_at_hosts
from tasks.migration import engine_host
from tasks.refusal import CheckRefused
from tasks.waiting import TimedOut, wait_until
from tests.fake_cluster import FakeCluster, fake_cluster
from tests.fake_vm import add_vm


@pytest.fixture(params=[False, True], ids=["plain", "vm"])
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FakeCluster]:
    with fake_cluster(tmp_path, bad={}) as cluster:
        if request.param:
            add_vm(cluster)
        yield cluster


def test_all_that_answer(cluster: FakeCluster) -> None:
    looks = look_at_hosts("lab", 9)
    assert [each.domain for each in looks] == ["running", "", ""]
    assert engine_host(looks) == "h1"


@pytest.mark.parametrize("host", ["h1", "h2"])
def test_a_dead_libvirt_is_no_answer(cluster: FakeCluster, host: str) -> None:
    cluster.hosts[host].set("dead-libvirt", "")
    looks = look_at_hosts("lab", 9)
    dead = next(each for each in looks if each.host == host)
    assert dead.domain == "unanswered"
    assert dead.may_run_engine
    with pytest.raises(EngineUnknown, match=f"libvirt on {host} does not answer"):
        _ = dead.runs_engine
    with pytest.raises(CheckRefused, match="unknown"):
        engine_host(looks)


@pytest.mark.parametrize("libvirt", [True, False])
def test_a_qemu_without_its_libvirt_is_seen(cluster: FakeCluster, libvirt: bool) -> None:
    cluster.hosts["h1"].set("vm", "")
    (cluster.hosts["h1"].root / "state/vm").unlink()
    cluster.hosts["h2"].set("qemu", "")
    if not libvirt:
        cluster.hosts["h2"].set("dead-libvirt", "")
    assert engine_host(look_at_hosts("lab", 9)) == "h2"


def test_a_wait_goes_on_until_it_answers(cluster: FakeCluster) -> None:
    cluster.hosts["h2"].set("dead-libvirt", "")
    said: list[str] = []

    def look() -> str | None:
        if cluster.world.clock.monotonic() > 20:
            (cluster.hosts["h2"].root / "state/dead-libvirt").unlink(missing_ok=True)
        return None if engine_host(look_at_hosts("lab", 9)) == "h1" else "it is elsewhere"

    wait_until(
        "the engine VM on h1", look, timeout_seconds=60, every_seconds=5, progress=said.append
    )
    assert len(said) == 1
    assert "libvirt on h2 does not answer" in said[0]
    cluster.hosts["h2"].set("dead-libvirt", "")
    with pytest.raises(TimedOut, match="libvirt on h2 does not answer"):
        wait_until(
            "the engine VM elsewhere",
            lambda: str(engine_host(look_at_hosts("lab", 9))),
            timeout_seconds=20,
            every_seconds=5,
            progress=said.append,
        )
