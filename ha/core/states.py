"""The state machine, as one table.

Theory of operation. Each turn the rules of the present state are asked from the top; the first one
that holds names the next state, and says why in the words that upstream logs. Then:

1. A rule with `do` makes a request. It is carried out at once, and the same state is asked again in
   the same turn with the result as a fact; so a request's rule leads to the state itself.
2. A rule with `waits=False` has the next state asked in the same turn, with the same facts.
3. A state whose first rule is a limit has a timer: it starts with the first answer that stays in
   the state (so in the second turn there, as a rule), and stops when the state is left.

Longer than 250 lines because everything about transitions is in this one table. Names, order,
limits and defaults follow ovirt-hosted-engine-ha 2.5 (agent/states.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ha.core import guards as g
from ha.core.actions import Action
from ha.core.facts import State


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the table; `why` may name the values listed in `ha.core.decide`."""

    when: g.Guard
    goto: State
    why: str
    do: Action | None = None
    waits: bool = True

    @property
    def name(self) -> str:
        """What the rule is called within its state; people search for it, so it stays the same."""
        if self.do is not None:
            return f"request-{self.do.name_in_rules}"
        return g.name_of(self.when)


# Asked in nearly every state before its own rules; where they stand differs from state to state.
GLOBAL = Rule(g.global_maintenance, State.GLOBAL_MAINTENANCE, "Global maintenance detected")
LOCAL = Rule(g.local_maintenance, State.LOCAL_MAINTENANCE, "Local maintenance detected")
UNKNOWN = Rule(
    g.vm_unknown,
    State.UNKNOWN_LOCAL_VM_STATE,
    "Unknown local engine vm status no actions taken",
)


def _limit(name: str, goto: State, *, waits: bool = True) -> Rule:
    why = "Timeout on transitioning from {state}, moving to {goto}"
    return Rule(g.TimerOver(name), goto, why, waits=waits)


# No rule for local maintenance: the host keeps watching the VM until it has left.
_ENGINE_UP = (
    GLOBAL,
    UNKNOWN,
    Rule(g.vm_down, State.ENGINE_MAYBE_AWAY, "Engine vm is not running on localhost anymore"),
    Rule(
        g.vm_down_unexpectedly,
        State.ENGINE_UNEXPECTEDLY_DOWN,
        "Engine vm was unexpectedly shut down",
    ),
    Rule(
        g.best_engine_not_up,
        State.ENGINE_MAYBE_AWAY,
        "Engine vm may be running on another host",
        waits=False,
    ),
    Rule(
        g.best_engine_not_here,
        State.ENGINE_STOP,
        "Engine vm unexpectedly running on host {engine_host_id}",
    ),
    Rule(
        g.peer_scores_much_higher,
        State.ENGINE_STOP,
        "Host {best_host} (id {best_host_id}) score is significantly better"
        " than local score, shutting down VM on this host",
    ),
    Rule(
        g.engine_health_bad,
        State.ENGINE_UP_BAD_HEALTH,
        "Engine VM has bad health status, timeout in {bad_health_left} seconds",
    ),
    Rule(g.otherwise, State.ENGINE_UP, "Engine vm running on localhost"),
)

