"""What is made of text that anybody may have written."""

import pytest

from ha.plain import one_line


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("h1\nstate=EngineUp", "h1 state=EngineUp"),
        ("a\0b\x1b[31m\r\n\tc", "a b [31m c"),
        ("\u2028x\u202ey", "x y"),
        ("tür", "tür"),
    ],
)
def test_it_is_one_line_of_printable_characters(text: str, plain: str) -> None:
    assert one_line(text) == plain


@pytest.mark.parametrize("most_bytes", range(3, 12))
def test_it_is_cut_between_two_characters(most_bytes: int) -> None:
    cut = one_line("äöüäöü", most_bytes)
    assert len(cut.encode()) <= most_bytes
    assert cut == "äöüäöü"[: (most_bytes - 3) // 2] + "..." or most_bytes >= 12


def test_what_fits_is_left_alone() -> None:
    assert one_line("äöü", 6) == "äöü"
    assert one_line("\ud800x", 6) == "x"
