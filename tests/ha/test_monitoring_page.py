"""docs/monitoring.md names the metrics that there are, no other, with labels that they have."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ha.config_broker import EMAIL_KEYS, broker_conf_of
from ha.metrics import PREFIX, TABLE
from ha.metrics_look import samples
from tests.ha.test_metrics_look import REPORT, look

PAGE = Path(__file__).resolve().parents[2] / "docs" / "monitoring.md"
NAME = re.compile(rf"{PREFIX}[a-z_]+")
SELECTOR = re.compile(rf"({PREFIX}[a-z_]+)(?:{{([a-z_]+)=)?")


def rows() -> list[list[str]]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{PREFIX}")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def base(name: str) -> str:
    return re.sub(r"(storage_seconds)_(sum|count)$", r"\1", name.removeprefix(PREFIX))


def labels_of() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for one in samples(look(REPORT)):
        found.setdefault(one.metric, set()).update(one.labels)
    return found


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_every_metric_is_on_the_page_and_every_one_there_exists() -> None:
    listed = [row[0].strip("`").removeprefix(PREFIX) for row in rows()]
    assert listed == list(TABLE)
    assert {base(name) for name in NAME.findall(PAGE.read_text())} - {""} == set(TABLE)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_type_labels_unit_and_an_example(row: list[str]) -> None:
    name, described, unit, example = row
    metric = TABLE[name.strip("`").removeprefix(PREFIX)]
    kind, _, labels = described.partition(": ")
    assert kind == metric.kind
    assert set(labels.split(", ")) - {""} == labels_of()[metric.name]
    assert unit
    assert name.strip("`") in example
    if metric.name.endswith("_seconds"):
        assert unit == "seconds"
    if metric.name.endswith("_bytes"):
        assert unit == "bytes"
    check(example)


def check(expression: str) -> None:
    """The names and labels of an expression are ones that there are; its brackets are closed."""
    used = SELECTOR.findall(expression)
    assert used, expression
    for name, label in used:
        assert base(name) in TABLE, expression
        assert not label or label in labels_of()[base(name)], expression
    for opened, closed in ("()", "[]", "{}"):
        assert expression.count(opened) == expression.count(closed), expression


def rules() -> list[dict[str, Any]]:
    (text,) = blocks("yaml")
    (group,) = yaml.safe_load(text)["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_rules_are_whole(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"]["summary"]
    check(rule["expr"])


def test_the_examples_of_broker_conf_are_ones() -> None:
    mail, metrics = blocks("ini")
    conf = broker_conf_of(Path("broker.conf"), mail)
    assert (conf.smtp_security, conf.smtp_user) == ("starttls", "he")
    assert all(key in mail for key in EMAIL_KEYS)
    assert broker_conf_of(Path("broker.conf"), metrics).metrics_listen == ("127.0.0.1", 9797)
