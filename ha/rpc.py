"""The broker, from another process of this host: the client of `ha.broker_server`.

Blocks travel in base64.
"""

import base64
import json
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ha.core.record import BLOCK_BYTES
from ha.env.live_hosts import LiveHosts
from ha.env.ports import BrokerError, BrokerSilent, BrokerUnreachable, Report

TIMEOUT_SECONDS = 20.0
# sanlock writes to storage when it leaves a lockspace, and then waits for its own thread.
RELEASE_SECONDS = 30.0

T = TypeVar("T")


class BrokerLink:
    """A connection for each call, so that a broker's restart costs one failed call at most."""

    def __init__(self, path: Path, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._path = path
        self._timeout_seconds = timeout_seconds

    def monitors(self) -> Mapping[str, object]:
        """Return the monitors' latest values."""
        return self._call("monitors", read=_mapping)

    def read_blocks(self, host_ids: Sequence[int] | None) -> Mapping[int, bytes]:
        """Return the non-empty blocks among these ids; None reads the whole range."""
        wanted = None if host_ids is None else list(host_ids)
        return self._call("read_blocks", {"host_ids": wanted}, read=_blocks)

    def write_block(self, block: bytes) -> None:
        """Write the block of this host."""
        self._call("write_block", {"block": encode_block(block)}, read=_nothing)

    def set_global_maintenance(self, on: bool) -> None:
        """Write block 0; it was read back from storage when this returns."""
        self._call("set_global_maintenance", {"on": on}, read=_nothing)

    def lock_host_id(self) -> None:
        """Take the lease on this host's id in both lockspaces; "joining" while that goes on."""
        self._call("lock_host_id", read=_nothing)

    def release_host_id(self) -> None:
        """Give back the lease on the whiteboard's host id."""
        self._call("release_host_id", read=_nothing, timeout_seconds=RELEASE_SECONDS)

    def host_id_locked(self) -> bool:
        """Whether the lease on this host's id is held in both lockspaces."""
        return self._call("host_id_locked", read=_flag)

    def set_live_hosts(
        self, host_ids: Sequence[int], report: Report | None = None, dead_ids: Sequence[int] = ()
    ) -> None:
        """Keep the list of hosts alive; a broker of an older version passes over the rest."""
        params: dict[str, object] = {"host_ids": list(host_ids), "dead_ids": list(dead_ids)}
        if report is not None:
            params["report"] = report
        self._call("set_live_hosts", params, read=_nothing)

    def live_hosts(self) -> LiveHosts:
        """Return what was kept last."""
        return self._call("live_hosts", read=_live_hosts)

    def notify(self, event: str, detail: str, since: float | None = None) -> None:
        """Queue a notification; `since` in seconds since 1970, None: just now."""
        params = {"event": event, "detail": detail, "since": since}
        self._call("notify", params, read=_nothing)

    def watch_engine(self, host_id: int, mark: str, seconds: float) -> str:
        """Look at a host's engine and the VM's lease until their mark is another."""
        params = {"host_id": host_id, "mark": mark, "seconds": seconds}
        limit_seconds = seconds + self._timeout_seconds
        return self._call("watch_engine", params, read=str, timeout_seconds=limit_seconds)

    def _call(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        read: Callable[[Any], T],
        timeout_seconds: float | None = None,
    ) -> T:
        """Ask, and read the answer. Raises BrokerUnreachable, BrokerError."""
        request = json.dumps({"method": method, "params": params or {}}).encode() + b"\n"
        line = self._exchange(request, method, timeout_seconds or self._timeout_seconds)
        try:
            answer = json.loads(line)
            refusal = answer.get("error")
            if refusal is None:
                return read(answer["result"])
            kind, message = str(refusal["kind"]), str(refusal["message"])
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            # Whoever listens there is no broker of this version.
            problem = f"{self._path}: {method}: an answer that means nothing: {error}"
            raise BrokerUnreachable(problem) from error
        raise BrokerError(kind, message)

    def _exchange(self, request: bytes, method: str, limit_seconds: float) -> bytes:
        """Return the line that answers. Raises BrokerUnreachable, BrokerSilent once connected."""
        refused = BrokerUnreachable
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(limit_seconds)
                connection.connect(str(self._path))
                refused = BrokerSilent
                connection.sendall(request)
                with connection.makefile("rb") as answers:
                    line = answers.readline()
        except TimeoutError as error:
            problem = f"{self._path}: {method}: no answer in {limit_seconds:g} s"
            raise refused(problem) from error
        except OSError as error:
            raise refused(f"{self._path}: {method}: {error}") from error
        if not line.endswith(b"\n"):
            raise BrokerSilent(f"{self._path}: {method}: the broker hung up")
        return line


def _nothing(_: Any) -> None:
    """Pass over the result of a method that has none."""


def _mapping(result: Any) -> Mapping[str, object]:
    if not isinstance(result, dict):
        raise TypeError("no object")
    return result


def _blocks(result: Any) -> Mapping[int, bytes]:
    return {int(host_id): decode_block(str(text)) for host_id, text in _mapping(result).items()}


def _flag(result: Any) -> bool:
    if not isinstance(result, bool):
        raise TypeError("neither true nor false")
    return result


def _live_hosts(result: Any) -> LiveHosts:
    age = result["age_seconds"]
    return LiveHosts(
        tuple(int(host_id) for host_id in result["host_ids"]),
        None if age is None else float(age),
        dead_ids=tuple(int(host_id) for host_id in result.get("dead_ids", ())),
    )


def encode_block(block: bytes) -> str:
    """Return a block as it travels."""
    return base64.b64encode(block).decode()


def decode_block(text: str) -> bytes:
    """Return a block that travelled. Raises ValueError when it is none."""
    block = base64.b64decode(text, validate=True)
    if len(block) != BLOCK_BYTES:
        raise ValueError(f"a block has {BLOCK_BYTES} bytes, not {len(block)}")
    return block
