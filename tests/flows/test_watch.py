"""The watch: it sees each anomaly from outside, tells it once, and changes nothing."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flows.enter_global_maintenance import enter_maintenance
from flows.proposals import RUNBOOKS
from flows.schedules import schedules_of
from flows.watch import watch
from tasks.inventory import Inventory, InventoryError
from tasks.lock import acquire
from tasks.runs import entered_run
from tests.fake_cluster import GARBAGE, TOO_NEW, FakeClock, FakeCluster, fake_cluster, unreachable
from tests.fake_lockspace import FakeLockspace, zeros
from tests.fake_vm import add_vm

Payload = dict[str, str]
Spoil = Callable[["Watched"], None]


class Watched:
    """A cluster at work, and the events that its watch emits."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        add_vm(cluster)
        self.lockspace = FakeLockspace(cluster)
        self.events: list[tuple[str, dict[str, str], Payload]] = []

    def emit(self, event: str, *, resource: dict[str, str], payload: Payload) -> None:
        self.events.append((event, resource, payload))

    def look(self) -> dict[str, str]:
        """Watch once; return what was told, by kind, with its detail."""
        self.events.clear()
        watch.fn("lab")
        return {payload["kind"]: payload["detail"] for _, _, payload in self.events}


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    with fake_cluster(tmp_path, bad={}) as cluster:
        watched = Watched(cluster)
        monkeypatch.setattr("tasks.watch_anomalies.emit_event", watched.emit)
        for _ in range(3):
            cluster.publish()
        yield watched


def later(watched: Watched, seconds: float) -> None:
    """Let time pass in which nobody did anything: only the clock is put on."""
    clock = watched.cluster.world.clock
    assert isinstance(clock, FakeClock)
    clock.seconds += seconds


def too_new(watched: Watched) -> None:
    watched.cluster.put(52, TOO_NEW)


def garbage(watched: Watched) -> None:
    watched.cluster.put(52, GARBAGE)


def lockspace(watched: Watched) -> None:
    watched.lockspace.spoil(zeros())


def no_lockspace(watched: Watched) -> None:
    watched.lockspace.file.unlink()
    watched.lockspace.publish = lambda: None  # type: ignore[method-assign]
    watched.cluster.publish = watched.lockspace._publish  # type: ignore[method-assign]


def host_down(watched: Watched) -> None:
    watched.cluster.hosts["h3"].trouble = unreachable("h3")


def all_down(watched: Watched) -> None:
    for name, host in watched.cluster.hosts.items():
        host.trouble = unreachable(name)


def same_id(watched: Watched) -> None:
    conf = watched.cluster.hosts["h3"].root / "etc/ovirt-hosted-engine/hosted-engine.conf"
    conf.write_text(conf.read_text().replace("host_id=3", "host_id=2"))


def two_vms(watched: Watched) -> None:
    watched.cluster.hosts["h2"].set("vm", "running")


def unexpected(watched: Watched) -> None:
    watched.cluster.hosts["h2"].state_override = "EngineUnexpectedlyDown"


def no_score(watched: Watched) -> None:
    for host in watched.cluster.hosts.values():
        host.score = 0


def no_agent(watched: Watched) -> None:
    for host in watched.cluster.hosts.values():
        host.set("ovirt-ha-agent", "inactive")


def no_storage(watched: Watched) -> None:
    (watched.cluster.file.parents[2] / "ha_agent/hosted-engine.metadata").unlink()


def link_to_itself(watched: Watched) -> None:
    link = watched.cluster.file.parents[2] / "ha_agent/hosted-engine.metadata"
    link.unlink()
    link.symlink_to(link.name)


def link_to_nothing(watched: Watched) -> None:
    link = watched.cluster.file.parents[2] / "ha_agent/hosted-engine.metadata"
    link.unlink()
    link.symlink_to("/no/such/image")


def overdue(watched: Watched) -> None:
    enter_maintenance.fn("lab", "ticket 7")
    later(watched, 86_400)


