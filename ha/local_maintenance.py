"""ha.conf: this host's local maintenance, read at every turn and written under a lock."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ha.config import ConfigError, LocalMaintenance, Paths, refuse_misspelt
from ha.config_files import read_key_values
from ha.whole_file import write_whole

_ENGINE_KEY = "local_maintenance"
_MANUAL_KEY = "local_maintenance_manual"
# The keys of the file, and what they are called here.
FLAGS = {_ENGINE_KEY: "engine", _MANUAL_KEY: "manual"}
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False, "": False}


def load_local_maintenance(paths: Paths) -> LocalMaintenance:
    """Return the two flags; both are off when there is no file. Raises ConfigError."""
    path = paths.ha_conf
    values = read_key_values(path) if path.exists() else {}
    refuse_misspelt(path, values, FLAGS)
    return LocalMaintenance(
        engine=flag_of(path, _ENGINE_KEY, values.get(_ENGINE_KEY, "")),
        manual=flag_of(path, _MANUAL_KEY, values.get(_MANUAL_KEY, "")),
    )


def save_local_maintenance(paths: Paths, flags: LocalMaintenance) -> None:
    """Write the two flags and keep all else in the file.

    The file is replaced in one step, so that a reader finds the old or the new one. Raises
    ConfigError and OSError.
    """
    path = paths.ha_conf
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        values = read_key_values(path)
        refuse_misspelt(path, values, FLAGS)
        values |= {_ENGINE_KEY: str(flags.engine), _MANUAL_KEY: str(flags.manual)}
        write_whole(path, "".join(f"{key}={value}\n" for key, value in values.items()))


def flag_of(path: Path, key: str, text: str) -> bool:
    """Return what a word says; an empty one is False. Raises ConfigError."""
    if text.lower() not in _WORDS:
        raise ConfigError(path, key, f"{text!r} is neither True nor False", "Write one of the two")
    return _WORDS[text.lower()]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock that upstream's writers (the engine, through VDSM) take: the file's own."""
    while True:
        with path.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # Whoever held the lock before may have replaced the file that we have open.
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                yield
                return
