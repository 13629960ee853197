"""The inventory's words on upgrades: the engine VM's address, the window, the schedule."""

from datetime import UTC, datetime

import pytest

from tasks.inventory import ENGINE, Inventory, InventoryError
from tasks.upgrade_settings import UpgradeSettings

BASE = """
[clusters.lab.ssh]
key_file = "/k"
known_hosts = "/h"
[[clusters.lab.hosts]]
name = "h1"
address = "192.0.2.1"
host_id = 1
"""


def parsed(table: str) -> Inventory:
    return Inventory.parse(BASE + table, "inventory.toml")


def test_without_tables_nothing_is_scheduled_and_every_moment_is_good() -> None:
    cluster = parsed("").cluster("lab")
    assert cluster.engine is None
    assert not cluster.upgrade.schedule_on
    assert cluster.upgrade.runbook == "upgrade"
    assert cluster.upgrade.in_window(datetime(2026, 1, 1, tzinfo=UTC))


def test_the_engine_vm_is_reached_as_the_hosts_are() -> None:
    cluster = parsed('[clusters.lab.engine]\naddress = "192.0.2.50"\n').cluster("lab")
    place, ssh = cluster.reach(ENGINE)
    assert (place.name, place.address, place.port) == ("engine", "192.0.2.50", 22)
    assert ssh is cluster.ssh
    assert cluster.reach("h1") == (cluster.host("h1"), cluster.ssh)


def test_the_engine_vm_may_have_access_of_its_own() -> None:
    table = '[clusters.lab.engine]\naddress = "e"\nport = 2222\n[clusters.lab.engine.ssh]\n'
    place, ssh = (
        parsed(f'{table}key_file = "/e"\nknown_hosts = "/h"\n').cluster("lab").reach(ENGINE)
    )
    assert (place.port, str(ssh.key_file)) == (2222, "/e")


def test_without_its_table_there_is_no_engine_vm_to_reach() -> None:
    with pytest.raises(InventoryError, match="no host `engine`"):
        parsed("").cluster("lab").reach(ENGINE)


def test_no_host_may_take_the_engine_vms_name() -> None:
    host = '[[clusters.lab.hosts]]\nname = "engine"\naddress = "192.0.2.2"\nhost_id = 2\n'
    with pytest.raises(InventoryError, match="name the host otherwise"):
        parsed(f'{host}[clusters.lab.engine]\naddress = "192.0.2.50"\n')


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('profile = "fast"', "upgrade.profile"),
        ('packages = ["-x"]', "upgrade.packages"),
        ('time_zone = "Mars/Base"', "name a time zone"),
        ('window_start = "22:00"', "give both"),
        ('window_start = "22:00"\nwindow_end = "22:00"', "the same minute"),
        ('window_start = "25:00"\nwindow_end = "04:00"', "window_start"),
        ('cron = "every night"', "not a cron line"),
        ("schedule_on = true", "schedule_on needs cron"),
        ('schedule_on = "yes"', "schedule_on"),
        ("cronn = 1", "there is no such key"),
    ],
)
def test_mistakes_are_named(text: str, said: str) -> None:
    with pytest.raises(InventoryError) as caught:
        parsed(f"[clusters.lab.upgrade]\n{text}\n")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("start", "end", "at", "open_then"),
    [
        ("22:00", "04:30", "21:59", False),
        ("22:00", "04:30", "22:00", True),
        ("22:00", "04:30", "00:00", True),
        ("22:00", "04:30", "04:29", True),
        ("22:00", "04:30", "04:30", False),
        ("01:00", "02:00", "01:30", True),
        ("01:00", "02:00", "02:00", False),
        ("01:00", "02:00", "00:59", False),
    ],
)
def test_the_window_is_a_time_of_day(start: str, end: str, at: str, open_then: bool) -> None:
    settings = UpgradeSettings(window_start=start, window_end=end)
    now = datetime.fromisoformat(f"2026-07-01T{at}:00+00:00")
    assert settings.in_window(now) is open_then


def test_the_window_is_in_its_own_time_zone() -> None:
    zone = {"time_zone": "Europe/Berlin", "window_start": "01:00", "window_end": "02:00"}
    settings = UpgradeSettings.model_validate(zone)
    assert settings.in_window(datetime(2026, 7, 1, 23, 30, tzinfo=UTC))  # 01:30 in summer
    assert not settings.in_window(datetime(2026, 12, 1, 23, 30, tzinfo=UTC))  # 00:30 in winter
    assert settings.window_text() == "01:00 to 02:00, Europe/Berlin"
