"""`systemctl` on a simulated host: the units that HA consists of, and what it stands on."""

from ha.simulator.door.call import FAILURE, Call
from ha.simulator.unit import AGENT, BROKER, Unit

NOT_ACTIVE = 3
MAIN_PID = {AGENT.name: 1001, BROKER.name: 1002}
ALWAYS_ON = ("sanlock", "libvirtd", "wdmd")


def systemctl(call: Call) -> int:
    """Answer `systemctl VERB UNIT...`."""
    verb, *units = [word for word in call.words if not word.startswith("--")]
    answered = VERBS.get(verb)
    return 0 if answered is None else answered(call, units)


def state_of(unit: Unit) -> str:
    """Return a unit's state in systemd's words."""
    if unit.run is not None:
        return "active" if unit.wanted else "deactivating"
    return "activating" if unit.wanted else "inactive"


def _is_active(call: Call, units: list[str]) -> int:
    states = []
    for name in units:
        known = _known(call, [name])
        if known:
            states.append(state_of(known[0]))
        else:
            states.append("active" if name.removesuffix(".service") in ALWAYS_ON else "inactive")
    for state in states:
        call.say(state)
    return 0 if "active" in states else NOT_ACTIVE


def _is_enabled(call: Call, units: list[str]) -> int:
    known = _known(call, units)
    for unit in known:
        call.say("enabled" if unit.enabled else "disabled")
    return 0 if any(unit.enabled for unit in known) else FAILURE


def _system_state(call: Call, _units: list[str]) -> int:
    call.say("stopping" if call.host.goes_down else "running")
    return int(call.host.goes_down)


def _start(call: Call, units: list[str]) -> int:
    wanted = _known(call, units)
    if call.host.agent in wanted:
        wanted = [call.host.broker, *wanted]  # Wants=
    for unit in wanted:
        unit.start()
    return 0


def _stop(call: Call, units: list[str]) -> int:
    """Stop the agent before the broker, as it is to be started after it (After=)."""
    wanted = _known(call, units)
    for unit in (call.host.agent, call.host.broker):
        if unit in wanted:
            run = unit.run
            unit.stop()
            if run is not None:
                run.over.wait()
    return 0


def _restart(call: Call, units: list[str]) -> int:
    _stop(call, units)
    return _start(call, units)


def _enable(call: Call, units: list[str]) -> int:
    for unit in _known(call, units):
        unit.enabled = True
    return _start(call, units) if "--now" in call.words else 0


def _disable(call: Call, units: list[str]) -> int:
    for unit in _known(call, units):
        unit.enabled = False
    return _stop(call, units) if "--now" in call.words else 0


def _show(call: Call, units: list[str]) -> int:
    call.say(f"MainPID={MAIN_PID.get(units[0].removesuffix('.service'), 0)}")
    return 0


def _cat(call: Call, units: list[str]) -> int:
    return call.complain(f"No files found for {units[0]}.")


def _known(call: Call, names: list[str]) -> list[Unit]:
    units = {unit.manner.name: unit for unit in (call.host.agent, call.host.broker)}
    plain = [name.removesuffix(".service") for name in names]
    return [units[name] for name in plain if name in units]


VERBS = {
    "is-active": _is_active,
    "is-enabled": _is_enabled,
    "is-system-running": _system_state,
    "start": _start,
    "stop": _stop,
    "restart": _restart,
    "enable": _enable,
    "disable": _disable,
    "show": _show,
    "cat": _cat,
}
"""The others, as daemon-reload, have nothing to do."""
