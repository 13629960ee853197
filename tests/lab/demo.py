"""`make demo`: break a three-host cluster as the Howto describes, and repair it by the runbook.

`python -m tests.lab.demo up|down`. What it starts stays up until `down`. Exit code 0 only if the
cluster ended stable, the engine stand-in answers, no block of the whiteboard is bad and no two
heartbeats of the engine VM overlapped.
"""

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ha.core.record import Record, judge_whiteboard
from tests.lab import state
from tests.lab.cluster import Lab
from tests.lab.commands import LabError
from tests.lab.demo_console import Command, Console
from tests.lab.requirements import why_not

RUNBOOK = "metadata-too-new"
BAD_HOST_ID = 52
# What a newer version, or a stranger's old data, would look like to an agent of version 1.
BAD_BLOCK = b"2|2|1|52|0|x|h"
ENGINE_WITHIN_SECONDS = 240
NOTICED_WITHIN_SECONDS = 90
RUN_WITHIN_SECONDS = 900
# Production's turns take 10 s and a host counts as alive for 60 s; only waiting is shortened here.
TIMING = {"loop_seconds": 4.0, "host_alive_seconds": 24.0, "full_read_seconds": 12.0}
UNATTENDED = os.environ.get("DEMO_APPROVE") == "yes"


class DemoFailed(Exception):
    """The demo did not end as it must; the text says what is wrong."""


def main() -> int:
    """Run one verb."""
    verb = sys.argv[1] if len(sys.argv) > 1 else ""
    console = Console()
    try:
        if verb == "up":
            return up(console)
        if verb == "down":
            return down(console)
    except (LabError, DemoFailed) as error:
        console.fail(str(error))
        return 1
    console.fail("usage: python -m tests.lab.demo up|down")
    return 2


def up(console: Console) -> int:
    """Bring everything up, break it, repair it, prove it."""
    missing = why_not()
    if missing:
        console.cannot(missing)
        return 2
    if not UNATTENDED and not sys.stdin.isatty():
        console.fail("nobody can be asked here (no terminal): set DEMO_APPROVE=yes to let the")
        console.fail("demo approve its own gate as the approver `demo`")
        return 2
    lab = Lab("demo", timing=TIMING, say=console.say)
    play(lab, Command(home(), lab.inventory_path), console)
    return 0


def play(lab: Lab, command: Command, console: Console) -> None:
    """Bring up what is not up yet, break it, repair it, prove it. Raises DemoFailed, LabError."""
    boot(lab, command, console)
    break_whiteboard(lab, console)
    run_id = repair(command, console)
    prove(lab, console)
    console.record(command, run_id)


def down(console: Console) -> int:
    """Take down what `up` left."""
    lab = Lab("demo", say=console.say)
    Command(home(), lab.inventory_path).stop_serving()
    lab.down()
    console.say("demo is down; the images stay cached, the journal stays in " + str(home()))
    return 0


def home() -> Path:
    """The control node's state for the demo."""
    return state.cache_dir() / "demo-control-node"


def boot(lab: Lab, command: Command, console: Console) -> None:
    """Hosts, hosted engine, Prefect; all of it may be up already."""
    console.title("Three hosts, our HA monitor, and the control node")
    console.say(f"the agents take a turn every {TIMING['loop_seconds']:.0f} s here, not every 10 s")
    fresh = not lab.is_up()
    lab.up()
    names = ", ".join(f"{host.name} {host.address}" for host in lab.hosts)
    console.say(f"hosts answer over SSH, host keys verified: {names}")
    with ThreadPoolExecutor(1) as pool:
        serving = pool.submit(command.serve)
        if fresh:
            lab.deploy()
        console.say("waiting for the agents to elect a host and start the engine stand-in")
        lab.wait_for_engine(ENGINE_WITHIN_SECONDS)
        where = running_on(lab)
        console.say(f"the engine stand-in answers on its health page; it runs on {where}")
        serving.result()
    console.say(f"Prefect UI: {command.ui_url()}   log in with: {command.credentials_file}")


def running_on(lab: Lab) -> str:
    """The host that runs the engine VM. Raises DemoFailed unless it is exactly one."""
    found = [
        host.name
        for host in lab.hosts
        if "HostedEngine" in lab.ssh(host.name, "virsh", "list", "--name").stdout
    ]
    if len(found) != 1:
        raise DemoFailed(f"exactly one host must run the engine VM, but: {found or 'none'} do")
    return found[0]


