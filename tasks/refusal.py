"""The error of checks, and its kind that a wait waits out."""


class CheckRefused(Exception):
    """A check does not let the run go on; raised before that check's run changes anything more.

    The message says what was found and what to do about it.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}. What to do: {remedy}.")


class NotKnown(CheckRefused):
    """What would decide cannot be told now: a check refuses, a wait keeps waiting."""