SEEN = [
    (too_new, {"metadata-too-new": "block 52 is of a newer version"}),
    (garbage, {"metadata-garbage": "block 52 cannot be read"}),
    (lockspace, {"lockspace-unusable": "1-2000", "no-eligible-host": "no host writes"}),
    (no_lockspace, {"lockspace-unusable": "0 times hosted-engine.lockspace"}),
    (host_down, {"host-unreachable": "h3 (192.0.2.9"}),
    (all_down, {"no-host-answers": "h1 (192.0.2.9"}),
    (same_id, {"duplicate-host-id": "host id 2: h2, h3"}),
    (two_vms, {"two-vms": "h1 and h2"}),
    (unexpected, {"engine-unexpectedly-down": "h2 says so"}),
    (no_score, {"no-eligible-host": "h1: score 0"}),
    (no_agent, {"no-eligible-host": "no host writes"}),
    (no_storage, {"storage-unreadable": "0 times hosted-engine.metadata"}),
    (link_to_itself, {"storage-unreadable": "Too many levels of symbolic links"}),
    (link_to_nothing, {"storage-unreadable": "hosted-engine.metadata leads nowhere"}),
    (overdue, {"forgotten-maintenance": "ticket 7"}),
]


@pytest.mark.parametrize(("spoil", "wanted"), SEEN, ids=[spoil.__name__ for spoil, _ in SEEN])
def test_it_sees(watched: Watched, spoil: Spoil, wanted: dict[str, str]) -> None:
    spoil(watched)
    told = watched.look()
    assert set(told) == set(wanted)
    for kind, detail in wanted.items():
        assert detail in told[kind]


def test_every_anomaly_of_the_contract_is_seen_from_outside() -> None:
    assert set(RUNBOOKS) <= {kind for _, wanted in SEEN for kind in wanted}


def test_a_cluster_at_work_is_left_in_peace(watched: Watched) -> None:
    before = watched.cluster.file.stat().st_size
    calls = {name: host.calls() for name, host in watched.cluster.hosts.items()}
    assert watched.look() == {}
    assert watched.cluster.file.stat().st_size == before
    for name, host in watched.cluster.hosts.items():
        new = host.calls()[len(calls[name]) :]
        assert not [c for c in new if c.startswith(("systemctl st", "hosted-engine --set"))], new


def test_maintenance_within_its_deadline_is_nothing(watched: Watched) -> None:
    enter_maintenance.fn("lab", "ticket 7")
    assert watched.look() == {}


def test_it_is_told_once_until_it_has_cleared(watched: Watched) -> None:
    garbage(watched)
    assert set(watched.look()) == {"metadata-garbage"}
    since = watched.events[0][2]["since"]
    assert watched.look() == {}
    two_vms(watched)
    assert set(watched.look()) == {"two-vms"}
    watched.cluster.put(52, bytes(4096))
    assert watched.look() == {}
    garbage(watched)
    assert set(watched.look()) == {"metadata-garbage"}
    assert watched.events[0][2]["since"] > since


def test_what_goes_on_is_told_again_after_a_while_with_its_beginning(watched: Watched) -> None:
    garbage(watched)
    watched.look()
    since = watched.events[0][2]["since"]
    later(watched, 21_600)
    assert set(watched.look()) == {"metadata-garbage"}
    assert watched.events[0][2]["since"] == since


def test_the_event_is_as_a_host_would_send_it(watched: Watched) -> None:
    unexpected(watched)
    watched.look()
    [(event, resource, payload)] = watched.events
    assert event == "hosted-engine.anomaly.engine-unexpectedly-down"
    assert resource == {
        "prefect.resource.id": "hosted-engine.lab",
        "prefect.resource.name": "lab",
        "hosted-engine.host": "h2",
    }
    assert set(payload) == {"cluster", "host", "kind", "detail", "since"}


def test_it_needs_no_lock(watched: Watched) -> None:
    """Another run holds the cluster, as one that waits at a gate does."""
    parameters: dict[str, Any] = {"cluster": "lab"}
    with entered_run("metadata-too-new", parameters=parameters, run_id="holder") as run:
        acquire(watched.cluster.world.journal, run.run_id, attempt=run.attempt)
        assert watched.look() == {}


def test_a_cluster_is_watched_as_often_as_the_inventory_says() -> None:
    tables = "".join(
        f'[clusters.{name}]\n{often}\n[clusters.{name}.ssh]\nkey_file = "/k"\nknown_hosts = "/h"\n'
        f'[[clusters.{name}.hosts]]\nname = "h"\naddress = "192.0.2.{n}"\nhost_id = 1\n'
        for n, (name, often) in enumerate((("one", "watch_seconds = 300"), ("two", "")), 1)
    )
    clusters = Inventory.parse(tables, "inventory.toml").clusters
    [made] = schedules_of("watch", clusters)
    assert (made.interval, made.parameters) == (timedelta(seconds=300), {"cluster": "one"})
    assert schedules_of("metadata-too-new", clusters) == []
    with pytest.raises(InventoryError, match="watch_seconds"):
        Inventory.parse(tables.replace("300", "1"), "inventory.toml")
