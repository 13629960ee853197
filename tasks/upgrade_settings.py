"""What the inventory says about upgrading a cluster: when, how far, and which packages."""

from datetime import datetime, time
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

HOUR = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
RUNBOOKS = {"modern": "upgrade", "howto": "upgrade-howto"}


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("name a time zone, such as Europe/Berlin or UTC") from error
    return name


class UpgradeSettings(BaseModel):
    """The table [clusters.NAME.upgrade]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    profile: Literal["modern", "howto"] = "modern"
    packages: tuple[Annotated[str, Field(pattern=r"^[^-\s]\S*$")], ...] = ()  # none: all there are
    time_zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    window_start: Annotated[str, Field(pattern=HOUR)] | None = None
    window_end: Annotated[str, Field(pattern=HOUR)] | None = None
    cron: str | None = None
    schedule_on: bool = Field(default=False, strict=True)

    @property
    def runbook(self) -> str:
        """Return the id of the runbook of the profile."""
        return RUNBOOKS[self.profile]

    def in_window(self, now: datetime) -> bool:
        """Return whether a moment is in the maintenance window; without a window all are."""
        if self.window_start is None or self.window_end is None:
            return True
        start, end = time.fromisoformat(self.window_start), time.fromisoformat(self.window_end)
        here = now.astimezone(ZoneInfo(self.time_zone)).time().replace(tzinfo=None)
        return start <= here < end if start < end else here >= start or here < end

    def window_text(self) -> str:
        """Return the window in words."""
        if self.window_start is None:
            return "no maintenance window is set"
        return f"{self.window_start} to {self.window_end}, {self.time_zone}"

    @model_validator(mode="after")
    def _hold_together(self) -> Self:
        if (self.window_start is None) is not (self.window_end is None):
            raise ValueError("give both window_start and window_end, or neither")
        if self.window_start is not None and self.window_start == self.window_end:
            raise ValueError("window_start and window_end are the same minute")
        if self.cron is not None:
            # Here, as it imports all of Prefect: commands that only look must not wait for that.
            from prefect.client.schemas.schedules import CronSchedule  # noqa: PLC0415

            try:
                CronSchedule(cron=self.cron, timezone=self.time_zone)
            except ValueError as error:
                raise ValueError(
                    f"cron = {self.cron!r} is not a cron line of five fields"
                ) from error
        if self.schedule_on and (self.cron is None or self.window_start is None):
            raise ValueError("schedule_on needs cron, window_start and window_end")
        return self
