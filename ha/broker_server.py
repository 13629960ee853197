"""The broker's socket: one JSON object a line, a request then its answer.

`{"method": str, "params": {...}}` is answered with `{"result": ...}` or
`{"error": {"kind": str, "message": str}}`. Its client is `ha.rpc`.
"""

import json
import logging
import os
import socket
import socketserver
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ha.core.record import GLOBAL_BLOCK, MAX_HOST_ID
from ha.env.ports import Broker, BrokerError, Report
from ha.rpc import decode_block, encode_block

REQUEST_BYTES = 1024 * 1024
LONGEST_TEXT_BYTES = 65536
# Of seconds since 1970 as well: the year 5138.
MOST = 100_000_000_000
SOCKET_MODE = 0o660
PROBE_SECONDS = 2.0

log = logging.getLogger(__name__)


class BrokerServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Serves a broker to this host's root, a thread for each connection.

    Raises BrokerError when another broker listens there already.
    """

    daemon_threads = True
    request_queue_size = 32

    def __init__(self, path: Path, broker: Broker) -> None:
        self.broker = broker
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path)
        super().__init__(str(path), _Connection)
        os.chmod(path, SOCKET_MODE)

    def handle_error(self, request: object, client_address: object) -> None:
        """Log what ended a connection; the others go on."""
        log.exception("A request ended unexpectedly")


class _Connection(socketserver.StreamRequestHandler):
    server: BrokerServer

    def handle(self) -> None:
        while line := self._request_line():
            answer = answer_to(self.server.broker, line)
            try:
                self.wfile.write(json.dumps(answer).encode() + b"\n")
            except (BrokenPipeError, ConnectionResetError):
                return  # the client did not wait for its answer

    def _request_line(self) -> bytes:
        """Read a request; one that is not whole is none, and ends the connection."""
        try:
            line = self.rfile.readline(REQUEST_BYTES)
        except ConnectionResetError:
            return b""
        return line if line.endswith(b"\n") else b""


def _remove_stale(path: Path) -> None:
    """Remove the socket of a broker that died; one that answers is left alone."""
    if not path.exists():
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(PROBE_SECONDS)
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise BrokerError("failed", f"another broker listens on {path}")


def answer_to(broker: Broker, line: bytes) -> dict[str, object]:
    """Carry out one request and return the answer to send."""
    try:
        method, params = _parse(line)
        return {"result": _call(broker, method, params)}
    except BrokerError as error:
        return {"error": {"kind": error.kind, "message": error.message}}


def _parse(line: bytes) -> tuple[str, Mapping[str, Any]]:
    try:
        request = json.loads(line, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise BrokerError("bad_request", f"no JSON: {error}") from error
    if not isinstance(request, dict) or not isinstance(request.get("method"), str):
        raise BrokerError("bad_request", 'expected {"method": ..., "params": {...}}')
    params = request.get("params", {})
    if not isinstance(params, dict):
        raise BrokerError("bad_request", "params is no object")
    return request["method"], params


def _no_number(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _call(broker: Broker, method: str, params: Mapping[str, Any]) -> object:
    if method not in _METHODS:
        raise BrokerError("bad_request", f"no method {method}")
    return _METHODS[method](broker, params)


def _read_blocks(broker: Broker, params: Mapping[str, Any]) -> dict[int, str]:
    host_ids = None if params.get("host_ids", ()) is None else _ids(params)
    blocks = broker.read_blocks(host_ids)
    return {host_id: encode_block(block) for host_id, block in blocks.items()}


def _live_hosts(broker: Broker, _: Mapping[str, Any]) -> dict[str, object]:
    live = broker.live_hosts()
    return {
        "host_ids": live.host_ids,
        "age_seconds": live.age_seconds,
        "dead_ids": live.dead_ids,
    }


def _set_live_hosts(broker: Broker, params: Mapping[str, Any]) -> None:
    # An agent of an older version names none that are dead.
    dead_ids = _ids(params, "dead_ids") if "dead_ids" in params else []
    broker.set_live_hosts(_ids(params), _report(params), dead_ids)


def _ids(params: Mapping[str, Any], name: str = "host_ids") -> list[int]:
    value: list[int] = _param(params, name, list)
    return [_id(item) for item in value]


def _id(value: object) -> int:
    if type(value) is not int or not GLOBAL_BLOCK <= value <= MAX_HOST_ID:
        raise BrokerError("bad_request", f"no host id from 0 to {MAX_HOST_ID}: {str(value)[:20]}")
    return value


def _text(params: Mapping[str, Any], name: str) -> str:
    value: str = _param(params, name, str)
    try:
        size_bytes = len(value.encode())
    except UnicodeEncodeError as error:
        raise BrokerError("bad_request", f"{name} is no text: {error.reason}") from error
    if size_bytes > LONGEST_TEXT_BYTES:
        raise BrokerError("bad_request", f"{name} is longer than {LONGEST_TEXT_BYTES} bytes")
    return value


def _param(params: Mapping[str, Any], name: str, kind: type) -> Any:
    value = params.get(name)
    if not isinstance(value, kind):
        raise BrokerError("bad_request", f"{name} must be a {kind.__name__}")
    return value


def _report(params: Mapping[str, Any]) -> Report | None:
    """Its content is judged by who uses it: another version of the agent may have written it."""
    report = params.get("report")
    return report if isinstance(report, dict) else None


def _since(params: Mapping[str, Any]) -> float | None:
    return None if params.get("since") is None else _number(params, "since")


def _number(params: Mapping[str, Any], name: str) -> float:
    value = params.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST:
        raise BrokerError("bad_request", f"{name} must be a number from 0 to {MOST}")
    return float(value)


def _block(params: Mapping[str, Any]) -> bytes:
    try:
        return decode_block(_param(params, "block", str))
    except ValueError as error:
        raise BrokerError("bad_request", str(error)) from error


_METHODS: Mapping[str, Callable[[Broker, Mapping[str, Any]], object]] = {
    "monitors": lambda broker, _: dict(broker.monitors()),
    "read_blocks": _read_blocks,
    "write_block": lambda broker, params: broker.write_block(_block(params)),
    "set_global_maintenance": lambda broker, params: broker.set_global_maintenance(
        _param(params, "on", bool)
    ),
    "lock_host_id": lambda broker, _: broker.lock_host_id(),
    "release_host_id": lambda broker, _: broker.release_host_id(),
    "host_id_locked": lambda broker, _: broker.host_id_locked(),
    "set_live_hosts": _set_live_hosts,
    "live_hosts": _live_hosts,
    "watch_engine": lambda broker, params: broker.watch_engine(
        _id(params.get("host_id")), _text(params, "mark"), _number(params, "seconds")
    ),
    "notify": lambda broker, params: broker.notify(
        _text(params, "event"), _text(params, "detail"), _since(params)
    ),
}
