"""The schedules, from the inventory: of upgrades a cron line a cluster, off until switched on; of
the watch an interval a cluster.

The inventory is the one place where a schedule is switched: what is switched in the UI holds until
the runbooks are served anew.
"""

from collections.abc import Mapping

from prefect.schedules import Cron, Interval, Schedule

from flows.proposals import WATCH
from tasks.inventory import Cluster


def schedules_of(runbook: str, clusters: Mapping[str, Cluster]) -> list[Schedule]:
    """Return the schedules of one runbook: of the clusters that ask for it.

    A scheduled run heeds the maintenance window: outside of it, it refuses to begin, and it stops
    before the next host once the window has closed.
    """
    if runbook == WATCH:
        return [
            _watched(name, each.watch_seconds)
            for name, each in clusters.items()
            if each.watch_seconds
        ]
    return [
        Cron(
            upgrade.cron,
            timezone=upgrade.time_zone,
            active=upgrade.schedule_on,
            parameters={"cluster": name},
            slug=f"{runbook}-{name}",
        )
        for name, upgrade in ((name, each.upgrade) for name, each in clusters.items())
        if upgrade.cron is not None and upgrade.runbook == runbook
    ]


def _watched(cluster: str, every_seconds: int) -> Schedule:
    return Interval(every_seconds, parameters={"cluster": cluster}, slug=f"{WATCH}-{cluster}")
