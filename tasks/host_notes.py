"""Small files that the control node leaves on a cluster's hosts, beside the step store.

They are for the case that the control node is lost or lies: the newest hashes of the journal, and
who has set global maintenance. Writing one never fails a run; what went wrong is told.
"""

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tasks.env import Shell, ShellError, world
from tasks.hosts import MOST_AT_ONCE, host_names, sh
from tasks.inventory import InventoryError

ANSWER_SECONDS = 15.0
LINES_MAX = 600  # of one file, then the oldest go
LINES_KEPT = 400
READ_BYTES_MAX = 131_072
NAME = re.compile(r"^[a-z0-9][a-z0-9.-]{0,80}$")

# folder name line most kept. A line that a full disk cut off ends there.
APPEND = r"""
umask 077; d=$1; f=$1/$2; line=$3; most=$4; kept=$5
mkdir -p "$d" || exit 73
if [ -s "$f" ] && [ "$(tail -c 1 "$f" | wc -l)" -eq 0 ]; then echo >>"$f"; fi
printf '%s\n' "$line" >>"$f" || exit 74
if [ "$(wc -l <"$f")" -gt "$most" ]; then
    tail -n "$kept" "$f" >"$f.$$" && mv "$f.$$" "$f" || { rm -f "$f.$$"; exit 74; }
fi
"""
# folder name text; an empty text removes the file
REPLACE = r"""
umask 022; d=$1; f=$1/$2; text=$3
if [ -z "$text" ]; then rm -f "$f"; exit; fi
mkdir -p "$d" || exit 73
printf '%s\n' "$text" >"$f.$$" && mv "$f.$$" "$f" || { rm -f "$f.$$"; exit 74; }
"""
# folder name bytes -> the end of the file; exit code 3 if there is none
READ = r"""
[ -e "$1/$2" ] || exit 3
tail -c "$3" "$1/$2"
"""
NONE_THERE = 3
# folder beginning most -> the names of the files that begin so
LIST = r"""
[ -d "$1" ] || exit 3
ls "$1" | grep "^$2" | head -n "$3"
"""
NAMES_MAX = 50


@dataclass(frozen=True, slots=True)
class Answer:
    """What a host said: the text, or None if it has no such file; or why it could not be asked."""

    text: str | None = None
    trouble: str | None = None


def append_line(cluster: str, name: str, line: str) -> dict[str, str]:
    """Append a line to a file on every host; return what went wrong, by host.

    Of more than LINES_MAX lines the newest LINES_KEPT are kept.
    """
    return _troubles(_ask(cluster, APPEND, name, line, str(LINES_MAX), str(LINES_KEPT)))


def put_text(cluster: str, name: str, text: str) -> dict[str, str]:
    """Write a file on every host, or remove it for an empty text; return what went wrong."""
    return _troubles(_ask(cluster, REPLACE, name, text))


def read_text(cluster: str, name: str) -> dict[str, Answer]:
    """Return the end of a file, as each host of the cluster has it."""
    return _ask(cluster, READ, name, str(READ_BYTES_MAX))


def read_names(cluster: str, beginning: str) -> dict[str, Answer]:
    """Return the names of the files that begin so on each host, one a line."""
    return _ask(cluster, LIST, beginning, str(NAMES_MAX))


def _troubles(answers: Mapping[str, Answer]) -> dict[str, str]:
    return {host: each.trouble for host, each in answers.items() if each.trouble is not None}


def _ask(cluster: str, script: str, name: str, *words: str) -> dict[str, Answer]:
    if not NAME.match(name):
        raise ValueError(f"not a file's name: {name!r}")
    argv = sh(script, str(world().step_store.parent), name, *words)
    try:
        shells = [world().shell(cluster, host) for host in host_names(cluster)]
    except InventoryError as error:  # the cluster has left the inventory
        return {cluster: Answer(trouble=str(error))}
    with ThreadPoolExecutor(max_workers=min(len(shells), MOST_AT_ONCE)) as pool:
        answers = list(pool.map(lambda shell: _answer(shell, argv), shells))
    return {shell.host: answer for shell, answer in zip(shells, answers, strict=True)}


def _answer(shell: Shell, argv: tuple[str, ...]) -> Answer:
    try:
        ran = shell.run(argv, timeout_seconds=ANSWER_SECONDS)
    except ShellError as error:
        return Answer(trouble=str(error))
    if ran.exit_code == NONE_THERE:
        return Answer()
    if ran.exit_code != 0:
        said = (ran.stderr.strip() or ran.stdout.strip() or "no output")[-300:]
        return Answer(trouble=f"{shell.host}: exit code {ran.exit_code}: {said}")
    return Answer(text=ran.stdout)
