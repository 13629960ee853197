"""`--vm-status`: what the hosts say of themselves, in upstream's two forms."""

import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from ha.cli.host import Host, Refused
from ha.config_files import read_agent_conf
from ha.core.record import GLOBAL_BLOCK, Block, GlobalRecord, Record, judge_block
from ha.env.live_hosts import LiveHosts
from ha.env.ports import BrokerError, BrokerUnreachable

Status: TypeAlias = dict[str, object]

NO_BROKER = (
    "An error occured while retrieving vm status, please make sure the HA daemon is ready and"
    " reachable."
)
GLOBAL_MAINTENANCE = "\n\n!! Cluster is in GLOBAL MAINTENANCE mode !!\n"
STALE = "unknown stale-data"
_LABELS = {
    "host-id": "Host ID",
    "host-ts": "Host timestamp",
    "score": "Score",
    "engine-status": "Engine status",
    "hostname": "Hostname",
    "maintenance": "Local maintenance",
    "stopped": "stopped",
    "crc32": "crc32",
    "conf_on_shared_storage": "conf_on_shared_storage",
    "local_conf_timestamp": "local_conf_timestamp",
    "live-data": "Status up-to-date",
}


def vm_status(host: Host, options: Mapping[str, str]) -> None:
    """Print the status of every host that has one; a bad block is a line on standard error."""
    try:
        found = host.broker.read_blocks(None)
        live = host.broker.live_hosts()
    except (BrokerUnreachable, BrokerError) as error:
        raise Refused(f"{NO_BROKER}\n{error}") from error
    blocks = [judge_block(host_id, found[host_id]) for host_id in sorted(found)]
    for block in blocks:
        if block.bad:
            host.complain(f"Block {block.host_id} is skipped: {_visible(block.message)}")
    patience_seconds = read_agent_conf(host.paths.agent_conf).timing.host_alive_seconds
    statuses = _statuses(blocks, _live_ids(live, patience_seconds))
    maintenance = _global_maintenance(blocks)
    if "json" in options:
        host.say(_as_json(statuses, maintenance=maintenance))
    else:
        host.say("\n".join(_as_text(statuses, maintenance=maintenance)))
    if not statuses:
        raise Refused("No host has published its status", answered=True)


def _live_ids(live: LiveHosts, patience_seconds: float) -> Sequence[int]:
    """The agent's list counts as long as a host itself would; a stopped agent's is worth none."""
    if live.age_seconds is None or live.age_seconds > patience_seconds:
        return ()
    return live.host_ids


def _statuses(blocks: Sequence[Block], live_ids: Sequence[int]) -> list[Status]:
    records = [(block.host_id, block.record) for block in blocks]
    return [
        _status(host_id, record, live=host_id in live_ids)
        for host_id, record in records
        if isinstance(record, Record)
    ]


def _status(host_id: int, record: Record, *, live: bool) -> Status:
    status: Status = {
        "host-id": host_id,
        "host-ts": record.timestamp,
        "score": record.score,
        "engine-status": record.engine_status,
        "hostname": record.hostname,
        "maintenance": record.maintenance,
        "stopped": record.stopped,
        "crc32": record.crc32,
        "conf_on_shared_storage": record.conf_on_shared_storage,
        "local_conf_timestamp": record.local_conf_timestamp,
        "extra": record.extra,
        "live-data": live,
    }
    # What an old writer did not send is left out, as upstream does.
    return {key: value for key, value in status.items() if value is not None}


def _global_maintenance(blocks: Sequence[Block]) -> bool:
    flags = [
        block.record.maintenance
        for block in blocks
        if block.host_id == GLOBAL_BLOCK and isinstance(block.record, GlobalRecord)
    ]
    return any(flags)


def _as_json(statuses: Sequence[Status], *, maintenance: bool) -> str:
    hosts = {
        str(status["host-id"]): {**status, "engine-status": _engine_status(status)}
        for status in statuses
    }
    return json.dumps({**hosts, "global_maintenance": maintenance})


def _engine_status(status: Status) -> Mapping[str, object]:
    """The engine's status as an object; of a host that is not live nothing is known."""
    unknown = {"vm": "unknown", "health": "unknown", "detail": "unknown"}
    if not status["live-data"]:
        return {**unknown, "reason": STALE}
    try:
        parsed = json.loads(str(status["engine-status"]))
        json.dumps(parsed, allow_nan=False)  # what Python reads as a number may be none in JSON
    except (ValueError, RecursionError):
        parsed = None
    return parsed if isinstance(parsed, dict) else {**unknown, "reason": "not readable"}


def _as_text(statuses: Sequence[Status], *, maintenance: bool) -> list[str]:
    banner = GLOBAL_MAINTENANCE if maintenance else ""
    lines = [banner] if maintenance else []
    for status in statuses:
        host = f"{_visible(status['hostname'])} (id: {status['host-id']})"
        lines.append(f"\n\n--== Host {host} status ==--\n")
        shown = {
            **status,
            "engine-status": status["engine-status"] if status["live-data"] else STALE,
        }
        lines += [f"{_LABELS[key]:35}: {_visible(shown[key])}" for key in _LABELS if key in shown]
        lines.append(f"{'Extra metadata (valid at timestamp)':35}:")
        lines += [f"\t{_visible(line)}" for line in str(status["extra"]).splitlines()]
    return [*lines, banner]


def _visible(value: object) -> str:
    """A text of another host, without what would steer this terminal."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in str(value))
