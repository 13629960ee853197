"""What the core may ask to be done to the engine VM on this host."""

from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    """One request; the values are upstream's names."""

    START_VM = "START_VM"
    SHUTDOWN_VM = "SHUTDOWN_VM"
    POWEROFF_VM = "POWEROFF_VM"

    @property
    def name_in_rules(self) -> str:
        """Such as start-vm."""
        return self.value.lower().replace("_", "-")


@dataclass(frozen=True, slots=True)
class Result:
    """How a request went: a fact for the next question within the same turn."""

    action: Action
    succeeded: bool