def break_whiteboard(lab: Lab, console: Console) -> None:
    """Put a block of a version to come where host 52 would write, and see it complained of."""
    console.title("The trouble")
    # An agent says it once in a quarter of an hour: an earlier demo that ended half-way counts.
    broken = any(block.bad for block in judge_whiteboard(lab.read_metadata()))
    marks = {host.name: 0 if broken else log_size(lab, host.name) for host in lab.hosts}
    lab.put_block(BAD_HOST_ID, BAD_BLOCK)
    console.say(f"wrote a block of version 2 for host id {BAD_HOST_ID} to the whiteboard")
    words = f"Metadata version 2 from host {BAD_HOST_ID} too new for this agent"

    def complaints() -> list[str]:
        return [
            f"{name} agent.log: {line}"
            for name, mark in marks.items()
            for line in new_log_lines(lab, name, mark)
            if words in line
        ]

    lab.wait_until(lambda: bool(complaints()), NOTICED_WITHIN_SECONDS, "an agent complains")
    for line in complaints()[-1:]:
        console.say(line)


AGENT_LOG = "/var/log/ovirt-hosted-engine-ha/agent.log"


def log_size(lab: Lab, host: str) -> int:
    return int(lab.ssh(host, "stat", "-c", "%s", AGENT_LOG).stdout)


def new_log_lines(lab: Lab, host: str, mark: int) -> list[str]:
    return lab.ssh(host, "tail", "-c", f"+{mark + 1}", AGENT_LOG).stdout.splitlines()


def repair(command: Command, console: Console) -> str:
    """Run the runbook to its end. Raises DemoFailed if it does not complete."""
    console.title(f"The runbook: runbook run {RUNBOOK} --cluster lab")
    run_id = command.unfinished(RUNBOOK)
    if run_id:
        console.say(f"run {run_id[:8]} of an earlier demo has not ended: going on with it")
    else:
        run_id = command.start(RUNBOOK)
    if UNATTENDED:
        follower = command.follow(run_id)
        try:
            follow_and_approve(command, console, run_id)
        finally:
            follower.wait(30)
    elif command.call("follow", run_id) != 0:
        raise DemoFailed(f"the run did not complete; look at it with: runbook status {run_id[:8]}")
    return run_id


def follow_and_approve(command: Command, console: Console, run_id: str) -> None:
    """Approve every gate of the run as the approver `demo`, until it ends."""
    deadline = time.monotonic() + RUN_WITHIN_SECONDS
    while time.monotonic() < deadline:
        seen = command.status(run_id)
        run, gate = seen["run"], seen["gate"]
        if run["state_type"] == "COMPLETED":
            return
        if run["state_type"] in {"FAILED", "CANCELLED"}:
            raise DemoFailed(f"the run ended {run['state']}: {run['message']}")
        if gate:
            console.say(f"DEMO_APPROVE=yes: approving gate {gate['gate']} as the approver `demo`")
            command.approve(run_id, gate)
        time.sleep(1)
    raise DemoFailed(f"the run did not end within {RUN_WITHIN_SECONDS} s")


def prove(lab: Lab, console: Console) -> None:
    """See for ourselves what the runbook says. Raises DemoFailed."""
    console.title("Seen from outside")
    blocks = judge_whiteboard(lab.read_metadata())
    bad = [block.host_id for block in blocks if block.bad]
    if bad:
        raise DemoFailed(f"bad blocks on the whiteboard: {bad}")
    console.say("the whiteboard has no bad block")
    states = sorted(str(each.record.state) for each in blocks if isinstance(each.record, Record))
    if states != ["EngineDown", "EngineDown", "EngineUp"]:
        raise DemoFailed(f"the cluster is not stable: {states}")
    console.say("one host is EngineUp, two are EngineDown and ready to take over")
    if not lab.engine_answers():
        raise DemoFailed("the engine stand-in does not answer on its health page")
    console.say(f"the engine stand-in answers; it runs on {running_on(lab)}")
    pairs = lab.overlaps()
    if pairs:
        raise DemoFailed(f"two copies of the engine VM were alive at once: {pairs}")
    boots = {beat.boot_id for beat in lab.heartbeats()}
    console.say(f"heartbeats on the engine's disk: {len(boots)} boot(s), none overlapped")


if __name__ == "__main__":
    sys.exit(main())
