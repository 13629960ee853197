"""A daemon's log: upstream's files and line format, and standard error for the journal."""

import logging
import os
import sys
import threading
from logging.handlers import TimedRotatingFileHandler
from pathlib import Path
from types import TracebackType

LINE = "%(threadName)s::%(levelname)s::%(asctime)s::%(module)s::%(lineno)d::%(name)s::(%(funcName)s) %(message)s"  # noqa: E501
KEPT_DAYS = 7
CRASHED = 70

log = logging.getLogger(__name__)


def set_up_log(file: Path) -> None:
    """Log to a file that is turned at midnight and kept for a week, and to standard error.

    A log directory that cannot be written costs the file, not the daemon; a full disk costs lines.
    """
    logging.raiseExceptions = False  # else each lost line is a traceback on standard error
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    problem: OSError | None = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(
            TimedRotatingFileHandler(file, "midnight", backupCount=KEPT_DAYS, encoding="utf-8")
        )
    except OSError as error:
        problem = error
    logging.basicConfig(level=logging.INFO, format=LINE, handlers=handlers)
    if problem:
        log.error("There is no log file: %s", problem)


def crash_loudly() -> None:
    """Log what ends the process, and end it when a thread dies of an error nobody thought of.

    systemd starts it again; half a daemon would look alive and decide on old values.
    """

    def report(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        log.critical("The daemon died", exc_info=(kind, error, trace))

    def crash(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is None or isinstance(args.exc_value, SystemExit):
            return
        name = args.thread.name if args.thread else "a thread"
        log.critical("%s died", name, exc_info=args.exc_value)
        logging.shutdown()
        os._exit(CRASHED)

    sys.excepthook = report
    threading.excepthook = crash
