"""The verbs of the command: names, options and help, as upstream's users know them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ha.cli.deploy_options import UPSTREAMS_OPTIONS
from ha.cli.host import Host
from ha.cli.later import later
from ha.cli.status import vm_status


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb: its options, of which those that end in `=` take a value, and what it needs.

    `arguments` are the names of what is given without a name, in this order.
    """

    run: Callable[[Host, Mapping[str, str]], None]
    synopsis: str
    help: str
    options: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    needs_deployed: bool = True
    needs_vm_conf: bool = False


VERBS = {
    "deploy": Verb(
        later("ha.cli.deploy", "deploy_host"),
        "--deploy --config-append=<file>... [--generate-answer=<file>]",
        "Deploy this host without questions, as the first one or as an additional one.",
        ("config-append=", "generate-answer=", *UPSTREAMS_OPTIONS),
        needs_deployed=False,
    ),
    "vm-start": Verb(
        later("ha.cli.vm", "vm_start"),
        "--vm-start [--vm-conf=<file>]",
        "Start the VM on this host. In an edited copy of vm.conf a changed cdrom path,\n"
        "bootOrder or bootMenuEnable takes effect, in the plain lines or in the XML.\n"
        "Plain lines and XML that contradict each other are refused.",
        ("vm-conf=",),
        needs_vm_conf=True,
    ),
    "vm-start-paused": Verb(
        later("ha.cli.vm", "vm_start_paused"),
        "--vm-start-paused [--vm-conf=<file>]",
        "The same, with the VM's processors stopped until: virsh resume HostedEngine.",
        ("vm-conf=",),
        needs_vm_conf=True,
    ),
    "vm-shutdown": Verb(
        later("ha.cli.vm", "vm_shutdown"),
        "--vm-shutdown",
        "Gracefully shut down the VM on this host.",
    ),
    "vm-poweroff": Verb(
        later("ha.cli.vm", "vm_poweroff"),
        "--vm-poweroff",
        "Forcefully power off the VM on this host.",
    ),
    "add-console-password": Verb(
        later("ha.cli.console", "add_console_password"),
        "--add-console-password",
        "Set a password for the VM's VNC console, valid for 120 s, at most 8 characters, and\n"
        "say where to connect. The VM must be on this host. The password is taken from\n"
        "OVIRT_HOSTED_ENGINE_CONSOLE_PASSWORD in the environment, or asked for on the\n"
        "terminal.",
        ("password=",),
    ),
    "console": Verb(
        later("ha.cli.console", "console"),
        "--console",
        "Connect this terminal with the VM's serial console; ^] leaves it.",
    ),
    "vm-status": Verb(
        vm_status,
        "--vm-status [--json]",
        "VM status according to the HA agents; machine-readable with --json.",
        ("json",),
        needs_vm_conf=True,
    ),
    "check-deployed": Verb(
        later("ha.cli.checks", "check_deployed"),
        "--check-deployed",
        "Check whether the hosted engine has been deployed already.",
        needs_deployed=False,
    ),
    "check-liveliness": Verb(
        later("ha.cli.checks", "check_liveliness"),
        "--check-liveliness",
        "Check the liveliness page of the engine. Exit code 2: it is not known which page.",
        needs_deployed=False,
    ),
    "connect-storage": Verb(
        later("ha.cli.storage", "connect_storage"),
        "--connect-storage",
        "Connect the hosted engine storage domain.",
    ),
    "disconnect-storage": Verb(
        later("ha.cli.storage", "disconnect_storage"),
        "--disconnect-storage",
        "Disconnect the hosted engine storage domain. Refused while agent, broker or the\n"
        "engine VM use it on this host. Gives back the host ids that sanlock still holds.",
    ),
    "set-maintenance": Verb(
        later("ha.cli.maintenance", "set_maintenance"),
        "--set-maintenance --mode=<mode>",
        "Set maintenance status to the specified mode (global/local/none). Says which hosts\n"
        "have taken notice of the global flag, in two turns and 10 s. Exit code 3:\n"
        "the flag is on the storage, but a live host has not taken notice.",
        ("mode=",),
    ),
    "get-shared-config": Verb(
        later("ha.cli.shared_config", "get_shared_config"),
        "--get-shared-config <key> [--type=<type>]",
        "Get the value of a key of the configuration. If several files have the key, a type\n"
        "must be given: he_local (hosted-engine.conf of this host), he_shared (its copy on\n"
        "the storage), ha (ha.conf), broker (broker.conf on the storage) or vm (vm.conf).",
        ("type=",),
        ("key",),
    ),
    "set-shared-config": Verb(
        later("ha.cli.shared_config", "set_shared_config"),
        "--set-shared-config <key> <value> [--type=<type>]",
        "Set a key to a value, in one of the files above but vm.conf. Refused if the file\n"
        "could not be used with it, or if somebody else changed the storage meanwhile. Hosts\n"
        "use he_shared when they are (re)deployed, the others when their daemons restart.",
        ("type=",),
        ("key", "value"),
    ),
    "clean-metadata": Verb(
        later("ha.cli.clean", "clean_metadata"),
        "--clean-metadata [--host-id=<id>] [--force-cleanup]",
        "Empty the block of this host, or of another, on the whiteboard: the other hosts\n"
        "forget it. Refused unless that host is proven gone: --force-cleanup names\n"
        "and overrides a block that cannot be read or does not say stopped.",
        ("host-id=", "force-cleanup"),
    ),
    "reinitialize-lockspace": Verb(
        later("ha.cli.lockspace", "reinitialize_lockspace"),
        "--reinitialize-lockspace [--force]",
        "Write an empty sanlock lockspace for the whiteboard. Refused unless global\n"
        "maintenance is on, every block can be read and says stopped, no lease is in\n"
        "use and nothing changes while it is watched. --force names each failed check\n"
        "that it overrides; it never overrides a host that is seen alive.",
        ("force",),
    ),
}


def usage() -> str:
    """Return the help on all verbs."""
    verbs = [f"        {verb.synopsis}\n{_help(verb)}" for verb in VERBS.values()]
    return "\n".join(
        [
            "Usage: hosted-engine <command> [<command-parameters>]",
            "    Commands:",
            "        --help",
            "            Show this help.",
            "        --version",
            "            Show the version that is installed.",
            *verbs,
            "\n    For additional information about a specific command try:",
            "        <command> --help",
        ]
    )


def verb_usage(verb: Verb) -> str:
    """Return the help on one verb."""
    return f"Usage: hosted-engine {verb.synopsis}\n{_help(verb)}"


def _help(verb: Verb) -> str:
    return "\n".join(f"            {line}" for line in verb.help.splitlines())
