"""Running commands, with errors that read well."""

import subprocess
from collections.abc import Sequence
from subprocess import CompletedProcess


class LabError(Exception):
    """The lab cannot do what was asked; the text says why and what helps."""


class CommandFailed(LabError):
    """A command ended with another exit code than 0, or did not end in time."""

    def __init__(self, argv: Sequence[str], outcome: str, output: str) -> None:
        self.argv, self.outcome, self.output = tuple(argv), outcome, output
        super().__init__(f"{' '.join(argv)}: {outcome}\n{output.strip()}")


def run(
    argv: Sequence[str],
    *,
    check: bool = True,
    stdin: bytes | str | None = None,
    timeout_seconds: float = 60,
) -> CompletedProcess[str]:
    """Run `argv` to its end and return its output as text.

    Raises CommandFailed when it does not end in time or, with `check`, with an exit code that
    is not 0.
    """
    text = stdin.decode() if isinstance(stdin, bytes) else stdin
    source: dict[str, int] = {} if text is not None else {"stdin": subprocess.DEVNULL}
    try:
        done = subprocess.run(
            argv,
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_seconds,
            check=False,
            **source,  # type: ignore[call-overload]
        )
    except subprocess.TimeoutExpired as error:
        seen = (error.stdout or b"") + (error.stderr or b"")
        shown = seen.decode(errors="replace") if isinstance(seen, bytes) else seen
        raise CommandFailed(argv, f"still running after {timeout_seconds:g} s", shown) from error
    if check and done.returncode != 0:
        raise CommandFailed(argv, f"exit code {done.returncode}", done.stdout + done.stderr)
    return CompletedProcess(done.args, done.returncode, done.stdout, done.stderr)
