"""Schedules of upgrades: from the inventory, off until switched on, gone when they are gone."""

import pytest

from flows.deployments import deployment
from flows.schedules import schedules_of
from runbooks.catalogue import catalogue
from tasks.inventory import Cluster, Inventory

TEXT = """
[clusters.{name}.ssh]
key_file = "/k"
known_hosts = "/h"
[[clusters.{name}.hosts]]
name = "{name}1"
address = "{name}.example"
host_id = 1
[clusters.{name}.upgrade]
{upgrade}
"""
SATURDAYS = 'cron = "0 22 * * 6"\ntime_zone = "Europe/Berlin"\n'
ON = 'window_start = "22:00"\nwindow_end = "04:00"\nschedule_on = true\n'


def clusters(**upgrades: str) -> dict[str, Cluster]:
    text = "".join(TEXT.format(name=name, upgrade=table) for name, table in upgrades.items())
    return dict(Inventory.parse(text, "inventory.toml").clusters)


def test_a_schedule_is_off_until_it_is_switched_on() -> None:
    known = clusters(west=SATURDAYS, east=SATURDAYS + ON)
    found = {schedule.slug: schedule for schedule in schedules_of("upgrade", known)}
    assert {slug: each.active for slug, each in found.items()} == {
        "upgrade-west": False,
        "upgrade-east": True,
    }
    assert found["upgrade-east"].cron == "0 22 * * 6"
    assert found["upgrade-east"].timezone == "Europe/Berlin"
    assert found["upgrade-east"].parameters == {"cluster": "east"}


@pytest.mark.parametrize(("runbook", "many"), [("upgrade", 0), ("upgrade-howto", 1)])
def test_the_profile_chooses_the_runbook(runbook: str, many: int) -> None:
    known = clusters(west=SATURDAYS + 'profile = "howto"\n')
    assert len(schedules_of(runbook, known)) == many


def test_no_other_runbook_is_ever_scheduled() -> None:
    known = clusters(west=SATURDAYS, east=f'{SATURDAYS}profile = "howto"\n')
    scheduled = [runbook for runbook in catalogue() if schedules_of(runbook, known)]
    assert sorted(scheduled) == ["upgrade", "upgrade-howto"]


def test_the_deployment_carries_it_and_says_so_when_there_is_none() -> None:
    entry = catalogue()["upgrade"]
    known = clusters(west=SATURDAYS)
    (schedule,) = deployment(entry, {}, schedules_of("upgrade", known)).schedules or []
    assert (schedule.active, schedule.parameters) == (False, {"cluster": "west"})
    # The server keeps what it is not told about: a schedule taken out of the inventory must go.
    bare = deployment(entry, {})
    assert bare.schedules == []
    assert "schedules" in bare.model_dump(exclude_unset=True)
