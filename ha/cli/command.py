"""Parse the command line, check what a verb needs, run it, return the exit code."""

import json
from collections.abc import Mapping, Sequence

from ha.cli.host import FAILURE, Host, Refused
from ha.cli.status import vm_status
from ha.cli.usage import VERBS, Verb, usage, verb_usage
from ha.config import ConfigError
from ha.services import ServicesFailed
from ha.version import version

OK = 0
NOT_DEPLOYED = "You must run deploy first"
# The VM in which upstream's deployment prepares the engine, before it is on shared storage.
LOCAL_VM = "HostedEngineLocal"
DEPLOYMENT_BROKE_OFF = 2
BROKEN_OFF = (
    "It seems like a previous attempt to deploy hosted-engine failed or it's still in progress."
    " Please clean it up before trying again"
)
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
    as_json = False
    try:
        options = _options(verb, arguments)
        as_json = "json" in options
        _require(host, verb)
        verb.run(host, options)
    except Refused as refusal:
        _complain(host, refusal, as_json=as_json and not refusal.answered)
        return refusal.code
    except ConfigError as error:
        _complain(host, error, as_json=as_json)
        return FAILURE
    return OK


def _complain(host: Host, error: Exception, *, as_json: bool) -> None:
    """Say on standard error what is wrong; a reader of JSON gets an object as well."""
    host.complain(str(error))
    if as_json:
        host.say(json.dumps({"error": str(error)}))


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
        if verb.run is vm_status and host.vm_exists(LOCAL_VM):
            raise Refused(BROKEN_OFF, DEPLOYMENT_BROKE_OFF)
        raise Refused(NOT_DEPLOYED)
    if verb.needs_vm_conf and not host.paths.vm_conf.is_file():
        try:
            active = host.services.is_active("ovirt-ha-agent")
        except ServicesFailed:
            active = False
        raise Refused(f"{NO_VM_CONF}\n{ASK_SANLOCK if active else NO_AGENT}")
