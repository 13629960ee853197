"""`--check-deployed` and `--check-liveliness`."""

from collections.abc import Mapping

from ha.cli.host import Host, Refused
from ha.config import ConfigError

NO_CONFIGURATION = 2


def check_deployed(host: Host, options: Mapping[str, str]) -> None:
    """Say whether this host is deployed."""
    del options
    if not host.is_deployed():
        raise Refused("The hosted engine has not been deployed")
    host.say("The hosted engine has been deployed")


def check_liveliness(host: Host, options: Mapping[str, str]) -> None:
    """Ask the engine's health page."""
    del options
    try:
        fqdn = host.conf().fqdn
    except ConfigError as error:
        raise Refused(str(error), NO_CONFIGURATION) from error
    if not fqdn:
        raise Refused(f"{host.paths.hosted_engine_conf}: fqdn is missing", NO_CONFIGURATION)
    if not host.health_page_ok(fqdn):
        raise Refused("Hosted Engine is not up!")
    host.say("Hosted Engine is up!")
