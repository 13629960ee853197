"""The supervisor: keeps one Prefect server and one runner alive on this machine."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import FrameType

from flows.api import Api, ApiRefused
from flows.automations import ensure_automations
from flows.children import Child, WallTime, bound_log, end_leftovers, tail
from flows.environment import environment, server_environment
from flows.gate_notices import ensure_notices, notice_url
from flows.proposals import ensure_proposals
from flows.server import (
    HOST,
    TAG,
    NoServer,
    Place,
    ServerRecord,
    choose_port,
    credentials,
    lock_is_ours,
    take_lock,
    write_record,
)
from flows.sweep import continue_crashed, settle_orphans
from tasks.policy import policy_of
from tasks.settings import settings

START_LIMIT_SECONDS = 180.0
HUNG_SECONDS = 60.0
STOP_LIMIT_SECONDS = 15.0
TICK_SECONDS = 0.5
SWEEP_EVERY_SECONDS = 2.0
STARTS_BEFORE_READY = 4
RUNNER_ARGV = (sys.executable, "-m", "flows.runner")

Say = Callable[[str], None]


class ServeFailed(Exception):
    """The server or the runner did not come up; the text has the end of its log."""


class Supervisor:
    """Starts, watches, restarts and stops the two children of one home."""

    def __init__(
        self, place: Place, port: int, say: Say, runner: Sequence[str] = RUNNER_ARGV
    ) -> None:
        chosen = settings()
        policy_of(chosen)  # what the gates could not be held to is refused before anything runs
        self.notice_url = notice_url(
            chosen.notify_url_path(), required=chosen.notify_url_file is not None
        )
        self.place = place
        self.say = say
        self.lock = take_lock(place)
        place.record.unlink(missing_ok=True)  # of one that was killed
        for name in ("runner", "server"):
            end_leftovers(f"{name}:{place.home}")
        self.port = choose_port(port)
        self.api = Api(self.port, credentials(place), patience_seconds=5.0)
        self.server = self._child("server", server_argv(self.port), server_environment)
        self.runner = self._child("runner", runner, environment)
        self.healthy = False
        self.ready = False
        self.answered_at = time.monotonic()
        self.swept_at = 0.0
        self.told: dict[str, int] = {}
        self._stop = threading.Event()

    def _child(
        self, name: str, argv: Sequence[str], variables: Callable[[Place, int], Mapping[str, str]]
    ) -> Child:
        log = self.place.logs / f"{name}.log"
        given = (name, argv, variables(self.place, self.port), log, self.place.home)
        return Child(*given, pause_seconds_max=settings().pause_seconds_max)

    def run(self) -> None:
        """Serve until SIGTERM, SIGINT or `stop`.  Raises ServeFailed if it cannot come up."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        began = time.monotonic()
        try:
            while not self._stop.is_set():
                self._tick()
                if not self.ready and time.monotonic() - began > START_LIMIT_SECONDS:
                    raise self._failed(f"not ready after {START_LIMIT_SECONDS:.0f} s")
                self._stop.wait(TICK_SECONDS)
        finally:
            self._shut_down()

    def stop(self) -> None:
        self._stop.set()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stop.set()

    def _tick(self) -> None:
        self._keep_server()
        if not self.healthy:
            return
        try:
            self._keep_runner()
            if time.monotonic() - self.swept_at > SWEEP_EVERY_SECONDS:
                self._look_around()
        except (NoServer, ApiRefused) as trouble:
            self.say(f"server: {trouble}")

    def _keep_server(self) -> None:
        if not self.server.alive():
            self._note_death(self.server)
            self.healthy = False
            if self.server.due():
                self.say(f"starting the Prefect server on {HOST}:{self.port}")
                self.server.start()
                self.answered_at = time.monotonic()
                self._record()
        elif not self.healthy and self.api.healthy():
            self._server_is_up()
        elif not self.healthy and time.monotonic() - self.answered_at > START_LIMIT_SECONDS:
            self.say("the server does not come up: restarting it")
            self.server.kill()

    def _server_is_up(self) -> None:
        self.healthy = True
        self.answered_at = time.monotonic()
        self.say(f"server: healthy after {self.answered_at - self.server.started_at:.0f} s")
        ensure_automations(self.api, TAG)
        if self.runner.alive():
            # After an outage of the server a runner can no longer cancel runs.
            self.say("runner: restarting it, as the server was restarted")
            self.runner.kill()

    def _keep_runner(self) -> None:
        if self.runner.alive():
            if not self.ready and polled_since(self.api, TAG, self.runner.started_wall):
                ensure_proposals(self.api)
                ensure_notices(self.api, TAG, self.notice_url)
                self.ready = True
                self._record()
                self.say(f"ready: {self.record().ui_url}")
            return
        self._note_death(self.runner)
        if self.runner.due():
            self.runner.start()
            self._record()
            for run in settle_orphans(self.api, TAG):
                self.say(f"run {run}: its process is gone; it will be continued")

    def _note_death(self, child: Child) -> None:
        """Say once that a child ended, and give up on one that never came up."""
        if child.deaths <= self.told.get(child.name, 0):
            self.told[child.name] = child.deaths
            return
        self.told[child.name] = child.deaths
        if not self.ready and child.deaths >= STARTS_BEFORE_READY:
            raise self._failed(f"the {child.name} ended {child.deaths} times")
        wait_seconds = max(0.0, child.due_at - time.monotonic())
        self.say(f"{child.name}: it ended; starting it again in {wait_seconds:.0f} s")

    def _look_around(self) -> None:
        self.swept_at = time.monotonic()
        if self.api.healthy():
            self.answered_at = time.monotonic()
        elif time.monotonic() - self.answered_at > HUNG_SECONDS:
            self.say(f"server: no answer for {HUNG_SECONDS:.0f} s; restarting it")
            self.server.kill()
            return
        if not lock_is_ours(self.place, self.lock):
            raise ServeFailed(f"{self.place.home} was removed while it was served: stopping")
        for line in continue_crashed(self.api, TAG):
            self.say(line)
        bound_log(self.server.log)
        bound_log(self.runner.log)

    def record(self) -> ServerRecord:
        url = f"http://{HOST}:{self.port}"
        return ServerRecord(
            url=f"{url}/api",
            ui_url=url,
            port=self.port,
            supervisor_pid=os.getpid(),
            server_pid=self.server.pid,
            runner_pid=self.runner.pid,
            ready=self.ready,
            inventory=str(settings().inventory_path().absolute()),
        )

    def _record(self) -> None:
        write_record(self.place, self.record())

    def _failed(self, what: str) -> ServeFailed:
        child = self.runner if self.healthy else self.server
        return ServeFailed(f"{what}; the end of {child.log}:\n{tail(child.log)}")

    def _shut_down(self) -> None:
        self.say("stopping the runner, then the server; unfinished runs continue at the next start")
        self.runner.stop(STOP_LIMIT_SECONDS)
        self.server.stop(STOP_LIMIT_SECONDS)
        self.place.record.unlink(missing_ok=True)
        os.close(self.lock)


def server_argv(port: int) -> list[str]:
    """Return the server's command: the application itself, without Prefect's own launcher.

    (The launcher would be one more process between the supervisor and what it watches.)
    """
    return [
        *(sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app"),
        *("--host", HOST, "--port", str(port), "--timeout-keep-alive", "5"),
        *("--log-level", "warning", "--timeout-graceful-shutdown", "5"),
    ]


def polled_since(api: Api, tag: str, since: WallTime) -> bool:
    """Tell whether a runner has asked for work since a time: then it has registered all it serves.

    Both times are of this machine's clock.
    """
    deployments = api.post(
        "/deployments/filter", {"deployments": {"tags": {"all_": [tag]}}, "limit": 200}
    )
    polls = (each["last_polled"] for each in deployments)
    return any(poll and datetime.fromisoformat(poll).timestamp() > since for poll in polls)
