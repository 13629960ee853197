"""Gates of runs without a deployment on a real Prefect server: they wait in place."""

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.exceptions import Abort
from prefect.states import Running

from tasks.env import SystemClock, World, use_world
from tasks.gates import (
    GateExpired,
    gate,
    pending_gates,
    resume,
)
from tasks.journal import Journal
from tasks.runs import recorded_run

YES = {"decision": "approve", "approver": "Ann", "reason": "ticket 7"}


@flow(name="paused")
@recorded_run("paused")
def paused(cluster: str) -> str:
    return gate("go", evidence="Go?", risk="A1").approver


@pytest.mark.slow
@pytest.mark.usefixtures("prefect")
class TestPaused:
    def test_without_a_deployment_it_waits_in_place(self, small_world: World) -> None:
        with use_world(replace(small_world, clock=SystemClock())):
            answering = threading.Thread(target=self.answer, args=(small_world.journal, YES))
            answering.start()
            assert paused("lab") == "Ann"
            answering.join()

    def test_a_forced_run_is_asked_again(self, small_world: World) -> None:
        def force_then_answer() -> None:
            run_id = self.waiting(small_world.journal)
            with get_client(sync_client=True) as client:
                while not client.read_flow_run(UUID(run_id)).state.is_paused():
                    time.sleep(0.1)
                client.set_flow_run_state(UUID(run_id), Running())
                while not client.read_flow_run(UUID(run_id)).state.is_paused():
                    time.sleep(0.1)
            resume(run_id, YES)

        with use_world(replace(small_world, clock=SystemClock())):
            forcing = threading.Thread(target=force_then_answer)
            forcing.start()
            assert paused("lab") == "Ann"
            forcing.join()

    def test_it_expires_in_place(self, small_world: World, journal: Journal) -> None:
        quick = replace(small_world, clock=SystemClock(), gate_expires_seconds=2)
        with use_world(quick), pytest.raises(GateExpired):
            paused("lab")
        assert journal.entries()[-1].payload["as"] == "expired"

    @staticmethod
    def waiting(journal: Journal) -> str:
        while not pending_gates(journal):
            time.sleep(0.1)
        return pending_gates(journal)[0].run_id

    def answer(self, journal: Journal, fields: Mapping[str, Any]) -> None:
        resume(self.waiting(journal), fields)

    def test_a_superseded_process_leaves_without_telling_prefect(self, small_world: World) -> None:
        seen: list[UUID] = []

        @flow(name="superseded")
        @recorded_run("superseded")
        def superseded(cluster: str) -> None:
            context = FlowRunContext.get()
            assert context is not None
            assert context.flow_run is not None
            seen.append(context.flow_run.id)
            journal = small_world.journal
            journal.open_run(journal.runs()[0])
            gate("go", evidence="Go?", risk="A1")

        with pytest.raises(Abort):
            superseded("lab")
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(seen[0]).state
        assert state is not None
        assert state.name == "Running"
