"""Each measurement compares what it says it compares."""

from pathlib import Path

import pytest

from tests.bench import whiteboard
from tests.bench.whole_range import read_whole_range


def test_both_readers_see_the_same_hosts(tmp_path: Path) -> None:
    file = tmp_path / "metadata"
    whiteboard.fill(file, 5)
    theirs = read_whole_range(file)
    assert sorted(theirs) == [1, 2, 3, 4, 5]
    assert theirs[4]["hostname"] == "host4.example.com"


def test_one_bad_byte_stops_a_reader_that_decodes_all_at_once(tmp_path: Path) -> None:
    file = tmp_path / "metadata"
    whiteboard.fill(file, 2)
    with file.open("r+b") as storage:
        storage.seek(1700 * 4096)
        storage.write(b"\xff")
    with pytest.raises(UnicodeDecodeError):
        read_whole_range(file)


def test_a_turn_of_three_hosts_moves_five_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    known, _ = whiteboard.measure((3,), turns=1)
    assert known.reached.startswith("20 KB,")
    assert known.beside.startswith("8008 KB,")
