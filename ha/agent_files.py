"""The files on a host that the agent reads again and again."""

import logging
import re
import socket
from pathlib import Path
from typing import Protocol

from ha.conf_archive import read_archive, refresh_file
from ha.config import ConfigError, Settings
from ha.config_broker import broker_conf_of
from ha.env.time_ports import Clock, Threads
from ha.errand import Errand, Unfinished
from ha.execute import ConfUnavailable
from ha.local_maintenance import load_local_maintenance
from ha.storage_domain import StorageError
from ha.vm_conf import VmConfError, parse_vm_conf
from ha.vm_domain import kvm_usable, start_xml

REFRESH_SECONDS = 5.0
_MIB = re.compile("[0-9]{1,9}")

log = logging.getLogger(__name__)


class AgentFiles(Protocol):
    """What the agent is told by files."""

    def local_maintenance(self) -> bool:
        """Whether this host is out of service."""

    def refresh(self) -> None:
        """Fetch the VM's definition from shared storage again. Raises ConfUnavailable."""

    def vm_xml(self) -> str:
        """The VM's definition, to start it here now. Raises ConfUnavailable, as in maintenance."""

    def vm_memory_mib(self) -> float:
        """The VM's memory; 0 while its definition has not been fetched yet."""


class HostFiles:
    """The files of this host. `conf_volume` is where the shared configuration is.

    That volume is the one thing on shared storage that the agent reads itself. Storage that hangs
    holds a read in the kernel for minutes, so it is waited for `limit_seconds` at most.
    """

    def __init__(
        self,
        settings: Settings,
        conf_volume: Path,
        *,
        clock: Clock,
        threads: Threads,
        limit_seconds: float = REFRESH_SECONDS,
    ) -> None:
        self._paths = settings.paths
        self._maintenance: bool | None = None  # not known yet
        self._conf_volume = conf_volume
        self._complaint = ""
        self._refreshing = Errand(
            "refresh-vm-conf",
            self._fetch,
            StorageError,
            limit_seconds,
            clock=clock,
            threads=threads,
        )

    def local_maintenance(self) -> bool:
        """Read ha.conf; a broken one changes nothing, and at first it is maintenance.

        Whoever wrote it may have meant to take this host out of service, and a host that is out by
        mistake starts no VM.
        """
        try:
            self._maintenance = load_local_maintenance(self._paths).on
        except (ConfigError, OSError) as error:
            if self._maintenance is None:
                effect = "This host counts as in local maintenance until ha.conf can be read"
            else:
                effect = f"Local maintenance stays {'on' if self._maintenance else 'off'}"
            log.error("%s. %s", error, effect)
        return self._maintenance is not False

    def refresh(self) -> None:
        """Fetch vm.conf and broker.conf from the shared configuration. Raises ConfUnavailable."""
        try:
            self._refreshing.ask()
        except (StorageError, Unfinished) as error:
            raise ConfUnavailable(str(error)) from error

    def _fetch(self) -> None:
        files = read_archive(self._conf_volume)
        refresh_file(self._paths.vm_conf, files["vm.conf"], mode=0o640)
        complaint = ""
        try:
            broker_conf_of(Path("broker.conf"), files["broker.conf"])
            refresh_file(self._paths.broker_conf, files["broker.conf"], mode=0o644)
        except ConfigError as error:
            # This host's own copy goes on being used.
            complaint = f"The shared configuration: {error}"
        if complaint and complaint != self._complaint:
            log.error("%s", complaint)
        self._complaint = complaint

    def vm_xml(self) -> str:
        """Return the XML to start the VM with here now. Raises ConfUnavailable.

        The turn that starts it may be older than a flag that was written since.
        """
        if self.local_maintenance():
            raise ConfUnavailable("this host is in local maintenance")
        try:
            text = self._paths.vm_conf.read_text(encoding="utf-8")
            return start_xml(text, host_name=socket.gethostname(), kvm=kvm_usable())
        except (OSError, UnicodeDecodeError, VmConfError) as error:
            raise ConfUnavailable(str(error)) from error

    def vm_memory_mib(self) -> float:
        """Return vm.conf's `memSize`."""
        try:
            conf = parse_vm_conf(self._paths.vm_conf.read_text(encoding="utf-8"))
        except (OSError, ValueError, VmConfError):
            return 0.0
        text = str(conf.values.get("memSize", ""))
        return float(text) if _MIB.fullmatch(text) else 0.0
