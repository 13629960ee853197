"""A simulated host: power, clocks, sanlock, libvirt, its daemons, and what can be wrong with it."""

from math import inf

from ha.broker import BrokerService
from ha.config import LocalMaintenance, Paths
from ha.core.anomalies import Watch
from ha.core.sighting import StopReason
from ha.local_maintenance import load_local_maintenance, save_local_maintenance
from ha.simulator.deployed import forget_boot
from ha.simulator.engine import Libvirt, Parts
from ha.simulator.leases import WATCHDOG_SECONDS
from ha.simulator.processes import Boot, Process
from ha.simulator.sanlock import Sanlock
from ha.simulator.serve import serve_agent, serve_broker
from ha.simulator.site import VM_SPACE, WHITEBOARD_SPACE, Site
from ha.simulator.storage import StoragePath
from ha.simulator.time_sim import HostTime
from ha.simulator.unit import AGENT, BROKER, Unit
from ha.version import version

SHUT_DOWN_SECONDS = 120.0
"""What systemd waits for the VM and the services, roughly."""

JITTER_SECONDS = 3.0
"""Hosts do not start their services in the same moment."""


class SimHost:
    """One host; what is kept over a reboot is made here, the rest in `_boot`."""

    def __init__(self, site: Site, host_id: int) -> None:
        self.site = site
        self.name = f"host{host_id}"
        self.host_id = host_id
        self.path = StoragePath(site.schedule, site.storage, self.name, site.random)
        self.agent = Unit(
            site.schedule, AGENT, self.name, lambda run: serve_agent(self, run), self._unit_told
        )
        self.broker = Unit(
            site.schedule, BROKER, self.name, lambda run: serve_broker(self, run), self._unit_told
        )
        self.service: BrokerService | None = None
        self.paths: Paths | None = None
        self.commands: list[Process] = []
        self.version = version()
        self.local_maintenance = False
        self.maintenance_since = 0.0
        self.thawed_at = -inf
        self.bridge = True
        self.network_share = 1.0
        self.refused = False
        self.uplink = True
        self.memory_free_mib = 16384.0
        self.cpu_load = 0.1
        self.disk_full = False
        self.hangs = False
        self.on = False
        self._begin(uptime_seconds=1000.0 + 777.0 * host_id)

    def _begin(self, uptime_seconds: float) -> None:
        """Begin a life of the host with its services."""
        site = self.site
        self.boot = Boot()
        self.time = HostTime(site.schedule, uptime_seconds)
        self.conf_fetched = False
        if self.paths is not None:
            forget_boot(self.paths)
        self.watch: tuple[float, Watch] | None = None
        self.hangs = False
        self.goes_down = False
        self.sanlock = Sanlock(
            site.schedule,
            self.name,
            self.path,
            boot=self.boot,
            time=self.time,
            io_seconds=site.plan.io_timeout_seconds,
        )
        self.libvirt = Libvirt(
            Parts(
                schedule=site.schedule,
                boot=self.boot,
                sanlock=self.sanlock,
                path=self.path,
                engine=site.engine,
                told=self._vm_told,
                act=self._vm_asked,
            )
        )
        self.on = True
        seconds = site.random.uniform(0.0, JITTER_SECONDS)
        if site.plan.first and site.schedule.now == 0:
            seconds = 0.0 if site.plan.first == self.name else JITTER_SECONDS + seconds
        site.schedule.after(seconds, self._start, self.boot)

    def _start(self) -> None:
        self.broker.boot(self.boot)
        self.agent.boot(self.boot)

    @property
    def process(self) -> Process | None:
        """The broker's process."""
        return self.broker.run.process if self.broker.run else None

    @property
    def serves(self) -> bool:
        """Whether the engine's users can reach a healthy engine here."""
        vm = self.libvirt.vm
        well = vm is not None and vm.healthy and not vm.sick and not self.site.engine.broken
        return well and self.executes_vm and self.uplink

    @property
    def executes_vm(self) -> bool:
        """Whether an engine VM executes here now."""
        return self.on and not self.boot.frozen and self.libvirt.running

    def holds_whiteboard_lease(self, host_id: int) -> bool:
        """Whether it holds the lease on a host id in the whiteboard's lockspace."""
        return self._holds(WHITEBOARD_SPACE, host_id)

    @property
    def can_hold_vm(self) -> bool:
        """Whether it could take the engine VM's lease."""
        return self._holds(VM_SPACE, self.host_id) and self.path.works

    def set_local_maintenance(self, on: bool) -> None:
        """Write ha.conf."""
        self.local_maintenance, self.maintenance_since = on, self.site.schedule.now
        if self.paths is not None and load_local_maintenance(self.paths).on is not on:
            save_local_maintenance(self.paths, LocalMaintenance(engine=on, manual=on))

    def read_local_maintenance(self) -> bool:
        """Read ha.conf, which others may have written, too."""
        if self.paths is not None:
            on = load_local_maintenance(self.paths).on
            if on is not self.local_maintenance:
                self.set_local_maintenance(on)
        return self.local_maintenance

    def power_off(self) -> None:
        """Cut the power."""
        self.site.say(self.name, "host", "no power")
        self._end()

    def power_on(self) -> None:
        """Switch it on, if it is off; it boots."""
        if self.boot.over:
            self._power_up()

    def reset(self, why: str) -> None:
        """Cut the power and switch it on again."""
        self.site.say(self.name, "host", why)
        self._end()
        self._power_up()

    def shut_down(self) -> None:
        """Stop the services and the VM in order, and switch it off."""
        self.goes_down = True
        self.agent.stop()  # systemd stops the broker after it, as it was started before it
        if self.libvirt.vm is not None:
            self.libvirt.press_power_button()
        self._switch_off_when_down(self.site.schedule.now + SHUT_DOWN_SECONDS)

    def freeze(self) -> None:
        """Stop everything on it, but not its watchdog."""
        boot = self.boot
        boot.frozen = not boot.over
        self.site.schedule.after(WATCHDOG_SECONDS, lambda: self._bite(boot))

    def thaw(self) -> None:
        """Let it go on."""
        self.thawed_at = self.site.schedule.now
        self.site.schedule.thaw(self.boot)
        self._vm_changed()

    def _bite(self, boot: Boot) -> None:
        watched = self.site.plan.watchdog and bool(self.sanlock.spaces)
        if boot is self.boot and boot.frozen and watched:
            self.reset("the watchdog resets it")

    def _switch_off_when_down(self, latest: float) -> None:
        schedule, busy = self.site.schedule, self.agent.run or self.broker.run or self.libvirt.vm
        if self.agent.run is None and self.broker.wanted:
            self.broker.stop()
        if busy and schedule.now < latest:
            schedule.after(1.0, lambda: self._switch_off_when_down(latest), self.boot)
        else:
            self.power_off()

    def _power_up(self) -> None:
        self.boot = boot = Boot()
        self.site.say(self.name, "host", "boots")
        self.site.schedule.after(self.site.plan.boot_seconds, self._booted, boot)

    def _booted(self) -> None:
        self.site.say(self.name, "host", "is up")
        self._begin(uptime_seconds=self.site.plan.boot_seconds)

    def _end(self) -> None:
        schedule, vm = self.site.schedule, self.libvirt.vm
        self.on = False
        schedule.thaw(self.boot)
        self.boot.over = True
        for unit in (self.agent, self.broker):
            unit.kill()
        for process in self.commands:
            schedule.kill(process)
        self.commands.clear()
        self.service = None
        self.path.cut_power()
        if vm is not None:
            self.libvirt.vm = None
            self._vm_told(f"stopped: {StopReason.FAILED.value}")

    def _holds(self, space_name: str, host_id: int) -> bool:
        space = self.sanlock.spaces.get(space_name)
        return space is not None and space.host_id == host_id and space.held is True

    def _vm_told(self, text: str) -> None:
        self.site.say(self.name, "vm", text)
        self._vm_changed()

    def _vm_changed(self) -> None:
        for told in self.site.on_vm:
            told()

    def _vm_asked(self, process: Process, action: str) -> None:
        for told in self.site.on_act:
            told(process, action)

    def _unit_told(self, text: str) -> None:
        self.site.say(self.name, "host", text)
