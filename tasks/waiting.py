"""One bounded wait, on the world's clock."""

from collections.abc import Callable

from tasks.env import world
from tasks.refusal import NotKnown


class TimedOut(Exception):
    """A wait ended without the condition that it waited for."""


def wait_until(
    what: str,
    look: Callable[[], str | None],
    *,
    timeout_seconds: float,
    every_seconds: float,
    progress: Callable[[str], None],
) -> None:
    """Wait until a look finds nothing missing any more.

    `look` returns what is still missing, or None when all is there; NotKnown counts as missing.
    Each change of that answer is shown. Raises TimedOut with the last answer.
    """
    clock = world().clock
    started = clock.monotonic()
    shown: str | None = None
    while (missing := _missing(look)) is not None:
        waited_seconds = clock.monotonic() - started
        if waited_seconds >= timeout_seconds:
            raise TimedOut(f"{what}: not within {timeout_seconds:.0f} s: {missing}")
        if missing != shown:
            progress(f"{what}: waiting ({waited_seconds:.0f} s): {missing}")
            shown = missing
        clock.sleep(every_seconds)


def _missing(look: Callable[[], str | None]) -> str | None:
    try:
        return look()
    except NotKnown as unknown:
        return str(unknown)
