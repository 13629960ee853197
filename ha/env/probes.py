"""Looks at this host and at the engine's health page. The network's probes are beside it."""

import fcntl
import logging
import re
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ha.core.timing import HEALTH_PAGE_SECONDS
from ha.env.network_probes import Probe, share_of_successes

HEALTH_PAGE_BYTES = 4096
CPU_WINDOW_SECONDS = 60.0
_KIB_IN_MIB = 1024
# proc_pid_stat(5), counted behind the command's closing parenthesis.
_UTIME, _STIME = 11, 12
# proc_stat(5): user nice system idle iowait irq softirq steal; guest time is within user.
_CPU_FIELDS, _IDLE, _IOWAIT = 8, 3, 4
# netdevice(7) and linux/sockios.h.
_SIOCGIFADDR = 0x8915
_SIOCGIFFLAGS, _IFF_UP, _IFF_RUNNING, _NAME_BYTES = 0x8913, 0x1, 0x40, 15

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _CpuSample:
    at: float
    total: int
    idle: int
    vm_pid: int | None
    vm: int


class HostProbes:
    """The probes of a real host; `proc` and `vm_pid_file` may be set by tests."""

    def __init__(
        self,
        network_probe: Probe,
        bridge: str,
        engine_fqdn: str,
        *,
        monotonic: Callable[[], float],
        pause: Callable[[float], None],
        proc: Path = Path("/proc"),
        vm_pid_file: Path = Path("/run/libvirt/qemu/HostedEngine.pid"),
    ) -> None:
        self._network_probe = network_probe
        self._bridge = bridge
        self._engine_fqdn = engine_fqdn
        self._monotonic = monotonic
        self._pause = pause
        self._proc = proc
        self._vm_pid_file = vm_pid_file
        self._cpu: deque[_CpuSample] = deque()

    def network(self) -> float:
        """Share of successful probes among five, half a second apart."""
        return share_of_successes(self._network_probe, self._pause)

    def bridge_up(self) -> bool:
        """Whether the management bridge exists and has a carrier."""
        return interface_is_up(self._bridge)

    def memory_free_mib(self) -> float | None:
        """MemAvailable, in MiB."""
        try:
            text = (self._proc / "meminfo").read_text()
        except OSError:
            return None
        found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
        return int(found[1]) / _KIB_IN_MIB if found else None

    def cpu_load_without_engine(self) -> float | None:
        """Share of the processors in use by others than the engine VM, over the last minute.

        None at the first look; until a minute has passed, the time since the first look counts.
        """
        now = self._cpu_sample()
        if now is None:
            return None
        self._cpu.append(now)
        # The base is the newest sample that is old enough, or the oldest there is.
        while len(self._cpu) > 1 and now.at - self._cpu[1].at >= CPU_WINDOW_SECONDS:
            self._cpu.popleft()
        return _load_between(self._cpu[0], now)

    def health_page_ok(self) -> bool:
        """Whether the engine's health page says "DB Up" in its first line; takes up to 20 s."""
        return health_page_ok(self._engine_fqdn)

    def _cpu_sample(self) -> _CpuSample | None:
        try:
            line = (self._proc / "stat").read_text().splitlines()[0]
        except (OSError, IndexError):
            return None
        ticks = [int(field) for field in line.split()[1:][:_CPU_FIELDS]]
        idle = ticks[_IDLE] + ticks[_IOWAIT]
        return _CpuSample(self._monotonic(), sum(ticks), idle, *self._vm_ticks())

    def _vm_ticks(self) -> tuple[int | None, int]:
        """The emulator's process and its ticks so far; it needs no answer from libvirt."""
        try:
            pid = int(self._vm_pid_file.read_text())
            fields = (self._proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
            return pid, int(fields[_UTIME]) + int(fields[_STIME])
        except (OSError, ValueError, IndexError):
            return None, 0


def _load_between(old: _CpuSample, new: _CpuSample) -> float | None:
    total = new.total - old.total
    if total <= 0:
        return None
    busy = total - (new.idle - old.idle)
    engine = new.vm - (old.vm if old.vm_pid == new.vm_pid else 0)
    return round(min(1.0, max(0.0, (busy - engine) / total)), 4)


def interface_is_up(name: str) -> bool:
    """Whether a network interface is there, switched on, and has a carrier (netdevice(7)).

    Asked of the kernel rather than of /sys, which in a container may show another's network.
    """
    request = struct.pack("16sH14x", name.encode()[:_NAME_BYTES], 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            answer = fcntl.ioctl(asking, _SIOCGIFFLAGS, request)
        except OSError:
            return False
    (flags,) = struct.unpack_from("H", answer, 16)
    return bool(flags & _IFF_UP and flags & _IFF_RUNNING)


def address_of(name: str) -> str:
    """Return the IPv4 address of an interface, empty when it has none or there is none."""
    request = struct.pack("256s", name.encode()[:_NAME_BYTES])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            answer = fcntl.ioctl(asking, _SIOCGIFADDR, request)
        except OSError:
            return ""
    return socket.inet_ntoa(answer[20:24])


def health_page_ok(fqdn: str, *, port: int = 80) -> bool:
    """Whether the engine at this name says that it and its database are up; takes up to 20 s."""
    # Only the host that runs the engine asks: the agent and the other brokers need not carry these.
    import http.client  # noqa: PLC0415
    import urllib.request  # noqa: PLC0415

    deadline = time.monotonic() + HEALTH_PAGE_SECONDS
    url = f"http://{fqdn}:{port}/ovirt-engine/services/health"
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    body = b""
    try:
        with direct.open(url, timeout=HEALTH_PAGE_SECONDS) as answer:
            while len(body) < HEALTH_PAGE_BYTES and time.monotonic() < deadline:
                part = answer.read1(HEALTH_PAGE_BYTES)
                if not part:
                    break
                body += part
    except (OSError, http.client.HTTPException) as trouble:
        log.info("The engine's health page: %s", trouble)
        return False
    return re.match(rb".*DB Up.*", body) is not None
