"""What the verbs of the command need of the host they run on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ha.config import HostedEngineConf, Paths
from ha.config_files import read_hosted_engine_conf, read_key_values
from ha.env.console_port import Console
from ha.env.ports import Broker, EngineVm, Whiteboard
from ha.env.time_ports import Clock, Threads
from ha.services import Services
from ha.storage_domain import StorageDomain, storage_domain_of

if TYPE_CHECKING:
    from ha.deploy_storage import Sanlock

FAILURE = 1


class Refused(Exception):
    """Raised by a verb that did not do what it was asked; `code` is the exit code.

    `answered`: standard output has what there is to say, so that no error is added in JSON.
    """

    def __init__(self, message: str, code: int = FAILURE, *, answered: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.answered = answered


@dataclass(frozen=True, slots=True)
class Terminal:
    """Whoever asks: the environment, and a terminal if there is one (`ask` is None if not)."""

    environment: Mapping[str, str]
    ask: Callable[[str], str] | None


@dataclass(frozen=True, slots=True)
class Host:
    """The host, as ports; `say` prints a line, `complain` prints one on standard error."""

    paths: Paths
    name: str
    broker: Broker
    engine_vm: EngineVm
    vm_exists: Callable[[str], bool]
    console: Console
    terminal: Terminal
    services: Services
    sanlock: "Sanlock"
    clock: Clock
    threads: Threads
    whiteboard: Callable[[Path], Whiteboard]
    mount: Callable[..., None]
    unmount: Callable[[Path], bool]
    health_page_ok: Callable[[str], bool]
    address_of: Callable[[str], str]
    new_uuid: Callable[[], str]
    stamp: Callable[[], str]
    kvm: Callable[[], bool]
    say: Callable[[str], None]
    complain: Callable[[str], None]

    def is_deployed(self) -> bool:
        """Whether hosted-engine.conf names an engine VM, as upstream judges. Raises ConfigError."""
        file = self.paths.hosted_engine_conf
        return file.exists() and bool(read_key_values(file).get("vmid"))

    def conf(self) -> HostedEngineConf:
        """Read hosted-engine.conf. Raises ConfigError."""
        return read_hosted_engine_conf(self.paths.hosted_engine_conf)

    def domain(self) -> StorageDomain:
        """Return the places of the storage domain. Raises ConfigError, StorageError."""
        return storage_domain_of(self.conf().values, self.paths.root)
