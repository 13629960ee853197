"""A flow run of a deployment on a real server, its attempts executed by the test."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import Pause
from prefect.settings import PREFECT_API_URL

from tasks.gates import (
    GateExpired,
    GateRejected,
)
from tasks.journal import Journal
from tests.tasks import gated_sample

SAMPLE = Path(gated_sample.__file__)


@dataclass
class Served:
    """A flow run of a deployment, its attempts executed by processes of ours."""

    run_id: str
    home: Path

    @property
    def journal(self) -> Journal:
        return Journal(f"sqlite:///{self.home / 'journal.db'}")

    def attempt(self, gate_expires_seconds: int = 600) -> str:
        """Execute the run as a runner would, until it ends or is suspended; say which."""
        try:
            gated_sample.attempt(self.run_id, self.home, gate_expires_seconds)
        except Pause:
            return "suspended"
        except (GateRejected, GateExpired) as refused:
            return str(refused)
        return "completed"

    def killed_attempt(self) -> int:
        """Execute the run in a process that is killed with an answer read and not recorded."""
        env = {"PREFECT_API_URL": PREFECT_API_URL.value(), "PYTHONPATH": str(SAMPLE.parents[2])}
        return subprocess.run(
            [sys.executable, SAMPLE, self.run_id, self.home],
            env={**os.environ, **env},
            capture_output=True,
            check=False,
            timeout=120,
        ).returncode

    @property
    def state(self) -> str:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(UUID(self.run_id)).state
        assert state is not None
        return str(state.name)

    def answer(self, fields: Mapping[str, Any] | None) -> SetStateStatus:
        """Answer as the UI does."""
        with get_client(sync_client=True) as client:
            given = None if fields is None else dict(fields)
            return client.resume_flow_run(UUID(self.run_id), run_input=given).status

    def force(self, *states: Any) -> None:
        with get_client(sync_client=True) as client:
            for state in states:
                client.set_flow_run_state(UUID(self.run_id), state)

    def wrote(self) -> list[str]:
        return (self.home / "log").read_text().splitlines()

    def inputs(self) -> dict[str, Any]:
        with get_client(sync_client=True) as client:
            rows = client.filter_flow_run_input(UUID(self.run_id), "", limit=50, exclude_keys=set())
        return {row.key: json.loads(row.value) for row in rows}


def served_run(home: Path) -> Served:
    """Return a new flow run of a deployment of its own."""
    with get_client(sync_client=True) as client:
        flow_id = client.create_flow_from_name("gated")
        deployment_id = client.create_deployment(flow_id, name=home.name)
        run = client.create_flow_run_from_deployment(
            deployment_id, parameters={"cluster": "lab", "log": str(home / "log")}
        )
    return Served(str(run.id), home)
