"""A connection to libvirt that comes back. Beside `ha.env.engine_vm` the only user of its binding.

libvirt is restarted on a living host, for its updates: what was connected is then connected again,
at the next use or within seconds, and lifecycle events come again from there on.
"""

import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import libvirt

from ha.env.ports import VmBusy, VmMissing, VmTrouble, VmUnreachable

KEEPALIVE_SECONDS = 5
KEEPALIVE_COUNT = 3
EVENT_LOOP_PAUSE_SECONDS = 1.0
RETURN_PAUSE_SECONDS = 1.0

log = logging.getLogger(__name__)


class LibvirtLink:
    """One connection, made when it is first asked for.

    `on_event` gets domain, event and detail, `on_close` nothing; both are called from libvirt's
    thread and must not block. `on_return` is called from another one.
    """

    def __init__(
        self,
        uri: str,
        on_event: Callable[[Any, int, int], None],
        on_close: Callable[[], None],
        on_return: Callable[[], None],
    ) -> None:
        self._uri = uri
        self._on_event = on_event
        self._on_close = on_close
        self._on_return = on_return
        self._connecting = threading.Lock()
        self.connection: Any = None

    @contextmanager
    def asking(self, refusal: type[VmTrouble]) -> Iterator[Any]:
        """Give the connection; turn what libvirt refuses into `refusal` or VmUnreachable."""
        connection = self._connected()
        try:
            yield connection
        except libvirt.libvirtError as error:
            if not _is_alive(connection):
                raise VmUnreachable(f"libvirt went away: {error}") from error
            raise refusal(str(error)) from error

    def _connected(self) -> Any:
        with self._connecting:
            if self.connection is None or not _is_alive(self.connection):
                _run_event_loop()
                try:
                    self.connection = self._connect()
                except libvirt.libvirtError as error:
                    self.connection = None
                    raise VmUnreachable(f"libvirt does not answer: {error}") from error
            return self.connection

    def _connect(self) -> Any:
        connection = libvirt.open(self._uri)
        try:
            connection.setKeepAlive(KEEPALIVE_SECONDS, KEEPALIVE_COUNT)
            connection.registerCloseCallback(self._closed, None)
        except libvirt.libvirtError as error:  # libvirt's own test driver has neither
            if error.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:
                raise
        connection.domainEventRegisterAny(
            None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._happened, None
        )
        return connection

    def _happened(self, _: Any, domain: Any, event: int, detail: int, __: Any) -> None:
        self._on_event(domain, event, detail)

    def _closed(self, *_: Any) -> None:
        log.warning("libvirt closed the connection")
        self._on_close()
        threading.Thread(target=self._come_back, name="libvirt-return", daemon=True).start()

    def _come_back(self) -> None:
        while True:
            time.sleep(RETURN_PAUSE_SECONDS)
            try:
                self._connected()
            except VmUnreachable:
                continue
            log.info("libvirt is connected again")
            self._on_return()
            return


def look_up(connection: Any, name: str) -> Any:
    """Return the domain of this name. Raises VmMissing, and libvirtError within `asking`."""
    try:
        return connection.lookupByName(name)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            raise VmMissing(f"Virtual machine {name} does not exist") from error
        raise


def press_power_button(domain: Any) -> None:
    """Ask the domain to shut down. Raises VmBusy, and libvirtError within `asking`."""
    try:
        domain.shutdown()
    except libvirt.libvirtError as error:
        # "cannot acquire state change lock": another request waits for a QEMU that is stuck.
        if error.get_error_code() == libvirt.VIR_ERR_OPERATION_TIMEOUT:
            raise VmBusy(str(error)) from error
        raise


def migrating_out(domain: Any) -> bool:
    """Whether the domain is on its way to another host."""
    try:
        operation = domain.jobStats().get("operation")
    except libvirt.libvirtError:  # not this driver, or "only on the source host": not going out
        return False
    return bool(operation == libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT)


def _is_alive(connection: Any) -> bool:
    try:
        return bool(connection.isAlive())
    except libvirt.libvirtError:
        return False


@functools.cache
def _run_event_loop() -> None:
    """Start libvirt's event loop in a thread, once a process and before the first connection."""
    libvirt.registerErrorHandler(lambda *_: None, None)  # errors are raised; not printed as well
    libvirt.virEventRegisterDefaultImpl()
    threading.Thread(target=_handle_events, name="libvirt-events", daemon=True).start()


def _handle_events() -> None:
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError as error:
            log.warning("libvirt's event loop: %s", error)
            time.sleep(EVENT_LOOP_PAUSE_SECONDS)
