"""Timelines of the reference implementation, on whole simulated hosts with their monitors.

A time is in seconds since the fault; ours may be up to a turn off, as it hears of the VM's end at
once and of other things at its monitors' next look.
Longer than 250 lines because the traces are one table.
"""

from dataclasses import dataclass

import pytest

from ha.config import AgentConf
from ha.core.timing import Timing
from ha.simulator.cluster import Cluster
from ha.simulator.site import Plan

TURN_SECONDS = 10.0
UP_SECONDS = 300.0
"""By then the engine is up on host1."""
Step = tuple[float, str]


@dataclass(frozen=True)
class Trace:
    """What is done, as (seconds, fault), and which states a host then enters, and when."""

    name: str
    hosts: int
    steps: tuple[Step, ...]
    host: str
    states: tuple[tuple[float, str], ...]
    until: float


TRACES = (
    Trace(
        "alone, the start succeeds",
        1,
        ((0, ""),),
        "host1",
        (
            (21, "ReinitializeFSM (0)"),
            (31, "EngineDown (3400)"),
            (91, "EngineStart (3400)"),
            (91, "EngineStarting (3400)"),
            (191, "EngineUp (3400)"),
        ),
        400,
    ),
    Trace(
        "up when the agent starts",
        1,
        ((UP_SECONDS, "kill-agent host1"),),
        "host1",
        (
            (10, "ReinitializeFSM (0)"),
            (20, "EngineStarting (3400)"),
            (21, "EngineUp (3400)"),
        ),
        200,
    ),
    Trace(
        "bad health, and the VM never stops",
        1,
        ((UP_SECONDS, "stop-engine"), (UP_SECONDS, "hang-engine-shutdown")),
        "host1",
        (
            (1, "EngineUpBadHealth (3400)"),
            (321, "EngineStop (3400)"),
            (641, "EngineForceStop (3400)"),
            (651, "EngineDown (3400)"),
            (651, "EngineStart (3400)"),
            (651, "EngineStarting (3400)"),
            (752, "EngineUp (3400)"),
        ),
        800,
    ),
    Trace(
        "the emulator is killed",
        1,
        ((UP_SECONDS, "kill-vm"),),
        "host1",
        ((1, "EngineUnexpectedlyDown (0)"), (581, "EngineDown (3400)")),
        585,
    ),
    Trace(
        "local maintenance waits for the VM to leave",
        2,
        ((UP_SECONDS, "local-maintenance host1 on"), (UP_SECONDS + 100, "migrate host1 host2")),
        "host1",
        ((101, "EngineMaybeAway (3400)"), (111, "LocalMaintenance (0)")),
        300,
    ),
    Trace(
        "local maintenance first, global does not matter",
        2,
        (
            (0.5, "local-maintenance host1 on"),
            (60, "maintenance global"),
            (80, "maintenance none"),
            (120, "local-maintenance host1 off"),
        ),
        "host1",
        (
            (21, "ReinitializeFSM (0)"),
            (31, "LocalMaintenance (0)"),
            (121, "ReinitializeFSM (0)"),
            (131, "EngineDown (3400)"),
        ),
        140,
    ),
    Trace(
        "global maintenance wins when it is met first",
        1,
        (
            (24, "maintenance global"),
            (25, "local-maintenance host1 on"),
            (50, "maintenance none"),
            (100, "local-maintenance host1 off"),
        ),
        "host1",
        (
            (-3, "ReinitializeFSM (0)"),
            (7, "GlobalMaintenance (3400)"),
            (27, "LocalMaintenance (0)"),
            (77, "ReinitializeFSM (0)"),
            (87, "EngineDown (3400)"),
        ),
        90,
    ),
    Trace(
        "the VM's state is unknown for a while",
        1,
        ((UP_SECONDS, "libvirt-lost host1"), (UP_SECONDS + 50, "libvirt-back host1")),
        "host1",
        (
            (1, "UnknownLocalVmState (3400)"),
            (51, "ReinitializeFSM (3400)"),
            (52, "EngineStarting (3400)"),
            (53, "EngineUp (3400)"),
        ),
        200,
    ),
    Trace(
        "the VM is migrated away",
        2,
        ((UP_SECONDS, "migrate host1 host2"),),
        "host1",
        ((1, "EngineMaybeAway (3400)"), (11, "EngineDown (3400)")),
        200,
    ),
    Trace(
        "the gateway is lost: one turn of lag, once the network test says so",
        2,
        ((UP_SECONDS, "gateway-lost host1"),),
        "host1",
        ((32, "EngineUp (1800)"), (42, "EngineStop (1800)"), (62, "EngineDown (1800)")),
        200,
    ),
    Trace(
        "never healthy after the start",
        1,
        ((0, "break-engine"),),
        "host1",
        (
            (21, "ReinitializeFSM (0)"),
            (31, "EngineDown (3400)"),
            (91, "EngineStart (3400)"),
            (91, "EngineStarting (3400)"),
            (702, "EngineStop (3400)"),
            (717, "EngineDown (3400)"),
        ),
        720,
    ),
    Trace(
        "an agent that starts beside a healthy engine does nothing",
        2,
        ((UP_SECONDS, "kill-agent host2"),),
        "host2",
        ((10, "ReinitializeFSM (0)"), (20, "EngineDown (3400)")),
        400,
    ),
    Trace(
        "the VM's host loses its power: 60 s, then the lease, then the boot",
        3,
        ((UP_SECONDS, "power-off host1"),),
        "host3",
        (
            (64, "EngineStart (3400)"),
            (64, "EngineStarting (3400)"),
            (236, "EngineUp (3400)"),
        ),
        300,
    ),
    Trace(
        "the other of two hosts takes over at once when the emulator is killed",
        2,
        ((UP_SECONDS, "kill-vm"),),
        "host2",
        ((4, "EngineStart (3400)"), (5, "EngineStarting (3400)"), (105, "EngineUp (3400)")),
        200,
    ),
    Trace(
        "the engine's service has stopped: another host after five minutes",
        2,
        ((UP_SECONDS, "stop-engine"),),
        "host2",
        ((335, "EngineStart (3400)"), (335, "EngineStarting (3400)"), (436, "EngineUp (3400)")),
        500,
    ),
    Trace(
        "global maintenance: nothing happens until it ends, and then no further 60 s",
        2,
        (
            (UP_SECONDS, "maintenance global"),
            (UP_SECONDS + 20, "kill-vm"),
            (UP_SECONDS + 100, "maintenance none"),
        ),
        "host1",
        (
            (2, "GlobalMaintenance (3400)"),
            (102, "ReinitializeFSM (0)"),
            (112, "EngineDown (3400)"),
            (122, "EngineStart (3400)"),
            (122, "EngineStarting (3400)"),
            (222, "EngineUp (3400)"),
        ),
        300,
    ),
)


@pytest.mark.parametrize("trace", TRACES, ids=lambda trace: trace.name)
def test_states_follow_each_other_as_in_the_reference(trace: Trace) -> None:
    plan = Plan(
        hosts=trace.hosts, first="host1", settings=AgentConf(timing=Timing(watch_seconds=1.0))
    )
    zero = trace.steps[0][0]
    with Cluster(plan) as cluster:
        for at, words in trace.steps:
            cluster.run_until(at)
            if words:
                cluster.do(words)
        cluster.run_until(zero + trace.until)
        found = [
            (line.at_seconds - zero, line.text.split(":")[0])
            for line in cluster.log
            if (line.host, line.kind) == (trace.host, "state") and line.at_seconds > zero - 5
        ]
        assert [state for _, state in found] == [state for _, state in trace.states], found
        for (at, state), (expected, _) in zip(found, trace.states, strict=True):
            assert at == pytest.approx(expected, abs=TURN_SECONDS), (state, found)
        assert cluster.invariants.broken == []
