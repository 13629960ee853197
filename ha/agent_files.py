"""The files on a host that the agent reads again and again."""

import logging
import socket
from pathlib import Path
from typing import Protocol

from ha.conf_archive import refresh_vm_conf
from ha.config import ConfigError, Settings
from ha.execute import ConfUnavailable
from ha.local_maintenance import load_local_maintenance
from ha.storage_domain import StorageError
from ha.vm_conf import VmConfError, parse_vm_conf
from ha.vm_domain import kvm_usable, start_xml

log = logging.getLogger(__name__)


class AgentFiles(Protocol):
    """What the agent is told by files."""

    def local_maintenance(self) -> bool:
        """Whether this host is out of service."""

    def refresh(self) -> bool:
        """Fetch the VM's definition from shared storage again; False if that failed."""

    def vm_xml(self) -> str:
        """The VM's definition, ready for this host. Raises ConfUnavailable."""

    def vm_memory_mib(self) -> float:
        """The VM's memory; 0 while its definition has not been fetched yet."""


class HostFiles:
    """The files of this host. `conf_volume` is where the shared configuration is."""

    def __init__(self, settings: Settings, conf_volume: Path) -> None:
        self._paths = settings.paths
        self._conf_volume = conf_volume
        self._maintenance = False

    def local_maintenance(self) -> bool:
        """Read ha.conf; a broken one changes nothing."""
        try:
            self._maintenance = load_local_maintenance(self._paths).on
        except ConfigError as error:
            log.error("%s", error)
        return self._maintenance

    def refresh(self) -> bool:
        """Fetch vm.conf from the shared configuration."""
        try:
            refresh_vm_conf(self._conf_volume, self._paths.vm_conf)
        except StorageError as error:
            log.error("Cannot refresh vm.conf: %s", error)
            return False
        return True

    def vm_xml(self) -> str:
        """Return the XML to start the VM with here. Raises ConfUnavailable."""
        try:
            text = self._paths.vm_conf.read_text(encoding="utf-8")
            return start_xml(text, host_name=socket.gethostname(), kvm=kvm_usable())
        except (OSError, UnicodeDecodeError, VmConfError) as error:
            raise ConfUnavailable(str(error)) from error

    def vm_memory_mib(self) -> float:
        """Return vm.conf's `memSize`."""
        try:
            conf = parse_vm_conf(self._paths.vm_conf.read_text(encoding="utf-8"))
            return float(str(conf.values.get("memSize", 0)))
        except (OSError, ValueError, VmConfError):
            return 0.0
