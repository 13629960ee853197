"""Crashed runs are continued after pauses that grow, and fail when they crash too often."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from flows import sweep
from flows.api import Api
from flows.sweep import PAUSE_SECONDS, continue_crashed
from tasks.settings import Settings

HOUR_SECONDS = 3600.0


class Crashed(Api):
    """A server with one run that crashed so many times, the last time so long ago."""

    def __init__(self, times: int, ago_seconds: float) -> None:
        self.times = times
        self.at = datetime.fromtimestamp(time.time() - ago_seconds, UTC).isoformat()
        self.became: list[str] = []

    def runs(self, *_args: Any, **_kwargs: Any) -> list[dict[str, Any]]:
        return [{"id": "r1", "name": "a run", "state": {"timestamp": self.at}}]

    def get(self, path: str, **_kwargs: Any) -> Any:
        return [{"type": "CRASHED"}] * self.times + [{"type": "RUNNING"}]

    def set_state(self, run_id: str, state: str, name: str, message: str) -> None:
        self.became.append(state)


def after(times: int, ago_seconds: float) -> list[str]:
    api = Crashed(times, ago_seconds)
    list(continue_crashed(api, "runbook"))
    return api.became


@pytest.mark.parametrize(("times", "pause_seconds"), list(enumerate(PAUSE_SECONDS, start=1)))
def test_each_pause_is_waited_for(times: int, pause_seconds: float) -> None:
    assert after(times, pause_seconds + 0.5) == ["SCHEDULED"]
    if pause_seconds:
        assert after(times, pause_seconds - 1) == []


def test_the_ninth_crash_is_one_too_many() -> None:
    assert after(8, HOUR_SECONDS) == ["SCHEDULED"]
    assert after(9, HOUR_SECONDS) == ["FAILED"]


def test_both_bounds_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = Settings(crashes_max=100, pause_seconds_max=0)
    monkeypatch.setattr(sweep, "settings", lambda: chosen)
    assert after(100, 0) == ["SCHEDULED"]
    assert after(101, HOUR_SECONDS) == ["FAILED"]