RULES: Mapping[State, tuple[Rule, ...]] = {
    State.START: (Rule(g.otherwise, State.REINITIALIZE_FSM, "The agent has started"),),
    State.REINITIALIZE_FSM: (
        GLOBAL,
        UNKNOWN,
        LOCAL,
        # Not straight to EngineUp: an engine that is still starting would be found in bad health.
        Rule(g.vm_up, State.ENGINE_STARTING, "Engine vm found running on localhost", waits=False),
        Rule(g.otherwise, State.ENGINE_DOWN, "Engine vm is not running on localhost"),
    ),
    State.GLOBAL_MAINTENANCE: (
        GLOBAL,  # wins over local maintenance
        LOCAL,
        Rule(g.otherwise, State.REINITIALIZE_FSM, "Global maintenance has ended"),
    ),
    State.LOCAL_MAINTENANCE: (
        LOCAL,  # and global maintenance is not looked at
        Rule(g.otherwise, State.REINITIALIZE_FSM, "Local maintenance has ended"),
    ),
    State.UNKNOWN_LOCAL_VM_STATE: (
        GLOBAL,
        UNKNOWN,
        LOCAL,
        Rule(
            g.otherwise,
            State.REINITIALIZE_FSM,
            "The local engine vm status is known again",
            waits=False,
        ),
    ),
    State.ENGINE_DOWN: (
        GLOBAL,
        UNKNOWN,
        LOCAL,
        Rule(
            g.best_engine_up_here,
            State.ENGINE_STARTING,
            "Engine vm unexpectedly running locally, monitoring vm",
            waits=False,
        ),
        Rule(
            g.best_engine_up_on_a_peer,
            State.ENGINE_DOWN,
            "Engine vm is running on host {engine_host} (id {engine_host_id})",
        ),
        Rule(
            g.liveness_unknown,
            State.ENGINE_DOWN,
            "The engine is not running, but we do not have enough data to decide"
            " which hosts are alive",
        ),
        # Upstream tries again and again, and each try fails with -243.
        Rule(
            g.lease_held_by_a_live_peer,
            State.ENGINE_DOWN,
            "The lease of the engine VM is held by host {lease_host} (id {lease_host_id}), which is"
            " alive; the VM is started as soon as the lease is free",
        ),
        Rule(
            g.no_peer_scores_higher,
            State.ENGINE_START,
            "Engine down and local host has best score ({score}), attempting to start engine VM",
            waits=False,
        ),
        Rule(g.otherwise, State.ENGINE_DOWN, "Engine down, local host does not have best score"),
    ),
    State.ENGINE_START: (
        GLOBAL,
        UNKNOWN,
        LOCAL,
        Rule(g.Done(Action.START_VM, True), State.ENGINE_STARTING, "Engine VM started"),
        Rule(g.Done(Action.START_VM, False), State.ENGINE_DOWN, "Failed to start engine VM"),
        Rule(g.otherwise, State.ENGINE_START, "Starting the engine VM", Action.START_VM),
    ),
    State.ENGINE_STARTING: (
        _limit("starting_seconds", State.ENGINE_STOP),
        GLOBAL,
        UNKNOWN,
        LOCAL,
        Rule(g.vm_up_and_healthy, State.ENGINE_UP, "Engine vm running on localhost"),
        Rule(g.vm_up, State.ENGINE_STARTING, "VM is powering up.."),
        Rule(
            g.vm_down,
            State.ENGINE_FORCE_STOP,
            "Another host already took over..",
            waits=False,
        ),
        Rule(
            g.otherwise,
            State.ENGINE_MAYBE_AWAY,
            "Engine vm may be running on another host",
            waits=False,
        ),
    ),
    State.ENGINE_UP: _ENGINE_UP,
    State.ENGINE_UP_BAD_HEALTH: (_limit("bad_health_seconds", State.ENGINE_STOP), *_ENGINE_UP),
    State.ENGINE_STOP: (
        _limit("stopping_seconds", State.ENGINE_FORCE_STOP),
        GLOBAL,
        LOCAL,
        UNKNOWN,
        Rule(g.vm_not_up, State.ENGINE_DOWN, "Engine vm not running on local host"),
        Rule(
            g.vm_paused,
            State.ENGINE_FORCE_STOP,
            "Engine vm is paused and cannot shut down",
            waits=False,
        ),
        Rule(g.Done(Action.SHUTDOWN_VM, True), State.ENGINE_STOP, "Initiated a shutdown"),
        Rule(g.Done(Action.SHUTDOWN_VM, False), State.REINITIALIZE_FSM, "Failed to shut down"),
        Rule(
            g.timer_not_started,
            State.ENGINE_STOP,
            "Shutting down the engine VM",
            Action.SHUTDOWN_VM,
        ),
        Rule(
            g.otherwise,
            State.ENGINE_STOP,
            "Waiting on shutdown to complete ({stopping_elapsed} of {stopping_limit} seconds)",
        ),
    ),
    State.ENGINE_FORCE_STOP: (
        GLOBAL,
        LOCAL,
        UNKNOWN,
        Rule(g.Done(Action.POWEROFF_VM, True), State.ENGINE_DOWN, "Engine VM is powered off"),
        Rule(g.Done(Action.POWEROFF_VM, False), State.REINITIALIZE_FSM, "Failed to power off"),
        Rule(
            g.otherwise,
            State.ENGINE_FORCE_STOP,
            "Cutting the engine VM's power",
            Action.POWEROFF_VM,
        ),
    ),
    State.ENGINE_MAYBE_AWAY: (
        _limit("away_seconds", State.ENGINE_UNEXPECTEDLY_DOWN, waits=False),
        GLOBAL,
        UNKNOWN,
        LOCAL,
        Rule(g.vm_down, State.ENGINE_DOWN, "Engine vm is down on localhost"),
        Rule(
            g.vm_down_unexpectedly,
            State.ENGINE_UNEXPECTEDLY_DOWN,
            "Engine vm was unexpectedly shut down",
        ),
        Rule(g.vm_up, State.ENGINE_UP, "Engine vm is running on localhost again"),
        Rule(
            g.best_engine_up_on_a_peer,
            State.ENGINE_DOWN,
            "Engine vm is running on host {engine_host} (id {engine_host_id})",
        ),
        Rule(
            g.otherwise,
            State.ENGINE_MAYBE_AWAY,
            "Waiting for the engine vm to show up on another host",
        ),
    ),
    State.ENGINE_UNEXPECTEDLY_DOWN: (
        # The penalty is served in full, also when the engine is up on a peer meanwhile.
        _limit("unexpected_seconds", State.ENGINE_DOWN),
        GLOBAL,
        UNKNOWN,
        LOCAL,
        Rule(
            g.best_engine_up_here,
            State.ENGINE_UP,
            "Engine vm unexpectedly running locally, monitoring vm",
        ),
        Rule(
            g.best_engine_up_on_a_peer,
            State.ENGINE_UNEXPECTEDLY_DOWN,
            "Engine vm is running on host {engine_host} (id {engine_host_id})",
        ),
        Rule(
            g.otherwise,
            State.ENGINE_UNEXPECTEDLY_DOWN,
            "Engine down, local host does not have best score",
        ),
    ),
    State.AGENT_STOPPED: (Rule(g.otherwise, State.AGENT_STOPPED, "The agent is stopped"),),
}


def limit_of(state: State) -> str | None:
    """Return the name in Timing of the state's limit, None when it may last for ever."""
    guard = RULES[state][0].when
    return guard.limit if isinstance(guard, g.TimerOver) else None
