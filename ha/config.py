"""Where things are on a host, and what its configuration files say, as frozen values.

The files and their keys are upstream's. The loaders are in `ha.config_files`.
"""

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ha.core.anomalies import AnomalySettings
from ha.core.score import ScoreSettings
from ha.core.timing import Timing

BLANK_UUID = "00000000-0000-0000-0000-000000000000"
MOUNTED_DOMAINS = ("nfs", "nfs3", "nfs4", "glusterfs")
FILE_DOMAINS = (*MOUNTED_DOMAINS, "posixfs", "localfs")
BLOCK_DOMAINS = ("iscsi", "fc")
_MISSPELT_LIKENESS = 0.8


class ConfigError(Exception):
    """Raised by the loaders; says which file, which key and what to do about it."""

    def __init__(self, file: Path, key: str, problem: str, remedy: str) -> None:
        super().__init__(f"{file}: {key}: {problem}. {remedy}")
        self.file = file
        self.key = key
        self.problem = problem
        self.remedy = remedy


def refuse_unknown(path: Path, written: Iterable[str], known: Iterable[str]) -> None:
    """Raise ConfigError for the first name written that is not known, with the likely one."""
    names = list(known)
    for name in written:
        if name not in names:
            like = difflib.get_close_matches(name, names, 1)
            remedy = f"Did you mean {like[0]}?" if like else f"Known are: {', '.join(names)}."
            raise ConfigError(path, name, "is unknown", remedy)


def refuse_misspelt(path: Path, written: Iterable[str], known: Collection[str]) -> None:
    """Raise ConfigError for a name that looks like a known one misspelt; others may be anything."""
    names = list(written)
    absent = sorted(set(known) - set(names))
    for name in names:
        if name not in known and (like := _like(name, absent)):
            raise ConfigError(path, name, "is unknown", f"Did you mean {like}?")


def _like(name: str, names: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, list(names), 1, _MISSPELT_LIKENESS)
    return found[0] if found else ""


@dataclass(frozen=True, slots=True)
class Paths:
    """Every path that the monitor uses, below a root that tests may set."""

    root: Path = Path("/")

    @property
    def hosted_engine_conf(self) -> Path:
        """What this host knows of the deployment; empty or absent means not deployed."""
        return self.root / "etc/ovirt-hosted-engine/hosted-engine.conf"

    @property
    def answers_conf(self) -> Path:
        """The answers of the deployment that succeeded."""
        return self.root / "etc/ovirt-hosted-engine/answers.conf"

    @property
    def agent_conf(self) -> Path:
        """Scores and timings."""
        return self.root / "etc/ovirt-hosted-engine-ha/agent.conf"

    @property
    def events_conf(self) -> Path:
        """Where Prefect hears of what happens; absent means that it does not."""
        return self.root / "etc/ovirt-hosted-engine-ha/events.conf"

    @property
    def notifications(self) -> Path:
        """The folder of the mail templates."""
        return self.root / "etc/ovirt-hosted-engine-ha/notifications"

    @property
    def state(self) -> Path:
        """The folder of what the monitor keeps."""
        return self.root / "var/lib/ovirt-hosted-engine-ha"

    @property
    def ha_conf(self) -> Path:
        """This host's local maintenance."""
        return self.state / "ha.conf"

    @property
    def broker_conf(self) -> Path:
        """Whom to notify."""
        return self.state / "broker.conf"

    @property
    def events_waiting(self) -> Path:
        """The events that Prefect has not taken yet."""
        return self.state / "events.json"

    @property
    def run(self) -> Path:
        """The folder of what lasts until the next boot."""
        return self.root / "var/run/ovirt-hosted-engine-ha"

    @property
    def vm_conf(self) -> Path:
        """The engine VM's definition as fetched from shared storage."""
        return self.run / "vm.conf"

    @property
    def broker_socket(self) -> Path:
        """Where the broker listens."""
        return self.run / "broker.socket"

    @property
    def anomalies(self) -> Path:
        """What the agent knows to be wrong, over its restarts."""
        return self.run / "anomalies.json"

    @property
    def logs(self) -> Path:
        """The folder of agent.log and broker.log."""
        return self.root / "var/log/ovirt-hosted-engine-ha"

    @property
    def recording(self) -> Path:
        """What the agent saw and decided, to be replayed."""
        return self.logs / "turns.jsonl"

    @property
    def mounts(self) -> Path:
        """The folder below which storage domains are mounted."""
        return self.root / "rhev/data-center/mnt"

    @property
    def prepared_volumes(self) -> Path:
        """The folder of links to the volumes in use, as VDSM makes it."""
        return self.root / "run/vdsm/storage"

    @property
    def devices(self) -> Path:
        """The folder of the devices: a block domain's volumes are <sdUUID>/<volUUID> below it."""
        return self.root / "dev"


@dataclass(frozen=True, slots=True)
class HostedEngineConf:
    """hosted-engine.conf, checked. `values` has every key as written, also unknown ones."""

    host_id: int
    vmid: str
    fqdn: str
    storage: str
    domain_type: str
    sd_uuid: str
    metadata_image_uuid: str
    metadata_volume_uuid: str
    lockspace_image_uuid: str
    lockspace_volume_uuid: str
    conf_image_uuid: str
    conf_volume_uuid: str
    vm_disk_id: str
    vm_disk_vol_id: str
    gateway: str
    bridge: str
    network_test: str
    tcp_t_address: str
    tcp_t_port: int | None
    sp_uuid: str
    connection_uuid: str
    console: str
    mnt_options: str
    configured: bool
    values: Mapping[str, str]

    @property
    def on_block_storage(self) -> bool:
        """Whether the storage domain is made of devices."""
        return self.domain_type in BLOCK_DOMAINS

    @property
    def conf_on_shared_storage(self) -> bool:
        """Whether the configuration has the form used since 3.6, which the score asks for."""
        return bool(self.conf_image_uuid and self.conf_volume_uuid) and self.sp_uuid == BLANK_UUID


@dataclass(frozen=True, slots=True)
class LocalMaintenance:
    """ha.conf: `engine` is the flag that oVirt's engine toggles, `manual` the operator's."""

    engine: bool = False
    manual: bool = False

    @property
    def on(self) -> bool:
        """Whether this host is out of service."""
        return self.engine or self.manual


@dataclass(frozen=True, slots=True)
class AgentConf:
    """agent.conf: must be the same on all hosts."""

    score: ScoreSettings = field(default_factory=ScoreSettings)
    timing: Timing = field(default_factory=Timing)


@dataclass(frozen=True, slots=True)
class BrokerConf:
    """broker.conf: whom to mail and about which events (regular expression by event)."""

    smtp_server: str = "localhost"
    smtp_port: int = 25
    smtp_timeout_seconds: float = 10.0
    source_email: str = "root@localhost"
    destination_emails: tuple[str, ...] = ("root@localhost",)
    notify: Mapping[str, str] = field(
        default_factory=lambda: {"state_transition": "maintenance|start|stop|up|down"}
    )
    smtp_security: str = "none"
    smtp_ca_file: Path | None = None
    smtp_user: str = ""
    smtp_password_file: Path | None = None
    repeat_seconds: float = 600.0
    """What comes again within this time is counted, and mailed when it is over; 0: mail each."""
    metrics_listen: tuple[str, int] | None = None
    """Where metrics are served; None: nowhere."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a daemon is told at its start."""

    paths: Paths
    host: HostedEngineConf
    agent: AgentConf
    broker: BrokerConf
    anomalies: AnomalySettings = field(default_factory=AnomalySettings)
