"""The catalogue's loader: frozen values, and errors that name file, key and remedy."""

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from runbooks.catalogue import catalogue, load, load_entry
from runbooks.pages import stale_pages
from runbooks.toml_table import CatalogueError

WHOLE = Path(__file__).parents[2] / "runbooks" / "restore_metadata.toml"


def broken(tmp_path: Path, old: str, new: str) -> Path:
    text = WHOLE.read_text("utf-8")
    assert old in text
    file = tmp_path / "broken.toml"
    file.write_text(text.replace(old, new, 1))
    return file


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('risk = "A3"\n', "", "broken.toml: risk: is missing; add it"),
        ('risk = "A3"\n', 'risk = "A9"\n', "risk: is 'A9'; choose one of A0, A1, A2, A3"),
        ("look_seconds = 60", "look_seconds = -1", "look_seconds: is -1; write a number above 0"),
        ('title = "', 'titel = "', "title: is missing"),
        ("says = ", "sagt = ", "says: is missing"),
        ("[limits]", "color = 3\n[limits]", "parameter[4].color: is not known"),
        ("stops_when = ", "stop_when = ", "stop_when: is not known; use one of: check, commands"),
        ('check = "require_backup_record"', 'czech = "x"', "is not one of check, gate and step"),
        ("restore_metadata:", "restore_metadata.", "write it as package.module:function"),
        ('check = "require_one_target"', 'check = "require_stopped"', "is there twice"),
        ("id = ", "id == ", "broken.toml: syntax"),
    ],
)
def test_errors_name_file_key_and_remedy(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(CatalogueError) as caught:
        load_entry(broken(tmp_path, old, new))
    assert message in str(caught.value)
    assert "broken.toml" in str(caught.value)


def test_an_id_is_taken_once(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.toml").write_text(WHOLE.read_text("utf-8"))
    with pytest.raises(CatalogueError, match="is taken"):
        load(tmp_path)


def test_an_undo_must_be_there(tmp_path: Path) -> None:
    broken(tmp_path, 'undo = "restore-metadata"', 'undo = "nope"')
    with pytest.raises(CatalogueError, match="no runbook 'nope'"):
        load(tmp_path)


def test_entries_are_frozen_and_complete() -> None:
    entry = catalogue()["metadata-too-new"]
    assert [part.name for part in entry.gates] == [
        "approve_powered_off",
        "approve_stop_first",
        "approve_write",
    ]
    assert entry.undo == "restore-metadata"
    assert entry.differs_from_howto
    with pytest.raises(FrozenInstanceError):
        entry.risk = "A0"  # type: ignore[misc]
    with pytest.raises(TypeError):
        entry.limits["look_seconds"] = 1  # type: ignore[index]


def test_the_pages_are_current() -> None:
    assert stale_pages() == ()
