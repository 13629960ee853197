"""`make demo`: break a three-host cluster as the Howto describes, and repair it by the runbook.

`python -m tests.lab.demo up|down`. What it starts stays up until `down`. Where the lab cannot run,
or with DEMO_SIMULATED=yes, the hosts are simulated. Exit code 0 only if the cluster ended stable,
the engine stand-in answers, no block of the whiteboard is bad and no two engine VMs ran at once.
"""

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from ha.core.record import Record, judge_whiteboard
from tests.lab import state
from tests.lab.cluster import Lab
from tests.lab.commands import LabError
from tests.lab.demo_console import Command, Console
from tests.lab.demo_stage import SIMULATED, DemoFailed, RealStage, SimulatedStage, Stage
from tests.lab.requirements import why_not

RUNBOOK = "metadata-too-new"
BAD_HOST_ID = 52
# What a newer version, or a stranger's old data, would look like to an agent of version 1.
BAD_BLOCK = b"2|2|1|52|0|x|h"
NOTICED_WITHIN_SECONDS = 90
RUN_WITHIN_SECONDS = 900
# Production's turns take 10 s and a host counts as alive for 60 s; only waiting is shortened here.
TIMING = {"loop_seconds": 4.0, "host_alive_seconds": 24.0, "full_read_seconds": 12.0}
UNATTENDED = os.environ.get("DEMO_APPROVE") == "yes"
WANTED_SIMULATED = os.environ.get("DEMO_SIMULATED") == "yes"


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
    missing = ["DEMO_SIMULATED=yes"] if WANTED_SIMULATED else why_not()
    if missing:
        console.simulated(SIMULATED, missing)
    if not UNATTENDED and not sys.stdin.isatty():
        console.fail("nobody can be asked here (no terminal): set DEMO_APPROVE=yes to let the")
        console.fail("demo approve its own gate as the approver `demo`")
        return 2
    stage = SimulatedStage() if missing else real_stage(console)
    play(stage, Command(stage.home, stage.inventory_path), console)
    return 0


def real_stage(console: Console) -> RealStage:
    """The lab of the demo."""
    lab = Lab("demo", timing=TIMING, say=console.say)
    return RealStage(lab, state.cache_dir() / "demo-control-node")


def play(stage: Stage, command: Command, console: Console) -> None:
    """Bring up what is not up yet, break it, repair it, prove it. Raises DemoFailed, LabError."""
    boot(stage, command, console)
    break_whiteboard(stage, console)
    run_id = repair(command, console)
    prove(stage, console)
    console.record(command, run_id, stage.hint)


def down(console: Console) -> int:
    """Take down what `up` left, of either kind."""
    stages: list[Stage] = [SimulatedStage()]
    if not why_not():
        stages.append(real_stage(console))
    for stage in stages:
        if stage.home.exists():
            Command(stage.home, stage.inventory_path).stop_serving()
            console.say(f"demo is down; the journal stays in {stage.home}")
        stage.down()
    return 0


def boot(stage: Stage, command: Command, console: Console) -> None:
    """Hosts, hosted engine, Prefect; all of it may be up already."""
    console.title(stage.title)
    stage.boot(console.say)
    with ThreadPoolExecutor(1) as pool:
        serving = pool.submit(command.serve)
        console.say("waiting for the agents to elect a host and start the engine stand-in")
        stage.start_engine()
        where = running_on(stage)
        console.say(f"the engine stand-in answers on its health page; it runs on {where}")
        serving.result()
    console.say(f"Prefect UI: {command.ui_url()}   log in with: {command.credentials_file}")


def running_on(stage: Stage) -> str:
    """The host that runs the engine VM. Raises DemoFailed unless it is exactly one."""
    listed = {name: stage.run(name, "virsh", "list", "--name") for name in stage.names()}
    found = [name for name, names in listed.items() if "HostedEngine" in names]
    if len(found) != 1:
        raise DemoFailed(f"exactly one host must run the engine VM, but: {found or 'none'} do")
    return found[0]


def break_whiteboard(stage: Stage, console: Console) -> None:
    """Put a block of a version to come where host 52 would write, and see it complained of."""
    console.title("The trouble")
    # An agent says it once in a quarter of an hour: an earlier demo that ended half-way counts.
    broken = any(block.bad for block in judge_whiteboard(stage.read_metadata()))
    marks = {name: 0 if broken else log_size(stage, name) for name in stage.names()}
    stage.put_block(BAD_HOST_ID, BAD_BLOCK)
    console.say(f"wrote a block of version 2 for host id {BAD_HOST_ID} to the whiteboard")
    words = f"Metadata version 2 from host {BAD_HOST_ID} too new for this agent"

    def complaints() -> list[str]:
        return [
            f"{name} agent.log: {line}"
            for name, mark in marks.items()
            for line in new_log_lines(stage, name, mark)
            if words in line
        ]

    until = time.monotonic() + NOTICED_WITHIN_SECONDS
    while not (told := complaints()):
        if time.monotonic() > until:
            raise DemoFailed(f"no agent has complained within {NOTICED_WITHIN_SECONDS} s")
        time.sleep(0.2)
    console.say(told[-1])


AGENT_LOG = "/var/log/ovirt-hosted-engine-ha/agent.log"


def log_size(stage: Stage, host: str) -> int:
    return int(stage.run(host, "stat", "-c", "%s", AGENT_LOG) or 0)


def new_log_lines(stage: Stage, host: str, mark: int) -> list[str]:
    return stage.run(host, "tail", "-c", f"+{mark + 1}", AGENT_LOG).splitlines()


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


def prove(stage: Stage, console: Console) -> None:
    """See for ourselves what the runbook says. Raises DemoFailed."""
    console.title("Seen from outside")
    blocks = judge_whiteboard(stage.read_metadata())
    bad = [block.host_id for block in blocks if block.bad]
    if bad:
        raise DemoFailed(f"bad blocks on the whiteboard: {bad}")
    console.say("the whiteboard has no bad block")
    states = sorted(str(each.record.state) for each in blocks if isinstance(each.record, Record))
    if states != ["EngineDown", "EngineDown", "EngineUp"]:
        raise DemoFailed(f"the cluster is not stable: {states}")
    console.say("one host is EngineUp, two are EngineDown and ready to take over")
    if not stage.engine_answers():
        raise DemoFailed("the engine stand-in does not answer on its health page")
    console.say(f"the engine stand-in answers; it runs on {running_on(stage)}")
    console.say(stage.one_vm_only())


if __name__ == "__main__":
    sys.exit(main())
