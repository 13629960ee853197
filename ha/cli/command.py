"""Parse the command line, check what a verb needs, run it, return the exit code."""

from collections.abc import Mapping, Sequence

from ha.cli.host import FAILURE, Host, Refused
from ha.cli.usage import VERBS, Verb, usage, verb_usage
from ha.config import ConfigError
from ha.services import ServicesFailed
from ha.version import version

OK = 0
NOT_DEPLOYED = "You must run deploy first"
NO_VM_CONF = "The hosted engine configuration has not been retrieved from shared storage yet,"
NO_AGENT = "please ensure that ovirt-ha-agent service is running."
ASK_SANLOCK = "for more details please check sanlock status."


def run_command(host: Host, arguments: Sequence[str]) -> int:
    """Run the verb on the command line and return its exit code."""
    if not arguments:
        host.complain(usage())
        return FAILURE
    if arguments[0] == "--help":
        host.say(usage())
        return OK
    if arguments[0] == "--version":
        host.say(version())
        return OK
    verb = VERBS.get(arguments[0].removeprefix("--"))
    if verb is None or not arguments[0].startswith("--"):
        host.complain(f"Invalid option '{arguments[0]}'\n{usage()}")
        return FAILURE
    if "--help" in arguments[1:]:
        host.say(verb_usage(verb))
        return OK
    return _run(host, verb, arguments[1:])


def _run(host: Host, verb: Verb, arguments: Sequence[str]) -> int:
    try:
        options = _options(verb, arguments)
        _require(host, verb)
        verb.run(host, options)
    except Refused as refusal:
        host.complain(str(refusal))
        return refusal.code
    except ConfigError as error:
        host.complain(str(error))
        return FAILURE
    return OK


def _options(verb: Verb, arguments: Sequence[str]) -> Mapping[str, str]:
    """Return options and arguments by name; of one that may be repeated, the values are lines."""
    options: dict[str, str] = {}
    missing = list(verb.arguments)
    for argument in arguments:
        if not argument.startswith("--") and missing:
            options[missing.pop(0)] = argument
            continue
        name, equals, value = argument.removeprefix("--").partition("=")
        if argument.startswith("--") and not equals and f"{name}=" in verb.options:
            raise Refused(f"Option '--{name}=' needs a value\n{verb_usage(verb)}")
        if not argument.startswith("--") or f"{name}{equals}" not in verb.options:
            raise Refused(f"Invalid option '{argument}'\n{verb_usage(verb)}")
        if equals and not value:
            raise Refused(f"Option '--{name}=' needs a value\n{verb_usage(verb)}")
        if name in options and name != "config-append":
            raise Refused(f"Option '--{name}' is there twice\n{verb_usage(verb)}")
        options[name] = f"{options[name]}\n{value}" if name in options else value
    return options


def _require(host: Host, verb: Verb) -> None:
    if verb.needs_deployed and not host.is_deployed():
        raise Refused(NOT_DEPLOYED)
    if verb.needs_vm_conf and not host.paths.vm_conf.is_file():
        try:
            active = host.services.is_active("ovirt-ha-agent")
        except ServicesFailed:
            active = False
        raise Refused(f"{NO_VM_CONF}\n{ASK_SANLOCK if active else NO_AGENT}")
