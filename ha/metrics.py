"""Metrics in Prometheus's text format 0.0.4: the table of all that there are, and how they read.

Names follow Prometheus's advice: base units last, counters end with `_total`. A metric of which
nothing is known has no sample, rather than a value that looks like one.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

PREFIX = "hosted_engine_"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Metric:
    """One line of the table."""

    name: str
    kind: Literal["gauge", "counter", "summary"]
    says: str


@dataclass(frozen=True, slots=True)
class Sample:
    """One value; `suffix` is a summary's `_sum` or `_count`."""

    metric: str
    value: float
    labels: Mapping[str, str]
    suffix: str = ""


def sample(metric: str, value: float, **labels: str) -> Sample:
    """Return a sample. Raises KeyError for a metric that the table does not have."""
    return Sample(TABLE[metric].name, value, labels)


def exposition(samples: Sequence[Sample]) -> str:
    """Return the text that Prometheus reads; metrics are in the table's order."""
    return "".join(_lines(samples))


def _lines(samples: Sequence[Sample]) -> Iterator[str]:
    by_metric: dict[str, list[Sample]] = {}
    for one in samples:
        by_metric.setdefault(one.metric, []).append(one)
    for metric in TABLE.values():
        found = by_metric.get(metric.name)
        if found:
            name = PREFIX + metric.name
            yield f"# HELP {name} {_escape(metric.says)}\n"
            yield f"# TYPE {name} {metric.kind}\n"
            for one in found:
                yield f"{name}{one.suffix}{_labels(one.labels)} {_number(one.value)}\n"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    pairs = (f'{name}="{_escape_value(value)}"' for name, value in labels.items())
    return "{" + ",".join(pairs) + "}"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _escape_value(text: str) -> str:
    return _escape(text).replace('"', r"\"")


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(float(value))


_METRICS = (
    Metric("build_info", "gauge", "Always 1; the versions that run, by daemon."),
    Metric("agent_report_age_seconds", "gauge", "Since the agent's last turn was reported."),
    Metric("agent_turns_total", "counter", "Turns of the agent since it was started."),
    Metric("loop_seconds", "gauge", "How long the agent's last turn took."),
    Metric("score", "gauge", "This host's score, as published."),
    Metric("score_penalty_points", "gauge", "What lowers the score, by reason."),
    Metric("state", "gauge", "1 for the state that the agent is in, 0 for the others."),
    Metric("rule_info", "gauge", "Always 1; the rule that decided last."),
    Metric("transitions_total", "counter", "Changes of state since the broker was started."),
    Metric("start_retries", "gauge", "Starts of the engine VM that failed one after another."),
    Metric("global_maintenance", "gauge", "1 while the cluster is in global maintenance."),
    Metric("local_maintenance", "gauge", "1 while this host is in local maintenance."),
    Metric("vm_state", "gauge", "1 for the engine VM's state on this host, 0 for the others."),
    Metric("engine_health", "gauge", "1 for what this host's look at the engine gave."),
    Metric("vm_lease_state", "gauge", "1 for what is known of the engine VM's lease."),
    Metric("vm_lease_owner", "gauge", "The host id that holds the engine VM's lease; 0: none."),
    Metric("hosts_alive", "gauge", "Hosts that this agent knows to be alive, itself included."),
    Metric("peer_alive", "gauge", "1 while this agent knows a peer to be alive."),
    Metric("peer_score", "gauge", "A peer's score, as it published it last."),
    Metric("lease_held", "gauge", "1 while this host holds its host id in a lockspace."),
    Metric("lease_age_seconds", "gauge", "Since sanlock saw this host's lease renewed."),
    Metric("host_lease_state", "gauge", "1 for what sanlock knows of a host id's lease."),
    Metric("storage_seconds", "summary", "Time that requests to the shared storage took."),
    Metric("storage_last_seconds", "gauge", "Time that the last request took, by operation."),
    Metric("storage_waiting_seconds", "gauge", "How long the oldest request under way waits."),
    Metric("storage_failures_total", "counter", "Requests that the shared storage refused."),
    Metric("storage_domain_valid", "gauge", "1 while the storage domain answers in time."),
    Metric("network_ratio", "gauge", "Share of the network test's probes that succeeded."),
    Metric("bridge_up", "gauge", "1 while the management bridge is up."),
    Metric("memory_free_bytes", "gauge", "Memory that a new VM could have on this host."),
    Metric("cpu_load_ratio", "gauge", "Share of the processors in use, less the engine VM's."),
    Metric("anomaly", "gauge", "1 for each kind of anomaly that the agent sees now."),
    Metric("anomalies_total", "counter", "Anomalies told since the broker was started."),
    Metric("bad_blocks", "gauge", "Whiteboard blocks that cannot be used."),
    Metric("notifications_waiting", "gauge", "Messages that nobody has taken yet, by channel."),
    Metric("notifications_lost_total", "counter", "Messages for which there was no room."),
)
TABLE: Mapping[str, Metric] = {metric.name: metric for metric in _METRICS}
