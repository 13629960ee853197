"""Where the password of a console ticket comes from; it is in no parameter, journal, log or argv.

By default it is made up and lies in a file below the control node's home that only its owner can
read, until the ticket has expired. Or it is the operator's own, from a file or a Secret block.
"""

import re
import secrets
from pathlib import Path
from typing import Any

from prefect.blocks.system import Secret

from tasks.plan import planning
from tasks.redaction import register_secret
from tasks.refusal import CheckRefused
from tasks.runs import current_run
from tasks.settings import settings

LENGTH = 8  # VNC's authentication is DES with the password as its key: RFC 6143, 7.2.2
ALPHABET = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # none that look alike
SHORTEST = 6
FILE, BLOCK = "file:", "secret-block:"
FIT = re.compile(rf"[!-~]{{{SHORTEST},{LENGTH}}}")


def password_file(run_id: str = "") -> Path:
    """Return where the made-up password of a run lies, by default of the one in force."""
    run = current_run()
    return settings().home / "console" / (run_id or (run.run_id if run else "no-run"))


def console_password(password_from: str) -> str:
    """Return the run's password, the same at every attempt; from here on it is struck out.

    Raises CheckRefused.
    """
    password = _found(password_from)
    if not FIT.fullmatch(password):
        raise CheckRefused(
            f"the password from {password_from} is not {SHORTEST} to {LENGTH} printable ASCII "
            "characters without blanks",
            "put another one there: VNC takes no more than 8",
        )
    register_secret(password)
    return password


def forget_password(run_id: str = "") -> None:
    """Remove the made-up password of a run, by default of the one in force."""
    password_file(run_id).unlink(missing_ok=True)


def _found(password_from: str) -> str:
    if password_from.startswith(FILE):
        return _of_file(Path(password_from.removeprefix(FILE)))
    if password_from.startswith(BLOCK):
        return _of_block(password_from.removeprefix(BLOCK))
    if password_from:
        raise CheckRefused(
            f"password_from={password_from!r}", f"write {FILE}/PATH or {BLOCK}NAME, or leave it out"
        )
    return _made_up()


def _of_file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CheckRefused(
            f"{path} on the control node cannot be read: {error}", "name a readable file"
        ) from error


def _of_block(name: str) -> str:
    load: Any = Secret.load  # its stub does not know `_sync`, which keeps it out of event loops
    try:
        block = load(name, _sync=True)
    except ValueError as error:  # Prefect's word for a block that is not there
        raise CheckRefused(f"Secret block {name!r}: {error}", "create it in Prefect") from error
    return str(block.get())


def _made_up() -> str:
    path = password_file()
    if path.exists():
        return path.read_text(encoding="ascii").strip()
    password = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
    if planning() is None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(f"{password}\n", encoding="ascii")
    return password
