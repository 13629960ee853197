"""Recorded functions that write down when they are really called."""

from dataclasses import dataclass

from tasks.recorded import Outcome, change, check, look, wait

calls: list[str] = []


@dataclass(frozen=True, slots=True)
class Seen:
    host: str
    blocks: tuple[int, ...]


@look
def read_blocks(cluster: str, host: str) -> tuple[Seen, ...]:
    """Read the blocks."""
    calls.append(f"read {host}")
    return (Seen(host, (1, 52)),)


@change
def write_blocks(cluster: str, host: str, blocks: tuple[int, ...] = ()) -> Outcome:
    calls.append(f"write {host} {blocks}")
    return Outcome.CHANGED


@check
def require_quiet(cluster: str) -> None:
    calls.append("check")


@wait
def wait_until_quiet(cluster: str, timeout_seconds: float) -> bool:
    calls.append(f"wait {timeout_seconds}")
    return True


@change
def fail(cluster: str) -> None:
    calls.append("fail")
    raise RuntimeError("no space left")
