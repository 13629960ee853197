"""Commands with checksums, for a person to read; without Prefect: its import takes a second."""

from shlex import quote


def whole_command(path: str, sha256: str) -> str:
    """Return the command that tells whether a backup is whole."""
    return f"echo {quote(f'{sha256}  {path}')} | sha256sum -c"
