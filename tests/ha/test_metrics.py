"""The text of the metrics, as Prometheus's own parser reads it, and the table that they are in."""

import math
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ha.metrics import PREFIX, TABLE, Sample, exposition, sample


def read(text: str) -> dict[str, float]:
    """By name and labels, as `name{label=value}`."""
    found = {}
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(one.labels.items()))
            found[f"{one.name.removeprefix(PREFIX)}{{{labels}}}"] = one.value
    return found


def test_names_follow_the_rules() -> None:
    for metric in TABLE.values():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", metric.name)
        assert (metric.kind == "counter") == metric.name.endswith("_total"), metric
        assert metric.says.endswith(".")


def test_a_metric_has_its_help_and_its_type_once() -> None:
    text = exposition([sample("peer_alive", 1, host_id="2"), sample("peer_alive", 0, host_id="3")])
    assert text == (
        "# HELP hosted_engine_peer_alive 1 while this agent knows a peer to be alive.\n"
        "# TYPE hosted_engine_peer_alive gauge\n"
        'hosted_engine_peer_alive{host_id="2"} 1.0\n'
        'hosted_engine_peer_alive{host_id="3"} 0.0\n'
    )


def test_a_metric_that_nothing_is_known_of_is_not_there() -> None:
    assert exposition([]) == ""


def test_a_metric_that_the_table_lacks_is_an_error() -> None:
    with pytest.raises(KeyError):
        sample("nonsense", 1)


@pytest.mark.parametrize("hostname", ['a"b', "a\\b", "a\nb", "\\n", "ä{}=,", 'x"} 1\nfake 2', ""])
def test_labels_survive_the_way(hostname: str) -> None:
    text = exposition([sample("peer_alive", 1, host_id="2", hostname=hostname)])
    (family,) = text_string_to_metric_families(text)
    (one,) = family.samples
    assert one.labels == {"host_id": "2", "hostname": hostname}
    assert len(text.splitlines()) == 3


@pytest.mark.parametrize("value", [0, 1, -1, True, 0.1, 1e300, 1795403919.79, math.inf, -math.inf])
def test_values_survive_the_way(value: float) -> None:
    assert read(exposition([sample("score", value)])) == {"score{}": float(value)}


def test_values_without_digits_are_written_as_the_format_says() -> None:
    text = exposition([sample("score", v) for v in (math.inf, -math.inf, math.nan)])
    assert [line.split(" ")[1] for line in text.splitlines()[2:]] == ["+Inf", "-Inf", "NaN"]


def test_no_number_is_no_number() -> None:
    assert math.isnan(read(exposition([sample("score", math.nan)]))["score{}"])


def test_a_summary_has_a_sum_and_a_count() -> None:
    labels = {"operation": "read"}
    text = exposition(
        [
            Sample("storage_seconds", 1.5, labels, "_sum"),
            Sample("storage_seconds", 3, labels, "_count"),
        ]
    )
    assert "# TYPE hosted_engine_storage_seconds summary\n" in text
    assert read(text) == {
        "storage_seconds_sum{operation=read}": 1.5,
        "storage_seconds_count{operation=read}": 3.0,
    }
