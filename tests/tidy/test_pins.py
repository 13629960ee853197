"""The pins stay installable together, and Prefect's server starts with them.

Prefect 3.8.8 does not bound FastAPI from above, and with a newer one its server dies at import.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = (re.match(r"([a-z0-9][a-z0-9._-]*)==(\S+)", line) for line in lines)
    return {match[1]: match[2] for match in found if match}


def test_pip_finds_the_pins_consistent() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_what_the_project_names_is_pinned_within_its_bounds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for line in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        wanted = Requirement(line)
        assert wanted.specifier.contains(pins()[wanted.name]), (
            f"{line}: pinned {pins()[wanted.name]}"
        )


def test_every_pin_has_a_hash() -> None:
    text = (ROOT / "constraints.txt").read_text()
    for block in re.split(r"\n(?=[a-z0-9])", text)[1:]:
        assert "--hash=sha256:" in block, block.splitlines()[0]


def test_prefect_server_can_be_imported() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", "import prefect.server.api.server"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
