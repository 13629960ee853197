"""Serve the sample flow in the place of a runbook: `serve_sample.py serve HOME`.

`serve_sample.py serve-pool HOME` does it by a work pool.
"""

import sys
from dataclasses import replace
from pathlib import Path

from flows.deployments import deployment
from flows.propose import proposing
from flows.runner import run
from flows.server import make_place
from flows.supervisor import Supervisor
from flows.worker import work
from runbooks.catalogue import catalogue

RUNBOOK = "metadata-too-new"
PROPOSED = "leave-global-maintenance"
POOL = "sample-pool"
CLUSTERS = {"lab": ("h1",), "other": ("h1",)}


def say(line: str) -> None:
    sys.stderr.write(line + "\n")


def main(verb: str, *arguments: str) -> None:
    entry = replace(catalogue()[RUNBOOK], flow="sample_flows:sample")
    if verb == "runner":
        proposed = replace(catalogue()[PROPOSED], flow="sample_flows:proposed_sample")
        run([deployment(entry, CLUSTERS), deployment(proposed, CLUSTERS), proposing()])
    elif verb == "worker":
        work(POOL, [deployment(entry, CLUSTERS)])
    else:
        argv = [sys.executable, __file__, "worker" if verb == "serve-pool" else "runner"]
        Supervisor(make_place(Path(arguments[0])), 0, say, argv).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
