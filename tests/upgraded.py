"""What tests of the upgrade ask of a fake cluster and of the journal."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

from flows.upgrade import upgrade
from flows.upgrade_howto import by_howto
from runbooks.catalogue import catalogue
from tasks.journal import Kind, Phase
from tasks.runs import entered_run
from tests.fake_cluster import FakeCluster


def versions(cluster: FakeCluster) -> list[str]:
    return [host.get("version") for host in cluster.hosts.values()]


def engine_on(cluster: FakeCluster) -> list[str]:
    return [host.name for host in cluster.hosts.values() if host.get("vm")]


def out_of_service(cluster: FakeCluster) -> list[str]:
    return [host.name for host in cluster.hosts.values() if host.in_local_maintenance]


def last_run(cluster: FakeCluster) -> str:
    return cluster.world.journal.runs("lab")[0].run_id


def steps(cluster: FakeCluster, phase: Phase = Phase.INTENT) -> list[str]:
    entries = cluster.world.journal.entries(last_run(cluster), kinds=(Kind.REMOTE,))
    return [entry.step for entry in entries if entry.phase is phase]


def outcomes(cluster: FakeCluster) -> dict[str, str]:
    entries = cluster.world.journal.entries(last_run(cluster), kinds=(Kind.CHANGE,))
    ended = [entry for entry in entries if entry.phase is Phase.OUTCOME]
    return {entry.step: entry.payload["value"] for entry in ended}


def again(cluster: FakeCluster, runbook: str = "upgrade", run_id: str = "") -> None:
    """Enter a run again, as Prefect's retry does."""
    flow = upgrade if runbook == "upgrade" else by_howto
    body = flow.fn.__wrapped__  # type: ignore[attr-defined]
    run_id = run_id or last_run(cluster)
    with entered_run(runbook, parameters={"cluster": "lab"}, run_id=run_id):
        body("lab")


@contextmanager
def impatient() -> Iterator[None]:
    """Waits that are bound to fail end soon: each look is many commands."""
    short = {"engine_back_seconds": 12, "live_seconds": 20, "stable_seconds": 45}
    entries = {
        name: replace(entry, limits={**entry.limits, **short})
        for name, entry in catalogue().items()
    }
    with mock.patch("tasks.limits.catalogue", return_value=entries):
        yield


def with_vdsm(cluster: FakeCluster) -> None:
    for host in cluster.hosts.values():
        (host.root / "bin/vdsm-client").write_text("#!/bin/sh\n")
        (host.root / "bin/vdsm-client").chmod(0o755)
