"""`python -m ha simulate` as an operator types it: answers, pictures, and refusals."""

import json
import os
import subprocess
import sys
from errno import ENOSPC
from pathlib import Path

import pytest

from ha.__main__ import main
from ha.simulator.deployed import conf_text

SHORT = ("--runs", "1", "--until", "300")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def scenario(here: Path, until_seconds: int = 120, end: str = "") -> Path:
    file = here / "scenario.toml"
    text = f'title = "Nothing happens"\nhosts = 2\nuntil_seconds = {until_seconds}\n{end}'
    file.write_text(text)
    return file


def test_a_scenario_is_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", str(scenario(here))]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("     21 host1    state    ReinitializeFSM (0): The agent has started")
    assert "     91 host1    vm       runs" in out


def test_a_scenario_as_json_and_as_a_picture(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "--json", "--svg", "x.svg", str(scenario(here))]) == 0
    assert json.loads(capsys.readouterr().out)["wrong"] == []
    assert "Nothing happens" in (here / "x.svg").read_text()


def test_what_is_not_as_expected_is_told_and_is_exit_code_1(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    end = '[[expect]]\nat_seconds = 120\nengine_on = "host2"\n'
    assert main(["simulate", str(scenario(here, end=end))]) == 1
    assert "wrong: at 120 s the engine VM runs on host1" in capsys.readouterr().err


def test_what_if_with_the_operators_own_settings(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "hosted-engine.conf").write_text(conf_text(2, {"network_test": "none"}))
    (here / "agent.conf").write_text("[timing]\nio_timeout_seconds=5\n")
    words = ["--config", "hosted-engine.conf", "--agent-conf", "agent.conf", "--svg", "x.svg"]
    ask = ["simulate", "--what-if", "gateway-lost host1", "--what-if", "kill-vm", "--at", "100"]
    assert main([*ask, *words, *SHORT, "--hosts", "2"]) == 0
    out = capsys.readouterr().out
    assert "gateway-lost host1 at T+0:00, kill-vm at T+1:40" in out
    assert "off for network status" not in out  # the network test of this cluster is "none"
    assert "  hosted-engine.conf\n  agent.conf\n" in out
    assert "sanlock's io_timeout is 5 s" in out
    assert (here / "x.svg").read_text().startswith("<svg")


def test_times_count_from_the_first_fault(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ask = ["--what-if", "kill-vm", "--at", "90", "--what-if", "gateway-lost host2", "--at", "30"]
    assert main(["simulate", "--json", *ask, *SHORT, "--hosts", "2"]) == 0
    faults = json.loads(capsys.readouterr().out)["faults"]
    assert [(fault["at_seconds"], fault["do"]) for fault in faults] == [
        (60, "kill-vm"),
        (0, "gateway-lost host2"),
    ]


def test_the_faults_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--list-faults"]) == 0
    assert "power-off HOST" in capsys.readouterr().out


BAD = {
    "Give either a scenario or --what-if": [],
    "A scenario says itself how many hosts": ["scenario.toml", "--hosts", "2"],
    "No such fault": ["--what-if", "explode"],
    "the hosts are host1, host2": ["--what-if", "power-off host3", "--hosts", "2"],
    "nowhere.toml: No such file": ["nowhere.toml"],
    "nowhere.conf: file: does not exist": ["--what-if", "kill-vm", "--config", "nowhere.conf"],
    "nowhere.conf: does not exist": ["--what-if", "kill-vm", "--agent-conf", "nowhere.conf"],
    "wrong.conf: host_id: is missing": ["--what-if", "kill-vm", "--config", "wrong.conf"],
    "host_alive_seconds": ["--what-if", "kill-vm", "--agent-conf", "unsafe.conf"],
    "its folder does not exist": ["--what-if", "kill-vm", "--svg", "no/x.svg"],
    "--vm-on host9": ["--what-if", "kill-vm", "--vm-on", "host9"],
    "comes after the end": ["--what-if", "kill-vm", "--at", "9", "--until", "9"],
}


@pytest.mark.parametrize(("says", "words"), BAD.items(), ids=BAD)
def test_bad_input_is_refused_and_nothing_is_written(
    says: str, words: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "wrong.conf").write_text("fqdn=engine\n")
    (here / "unsafe.conf").write_text("[timing]\nhost_alive_seconds=1\n")
    before = sorted(here.iterdir())
    assert main(["simulate", *words, *(["--svg", "x.svg"] if "--svg" not in words else [])]) == 2
    told = capsys.readouterr()
    assert says in told.err
    assert (told.out, sorted(here.iterdir())) == ("", before)


@pytest.mark.parametrize(
    "words",
    [
        ["--at", "3"],
        ["--what-if", "kill-vm", "--at", "-1"],
        ["--what-if", "kill-vm", "--at", "nan"],
        ["--what-if", "kill-vm", "--hosts", "0"],
        ["--what-if", "kill-vm", "--runs", "x"],
        ["--what-if", "kill-vm", "--until", "x"],
    ],
)
def test_options_that_make_no_sense_are_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["simulate", *words])
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_a_picture_that_cannot_be_written_is_told(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(ENOSPC, "No space left on device")

    monkeypatch.setattr("ha.simulator.simulate.write_whole", full)
    assert main(["simulate", "--what-if", "kill-vm", *SHORT, "--svg", "x.svg"]) == 2
    told = capsys.readouterr()
    assert ("x.svg: No space left on device" in told.err, told.out) == (True, "")
    (here / "x.svg").mkdir()
    assert main(["simulate", "--what-if", "kill-vm", *SHORT, "--svg", "x.svg"]) == 2
    assert "x.svg: is a folder" in capsys.readouterr().err


def test_neither_libvirt_nor_sanlock_is_needed() -> None:
    """The simulator runs where the bindings are not installed."""
    program = (
        "import sys; sys.modules['libvirt'] = sys.modules['sanlock'] = None; "
        "from ha.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    ask = ["simulate", "--what-if", "kill-vm", *SHORT]
    ran = subprocess.run(
        [sys.executable, "-c", program, *ask],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])},
    )
    assert ran.returncode == 0, ran.stderr
    assert "The engine does not answer for" in ran.stdout
