"""The configuration files of a first host: made from answers, and read as the daemons read them."""

import re
from collections.abc import Mapping

from ha.answers import Answers, AnswersError
from ha.config import BLANK_UUID, ConfigError, Paths
from ha.config_broker import broker_conf_of
from ha.config_host import host_conf_of
from ha.config_text import key_values_of

# hosted-engine.conf is read by shells too, so a value must be one plain word.
_PLAIN = re.compile(r"[A-Za-z0-9_.:/,@%+=\[\]-]*")
# The keys of hosted-engine.conf and broker.conf, by the answers that they come from.
_TEXTS = {
    "fqdn": "OVEHOSTED_NETWORK/fqdn",
    "storage": "OVEHOSTED_STORAGE/storageDomainConnection",
    "nfs_version": "OVEHOSTED_STORAGE/nfsVersion",
    "mnt_options": "OVEHOSTED_STORAGE/mntOptions",
    "console": "OVEHOSTED_VDSM/consoleType",
    "domainType": "OVEHOSTED_STORAGE/domainType",
    "gateway": "OVEHOSTED_NETWORK/gateway",
    "bridge": "OVEHOSTED_NETWORK/bridgeName",
    "network_test": "OVEHOSTED_NETWORK/network_test",
    "tcp_t_address": "OVEHOSTED_NETWORK/network_test_tcp_address",
}
_ISCSI_TEXTS = {
    "storage": "OVEHOSTED_STORAGE/iSCSIPortalIPAddress",
    "iqn": "OVEHOSTED_STORAGE/iSCSITargetName",
    "user": "OVEHOSTED_STORAGE/iSCSIPortalUser",
}
_ISCSI_NUMBERS = {
    "portal": "OVEHOSTED_STORAGE/iSCSIPortal",
    "port": "OVEHOSTED_STORAGE/iSCSIPortalPort",
}
_TCP_PORT = "OVEHOSTED_NETWORK/network_test_tcp_port"
_MAIL = {
    "smtp-server": "OVEHOSTED_NOTIF/smtpServer",
    "smtp-port": "OVEHOSTED_NOTIF/smtpPort",
    "source-email": "OVEHOSTED_NOTIF/sourceEmail",
    "destination-emails": "OVEHOSTED_NOTIF/destEmail",
}
_ANSWERS = {**_ISCSI_TEXTS, **_ISCSI_NUMBERS, **_MAIL, **_TEXTS, "tcp_t_port": _TCP_PORT}
_DEFAULTS = {
    "nfs_version": "auto",
    "console": "vnc",
    "bridge": "ovirtmgmt",
    "network_test": "dns",
    "smtp-server": "localhost",
    "source-email": "root@localhost",
    "destination-emails": "root@localhost",
}


def conf_values(answers: Answers, paths: Paths, host_id: int) -> dict[str, str]:
    """Return the keys of hosted-engine.conf, but for UUIDs. Raises AnswersError."""
    values = {key: answers.text(said, _DEFAULTS.get(key, "")) for key, said in _TEXTS.items()}
    values["tcp_t_port"] = _number(answers, _TCP_PORT)
    if values["domainType"] == "iscsi":
        values |= {key: answers.text(said) for key, said in _ISCSI_TEXTS.items()}
        values |= {key: _number(answers, said) for key, said in _ISCSI_NUMBERS.items()}
    for key, value in values.items():
        if not _PLAIN.fullmatch(value):
            raise AnswersError(
                f"{_ANSWERS[key]}: {value!r}: blanks, quotes and shell characters cannot be used"
            )
    return {
        **values,
        "conf": "/" + str(paths.vm_conf.relative_to(paths.root)),
        "host_id": str(host_id),
        "spUUID": BLANK_UUID,
        "vdsm_use_ssl": "true",
    }


def conf_text(conf: Mapping[str, str]) -> str:
    """Return hosted-engine.conf's text."""
    return "".join(f"{key}={value}\n" for key, value in conf.items())


def conf_mode(text: str) -> int:
    """Return the mode of hosted-engine.conf: iSCSI's password is not everybody's."""
    secret = any(line.startswith("password=") for line in text.splitlines())
    return 0o640 if secret else 0o644


def broker_conf_text(answers: Answers) -> str:
    """Return broker.conf's text: whom to mail, and about which changes of state."""
    mail = {
        key: str(answers.number(said, 25))
        if key == "smtp-port"
        else answers.text(said, _DEFAULTS[key])
        for key, said in _MAIL.items()
    }
    lines = [f"{key}={value}\n" for key, value in {**mail, "smtp-timeout": "10"}.items()]
    events = "state_transition=maintenance|start|stop|up|down\n"
    return f"[email]\n{''.join(lines)}\n[notify]\n{events}"


def require_usable(paths: Paths, conf: Mapping[str, str], broker_conf: str) -> None:
    """Refuse answers whose files no daemon of this host would take. Raises AnswersError."""
    path = paths.hosted_engine_conf
    try:
        host_conf_of(path, key_values_of(path, conf_text(conf)))
        broker_conf_of(paths.broker_conf, broker_conf)
    except ConfigError as error:
        key = _ANSWERS.get(error.key, error.key)
        raise AnswersError(f"{key}: {error.problem}. {error.remedy}") from error


def _number(answers: Answers, key: str) -> str:
    return str(answers.number(key, 0)) if answers.given(key) else ""
