"""Serve the sample flow in the place of a runbook: `serve_sample.py serve HOME`."""

import sys
from dataclasses import replace
from pathlib import Path

from flows.deployments import deployment
from flows.runner import run
from flows.server import make_place
from flows.supervisor import Supervisor
from runbooks.catalogue import catalogue

RUNBOOK = "metadata-too-new"


def say(line: str) -> None:
    sys.stderr.write(line + "\n")


def main(verb: str, *arguments: str) -> None:
    if verb == "runner":
        entry = replace(catalogue()[RUNBOOK], flow="sample_flows:sample")
        run([deployment(entry, ("lab", "other"))])
    else:
        argv = [sys.executable, __file__, "runner"]
        Supervisor(make_place(Path(arguments[0])), 0, say, argv).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
