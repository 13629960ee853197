"""Runs are found however many have begun, or are to begin, since."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flows.api import ApiRefused
from flows.cli_output import UsageRefused
from flows.cli_runs import Runs
from tasks.journal import Journal, Run

OLD = "0aaa1111-0000-4000-8000-000000000001"
OTHER = "0aaa2222-0000-4000-8000-000000000002"
NOW = datetime.now(UTC)


class FakeServer:
    """The parts of the server's API that find runs, with its order and its limit."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}

    def put(self, run_id: str, runbook: str, start: datetime, state: str = "COMPLETED") -> None:
        self.runs[run_id] = {
            "id": run_id,
            "name": f"{runbook} lab",
            "deployment_id": runbook,
            "expected_start_time": start.isoformat(),
            "state_type": state,
            "tags": ["runbook"],
        }

    def get(self, path: str) -> Any:
        kind, wanted = path.strip("/").split("/")
        if kind == "deployments":
            return {"name": wanted}
        if wanted not in self.runs:
            raise ApiRefused(path, 404, "Flow run not found")
        return self.runs[wanted]

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        assert path == "/flow_runs/filter"
        json.dumps(body)
        wanted, of = body["flow_runs"], body.get("deployments")
        before = wanted.get("expected_start_time", {}).get("before_", "9")
        found = [
            run
            for run in self.runs.values()
            if run["expected_start_time"] <= before
            and (of is None or run["deployment_id"] in of["name"]["any_"])
            and run["name"] in wanted.get("name", {}).get("any_", [run["name"]])
        ]
        found.sort(key=lambda run: run["expected_start_time"], reverse=True)
        return found[: body["limit"]]


@pytest.fixture
def server() -> FakeServer:
    """Return a server with one old run, a thousand watches since, and some that are to come."""
    server = FakeServer()
    server.put(OLD, "metadata-too-new", NOW - timedelta(days=100), "FAILED")
    for number in range(-1000, 100):
        run_id = f"0bbb{number + 1000:04d}-0000-4000-8000-000000000000"
        server.put(run_id, "watch", NOW + timedelta(hours=number), "SCHEDULED")
    return server


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(f"sqlite:///{tmp_path / 'journal.db'}")
    for run_id in (OLD, "0aaa-plain-python"):
        journal.open_run(Run(run_id, "metadata-too-new", "lab", {}, "ann", "prefect", NOW, 0))
    yield journal
    journal.engine.dispose()


@pytest.fixture
def runs(server: FakeServer, journal: Journal) -> Runs:
    return Runs(server, "http://ui", journal)  # type: ignore[arg-type]


@pytest.mark.parametrize("wanted", [OLD, OLD[:8], OLD[:4], "metadata-too-new lab"])
def test_an_old_run_is_found(runs: Runs, wanted: str) -> None:
    assert runs.find(wanted).id == OLD


def test_an_id_that_the_server_lists_and_the_journal_does_not(
    runs: Runs, server: FakeServer
) -> None:
    server.put(OTHER, "upgrade", NOW)
    assert runs.find(OTHER[:8]).id == OTHER
    with pytest.raises(UsageRefused, match="means several runs: .*0aaa1111"):
        runs.find("0aaa")


@pytest.mark.parametrize("wanted", ["ffff", OTHER, "nothing", "0aaa-plain-python", "%aaa"])
def test_what_is_no_run_is_said_to_be_none(runs: Runs, wanted: str) -> None:
    with pytest.raises(UsageRefused, match=f"no run '?{wanted}"):
        runs.find(wanted)


def test_watches_come_last_and_those_to_come_do_not(runs: Runs) -> None:
    found = runs.latest(20)
    assert [run.runbook for run in found] == ["metadata-too-new", *["watch"] * 3]
    assert found[1].id < "0bbb1002"
