"""The server's automations, made by code.

They mark what has lost its process as crashed; the supervisor's sweep then continues it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from flows.api import Api

HEARTBEAT_LOST_SECONDS = 75  # two heartbeats of 30 s and some slack

Automation = Mapping[str, Any]


def automations(tag: str) -> tuple[Automation, ...]:
    """Return the automations that the runs with a tag need."""
    runs = {
        "match": {"prefect.resource.id": "prefect.flow-run.*"},
        "match_related": {
            "prefect.resource.id": f"prefect.tag.{tag}",
            "prefect.resource.role": "tag",
        },
        "for_each": ["prefect.resource.id"],
        "threshold": 1,
        "type": "event",
    }
    return (
        {
            "name": f"{tag}: no sign of life",
            "description": (
                "A run whose process has sent no heartbeat and changed no state "
                f"for {HEARTBEAT_LOST_SECONDS} s is marked as crashed."
            ),
            "enabled": True,
            "trigger": {
                **runs,
                "posture": "Proactive",
                "after": ["prefect.flow-run.heartbeat"],
                # Any event of the run is a sign of life; a suspended run sends no heartbeat.
                "expect": ["prefect.flow-run.*"],
                "within": HEARTBEAT_LOST_SECONDS,
            },
            "actions": [
                {
                    "type": "change-flow-run-state",
                    "state": "CRASHED",
                    "name": "Crashed",
                    "message": f"No sign of life for {HEARTBEAT_LOST_SECONDS} s.",
                }
            ],
        },
    )


def ensure_automations(api: Api, tag: str) -> None:
    """Create the automations that are missing and put right those that were changed."""
    ensure(api, automations(tag))


def ensure(api: Api, all_wanted: Iterable[Automation]) -> None:
    """Do so for any automations. Raises ApiRefused, NoServer."""
    for wanted in all_wanted:
        named = {"automations": {"name": {"any_": [wanted["name"]]}}}
        there = api.post("/automations/filter", named)
        if not there:
            api.post("/automations/", wanted)
        elif not fits(wanted, there[0]):
            api.request("PUT", f"/automations/{there[0]['id']}", wanted)
        for duplicate in there[1:]:
            api.request("DELETE", f"/automations/{duplicate['id']}")


def fits(wanted: Any, found: Any) -> bool:
    """Tell whether what was found holds at least what is wanted."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(
            key in found and fits(value, found[key]) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(wanted) == len(found)
            and (
                all(fits(one, other) for one, other in zip(wanted, found, strict=True))
                or sorted(map(str, wanted)) == sorted(map(str, found))
            )
        )
    return bool(wanted == found)
