"""Where a lab keeps its things, and what it must remember to be found again or cleaned up."""

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

STATE_FILE = "lab.json"


@dataclass(frozen=True, slots=True)
class State:
    """A lab that was brought up: its choices, and the id that its kernel objects carry."""

    instance: str
    hosts: int
    storage: str
    sanlock_speed: int
    image: str = ""
    deployed: bool = False


def cache_dir() -> Path:
    """The folder of all labs and images of this user."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "hosted-engine-runbooks"


def lab_dir(name: str) -> Path:
    """The folder of the lab of that name."""
    return cache_dir() / "labs" / name


def new_instance() -> str:
    """An id for names that other labs on the same kernel must not share."""
    return secrets.token_hex(3)


def load(folder: Path) -> State | None:
    """The remembered state of the lab in `folder`; None if none was brought up there."""
    try:
        text = (folder / STATE_FILE).read_text()
    except FileNotFoundError:
        return None
    return State(**json.loads(text))


def save(folder: Path, state: State) -> None:
    """Remember `state`, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"{STATE_FILE}.part"
    draft.write_text(json.dumps(asdict(state), indent=1) + "\n")
    draft.replace(folder / STATE_FILE)


def images_in_use() -> set[Path]:
    """The images that remembered labs stand on."""
    found = [load(file.parent) for file in cache_dir().glob(f"labs/*/{STATE_FILE}")]
    return {Path(known.image) for known in found if known}
