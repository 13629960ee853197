"""Settings come from the environment; state is below one home."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from tasks import settings
from tasks.settings import Settings


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HOME", "INVENTORY", "JOURNAL_URL", "GATE_EXPIRES_SECONDS"):
        monkeypatch.delenv(f"RUNBOOKS_{name}", raising=False)
    monkeypatch.setattr(settings, "ETC_INVENTORY", tmp_path / "etc.toml")


def test_the_home_is_roots_or_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert Settings().home == Path("/var/lib/hosted-engine-runbooks")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert Settings().home == tmp_path / "hosted-engine-runbooks"


def test_the_inventory_is_the_named_one_then_the_homes_then_etcs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RUNBOOKS_HOME", str(tmp_path / "home"))
    own = tmp_path / "home" / "inventory.toml"
    assert Settings().inventory_path() == own
    (tmp_path / "etc.toml").touch()
    assert Settings().inventory_path() == tmp_path / "etc.toml"
    own.parent.mkdir()
    own.touch()
    assert Settings().inventory_path() == own
    monkeypatch.setenv("RUNBOOKS_INVENTORY", "~/named.toml")
    assert Settings().inventory_path() == Path.home() / "named.toml"


def test_the_journal_is_a_file_in_the_home_or_a_url(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RUNBOOKS_HOME", str(tmp_path))
    assert Settings().journal() == f"sqlite:///{tmp_path}/journal.db"
    monkeypatch.setenv("RUNBOOKS_JOURNAL_URL", "postgresql+psycopg://db/journal")
    assert Settings().journal() == "postgresql+psycopg://db/journal"


@pytest.mark.parametrize("value", ["0", "-5", "soon"])
def test_a_limit_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("RUNBOOKS_GATE_EXPIRES_SECONDS", value)
    with pytest.raises(ValidationError, match="gate_expires_seconds"):
        Settings()
