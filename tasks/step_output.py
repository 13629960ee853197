"""The output of a remote step in the run's log: line by line as it comes, and not without end."""

from dataclasses import dataclass

from tasks.redaction import redacted
from tasks.runs import log

MOST_LINES = 400
MOST_CHARACTERS = 500  # of one line


@dataclass(slots=True)
class LoggedOutput:
    """Logs whole lines of what it is called with; of a flood only the beginning."""

    host: str
    step: str
    place: str  # of all of it, on the host
    rest: str = ""
    lines: int = 0

    def __call__(self, text: str) -> None:
        """Log the lines that are complete now."""
        *whole, self.rest = (self.rest + text).split("\n")
        for line in whole:
            self._log(line)
        if len(self.rest) > MOST_CHARACTERS:
            self._log(self.rest)
            self.rest = ""

    def end(self) -> None:
        """Log what is left: a last line without its end."""
        if self.rest:
            self._log(self.rest)
            self.rest = ""

    def _log(self, line: str) -> None:
        self.lines += 1
        if self.lines <= MOST_LINES:
            said = redacted(line)[:MOST_CHARACTERS]
            log().info("%s %s: %s", self.host, self.step, said)
        elif self.lines == MOST_LINES + 1:
            log().info("%s %s: more output is in %s there", self.host, self.step, self.place)
