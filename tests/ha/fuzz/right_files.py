"""Configuration files that are right, and what an error about one that is not must say."""

from collections.abc import Callable
from pathlib import Path

from ha.config import ConfigError
from ha.config_broker import read_broker_conf
from ha.config_events import read_events_conf
from ha.config_files import read_agent_conf
from tests.ha.deployed import KEYS, uuid

# hosted-engine.conf with every key that is used.
FULL = {
    **KEYS,
    "domainType": "nfs",
    "storage": "server:/he",
    "spUUID": "00000000-0000-0000-0000-000000000000",
    "connectionUUID": uuid(11),
    "mnt_options": "soft",
    "console": "vnc",
    "configured": "True",
    "gateway": "192.0.2.1",
    "network_test": "tcp",
    "tcp_t_address": "192.0.2.2",
    "tcp_t_port": "22",
}
# The files with sections: where Paths has them, who reads them, and a text.
INI: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "agent.conf": (
        "agent_conf",
        read_agent_conf,
        "[score]\nbase-score=3400\nnetwork-score-penalty=1600\n[timing]\nloop_seconds=10\n",
    ),
    "broker.conf": (
        "broker_conf",
        read_broker_conf,
        "[email]\nsmtp-server=localhost\nsmtp-port=25\nsmtp-timeout=10\nsource-email=root@h\n"
        "destination-emails=a@b, c@d\n[notify]\nstate_transition=start|stop\n",
    ),
    "events.conf": (
        "events_conf",
        read_events_conf,
        "[events]\nurl=http://control:4200/api\ncluster=lab\n[anomalies]\n",
    ),
}


def text_of(values: dict[str, str]) -> str:
    return "".join(f"{key}={value}\n" for key, value in values.items())


def checked(error: ConfigError, path: Path) -> ConfigError:
    """An error must name the file and the key, and say what to do."""
    assert str(path) in str(error)
    assert all((error.key, error.problem, error.remedy))
    return error
