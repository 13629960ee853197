"""The version of the installed package, as the package's own file beside it says."""

from functools import cache
from pathlib import Path

UNKNOWN = "unknown"
FILE = Path(__file__).resolve().parents[1] / "version"


@cache
def version() -> str:
    """Return version and release, such as 1.2-1; `unknown` when run from a source tree.

    Read once: a package that is replaced under a running agent does not change what runs.
    """
    try:
        return FILE.read_text(encoding="utf-8").strip() or UNKNOWN
    except FileNotFoundError:
        return UNKNOWN
