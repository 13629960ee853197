"""Write the expected logs of scenarios anew: `python -m tests.scenarios_update [NAME...]`.

Read what changed before it is committed: a wrong log that is pinned is worse than none. A scenario
that does not end as it says keeps its log.
"""

import sys
from pathlib import Path

from ha.simulator.play import play, told
from ha.simulator.scenario import read_scenario

SCENARIOS = Path(__file__).parent / "scenarios"


def main(names: list[str]) -> int:
    """Write the logs of these scenarios, all without a name; return the exit code."""
    known = sorted(file.parent.name for file in SCENARIOS.glob("*/scenario.toml"))
    unknown = set(names) - set(known)
    if unknown:
        print(f"No such scenario: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    wrong = [name for name in names or known if not update(SCENARIOS / name)]
    return 1 if wrong else 0


def update(folder: Path) -> bool:
    """Write one log; say if that changed it, and return whether the scenario ends as it says."""
    played = play(read_scenario(folder))
    for each in played.wrong:
        print(f"{folder.name}: wrong: {each}", file=sys.stderr)
    if played.wrong:
        return False
    file, text = folder / "expected.log", "\n".join([*told(played.lines), ""])
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    if text != before:
        file.write_text(text, encoding="utf-8")
        print(f"{folder.name}: {'changed' if before else 'written'}")
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
