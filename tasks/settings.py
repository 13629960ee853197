"""Where the control node keeps its state: settings from the environment (RUNBOOKS_...)."""

import os
from functools import lru_cache
from pathlib import Path

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

ETC = Path("/etc/hosted-engine-runbooks")
ETC_INVENTORY = ETC / "inventory.toml"
FILES = ("inventory", "policy", "allowed_signers", "notify_url_file")


def _default_home() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/hosted-engine-runbooks")
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(data) / "hosted-engine-runbooks"


class Settings(BaseSettings):
    """The control node's settings; every one is an environment variable RUNBOOKS_<NAME>."""

    model_config = SettingsConfigDict(env_prefix="RUNBOOKS_", frozen=True)

    home: Path = Field(default_factory=_default_home)
    inventory: Path | None = None
    policy: Path | None = None  # what a gate asks for, by risk class
    allowed_signers: Path | None = None  # whose signed approvals count
    notify_url_file: Path | None = None  # where gates that wait are told
    ui_url: str = ""  # how the approvers reach the UI, if not at 127.0.0.1
    journal_url: str = ""
    gate_expires_seconds: int = Field(default=86_400, gt=0)
    connect_timeout_seconds: float = Field(default=10.0, gt=0)
    channel_timeout_seconds: float = Field(default=15.0, gt=0)
    keepalive_seconds: int = Field(default=15, gt=0)
    lost_contact_retries: int = Field(default=3, ge=0, le=10)
    crashes_max: int = Field(default=8, gt=0)  # of one run; with one more it fails
    pause_seconds_max: float = Field(default=60.0, ge=0)  # before what died is started again
    step_store: Path = Path("/var/lib/hosted-engine-runbooks/steps")  # on the hosts

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, values: dict[str, object]) -> dict[str, object]:
        for name in ("home", *FILES):
            if isinstance(values.get(name), str):
                values[name] = Path(str(values[name])).expanduser()
        return values

    def inventory_path(self) -> Path:
        """Return the inventory in force: the named one, else <home>'s, else /etc's."""
        return self._found(self.inventory, "inventory.toml", ETC_INVENTORY)

    def policy_path(self) -> Path:
        """Return the policy of the gates; it need not be there."""
        return self._found(self.policy, "policy.toml", ETC / "policy.toml")

    def allowed_signers_path(self) -> Path:
        """Return the file of the keys whose approvals count; it need not be there."""
        return self._found(self.allowed_signers, "allowed_signers", ETC / "allowed_signers")

    def notify_url_path(self) -> Path:
        """Return the file with the address that is told of waiting gates; may be missing."""
        return self._found(self.notify_url_file, "notify_url", ETC / "notify_url")

    def _found(self, named: Path | None, name: str, elsewhere: Path) -> Path:
        if named is not None:
            return named
        own = self.home / name
        return elsewhere if not own.exists() and elsewhere.exists() else own

    def journal(self) -> str:
        """Return the journal's SQLAlchemy URL; SQLite below the home by default."""
        return self.journal_url or f"sqlite:///{self.home / 'journal.db'}"


@lru_cache(maxsize=1)
def settings() -> Settings:
    """Return this process's settings, read once."""
    return Settings()
