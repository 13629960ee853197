"""agent.conf's timings: what is not safe is refused when they are read, the lab's are not."""

from pathlib import Path

import pytest

from ha.config import ConfigError
from ha.config_files import read_agent_conf
from tests.lab import demo
from tests.lab.conftest import TIMING
from tests.lab.deploy import agent_conf


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "agent.conf"


@pytest.mark.parametrize(
    ("lines", "key", "words"),
    [
        ("io_timeout_seconds=0", "io_timeout_seconds", "0 is not safe"),
        ("io_timeout_seconds=40", "starting_seconds", "Set it to 660 or more"),
        ("io-timeout-seconds=2.5", "io_timeout_seconds", "2.5"),
        ("loop_seconds=0", "loop_seconds", "whole seconds"),
        ("host_alive_seconds=29", "host_alive_seconds", "makes a live host look dead"),
        ("loop_seconds=30", "host_alive_seconds", "Set it to 90 or more"),
        ("host-alive-seconds=890", "history_seconds", "Set it to 910 or more"),
        ("starting_seconds=209", "starting_seconds", "the lease of a host that has died"),
        ("bad_health_seconds=0", "bad_health_seconds", "stops an engine that runs well"),
        ("away_seconds=19", "away_seconds", "two turns"),
        ("blind_seconds=13", "blind_seconds", "one failed read ends the agent"),
        ("watch_seconds=0", "watch_seconds", "Set it to 0.1 or more"),
        ("restart_threshold=0", "restart_threshold", "between equal hosts"),
    ],
)
def test_a_timing_that_is_not_safe_is_refused(file: Path, lines: str, key: str, words: str) -> None:
    file.write_text(f"[timing]\n{lines}\n")
    with pytest.raises(ConfigError) as refused:
        read_agent_conf(file)
    assert refused.value.key == key
    assert words in str(refused.value)
    assert refused.value.remedy


@pytest.mark.parametrize("io_timeout_seconds", [1, 2, 5, 10, 20, 36])
def test_io_timeouts_that_sanlock_is_used_with(file: Path, io_timeout_seconds: int) -> None:
    file.write_text(f"[timing]\nio_timeout_seconds={io_timeout_seconds}\n")
    assert read_agent_conf(file).timing.io_timeout_seconds == io_timeout_seconds


@pytest.mark.parametrize("timing", [TIMING, demo.TIMING], ids=["tests", "demo"])
def test_the_labs_short_timings_are_safe(file: Path, timing: dict[str, float]) -> None:
    file.write_text(agent_conf(timing))
    assert read_agent_conf(file).timing.loop_seconds == timing["loop_seconds"]
