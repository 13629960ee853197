"""A cluster of fake hosts over one real file: the runbooks' own scripts run on it with real dd.

Paths below /rhev lead to a shared folder, other absolute paths to a folder of the host's own.
`hosted-engine`, `systemctl`, `virsh` and `df` are small scripts on each host's PATH. Agents
publish when the clock's virtual time passes; nothing here waits.
"""

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ha.core.record import BLOCK_BYTES, Record, encode_global, encode_record
from tasks.env import HostUnreachable, Ran, ShellError, World, use_world
from tasks.inventory import Inventory
from tasks.journal import Journal

SD, IMAGE, VOLUME = "5d0b1a2c-sd", "6e1c2b3d-image", "7f2d3c4e-volume"
SIZE_BYTES = 10 * 1024 * 1024
LOOP_SECONDS = 10
DOMAIN = f"/rhev/data-center/mnt/srv:_export_he/{SD}"
TARGET = f"{DOMAIN}/images/{IMAGE}/{VOLUME}"
LINK = f"{DOMAIN}/ha_agent/hosted-engine.metadata"
OWN = ("/etc/ovirt-hosted-engine", "/var/lib/", "/run/")
UP = '{"vm": "up", "health": "good", "detail": "Up"}'
DOWN = '{"vm": "down", "health": "bad", "detail": "unknown"}'
TOO_NEW = b"2|2|1|52|0|x|h".ljust(BLOCK_BYTES, b"\0")
GARBAGE = b"\xff\xfe recycled \x80".ljust(BLOCK_BYTES, b"\x81")

HEAD = '#!/bin/sh\nstate=${0%/bin/*}/state; echo "${0##*/} $*" >>"$state/calls"\n'
HOSTED_ENGINE = """
put() { dd of="$state/whiteboard" bs=4096 conv=notrunc,sync 2>/dev/null; }
case $1 in
  --check-deployed) exit "$(cat "$state/undeployed" 2>/dev/null || echo 0)" ;;
  --version) cat "$state/version" ;;
  --check-liveliness) grep -q up "$state/engine" || { echo "Hosted Engine is not up!"; exit 1; } ;;
  --set-maintenance)
    [ "$(cat "$state/ovirt-ha-agent")" = active ] || { echo "Cannot connect"; exit 1; }
    lost=$(cat "$state/lost" 2>/dev/null || echo 0)
    # A lost write ends with 0, as upstream's does.
    if [ "$lost" -gt 0 ]; then echo $((lost - 1)) >"$state/lost"; exit 0; fi
    case $2 in
      --mode=global) printf 'maintenance=1' | put ;;
      --mode=none) printf 'maintenance=0' | put ;;
    esac ;;
esac
"""
SYSTEMCTL = """
verb=$1; shift
for unit in "$@"; do
  case $verb in
    is-active) cat "$state/$unit"; grep -qx active "$state/$unit" ;;
    start) echo active >"$state/$unit" ;;
    stop)
      [ -f "$state/unstoppable" ] && exit 0
      if [ "$unit" = ovirt-ha-agent ] && grep -qx active "$state/$unit"; then
        dd if="$state/stopped" of="$state/whiteboard" bs=4096 seek="$(cat "$state/id")" \
          conv=notrunc 2>/dev/null
      fi
      echo inactive >"$state/$unit" ;;
  esac
done
"""
VIRSH = '[ -f "$state/vm" ] && echo running\n'
DF = '[ -f "$state/df" ] && exec cat "$state/df"; exec /bin/df "$@"\n'


@dataclass
class FakeHost:
    """One host: its own folder, its shell, its agent."""

    name: str
    host_id: int
    root: Path
    shared: Path
    trouble: ShellError | None = None
    timestamp: int = 1000
    turns: int = 0
    state_override: str | None = None

    @property
    def host(self) -> str:
        return self.name

    def set(self, key: str, value: str) -> None:
        (self.root / "state" / key).write_text(value + "\n")

    def get(self, key: str) -> str:
        path = self.root / "state" / key
        return path.read_text().strip() if path.exists() else ""

    def calls(self, start: str = "") -> list[str]:
        return [line for line in self.get("calls").splitlines() if line.startswith(start)]

    def here(self, path: str) -> str:
        """Return where a path of the host really is."""
        if path.startswith("/rhev"):
            return f"{self.shared}{path}"
        return f"{self.root}{path}" if path.startswith(OWN) else path

    def run(
        self, argv: Sequence[str], *, stdin: bytes | None = None, timeout_seconds: float = 30.0
    ) -> Ran:
        if self.trouble is not None:
            raise self.trouble
        path = f"{self.root}/bin:/usr/sbin:/usr/bin:/bin"
        try:
            done = subprocess.run(
                [self.here(word) for word in argv],
                input=stdin or b"",
                capture_output=True,
                timeout=timeout_seconds,
                check=False,
                env={**os.environ, "PATH": path},
            )
        except FileNotFoundError:
            return Ran(self.name, tuple(argv), 127, "", "not found")
        out, err = (
            text.decode(errors="replace")
            .replace(f"{self.shared}/rhev", "/rhev")
            .replace(str(self.root), "")
            for text in (done.stdout, done.stderr)
        )
        return Ran(self.name, tuple(argv), done.returncode, out, err)


@dataclass
class FakeClock:
    """Virtual time; `passed` is told of each second that a sleep skips over."""

    passed: Callable[[float, float], None]
    seconds: float = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime(2026, 11, 22, 12, 0, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def sleep(self, seconds: float) -> None:
        before, self.seconds = self.seconds, self.seconds + seconds
        self.passed(before, self.seconds)


@dataclass
class FakeCluster:
    """Hosts that share one whiteboard, in a world of their own."""

    folder: Path
    hosts: dict[str, FakeHost]
    world: World
    engine_host: str
    answers: list[Mapping[str, Any]] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    strangers: dict[int, int] = field(default_factory=dict)
    at_gate: Callable[[], None] = lambda: None

    @property
    def file(self) -> Path:
        return self.folder / "shared" / TARGET.lstrip("/")

    def block(self, host_id: int) -> bytes:
        data = self.file.read_bytes()
        return data[host_id * BLOCK_BYTES : (host_id + 1) * BLOCK_BYTES]

    def put(self, host_id: int, block: bytes) -> None:
        with self.file.open("r+b") as out:
            out.seek(host_id * BLOCK_BYTES)
            out.write(block)

    def publish(self) -> None:
        """Let every running agent write its block once."""
        maintenance = self.block(0).startswith(b"maintenance=1")
        for host in self.hosts.values():
            running = host.get("ovirt-ha-agent") == host.get("ovirt-ha-broker") == "active"
            if not running:
                host.turns = 0
                continue
            host.timestamp += LOOP_SECONDS
            host.turns += 1
            self.put(host.host_id, encode_record(self._record(host, maintenance)))
        for host_id in self.strangers:
            self.strangers[host_id] += LOOP_SECONDS
            record = Record(host_id, self.strangers[host_id], 0, DOWN, f"stranger{host_id}")
            self.put(host_id, encode_record(record))

    def passed(self, before: float, after: float) -> None:
        for _ in range(int(after // LOOP_SECONDS) - int(before // LOOP_SECONDS)):
            self.publish()

    def ask(self, gate: str, shown: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append((gate, shown["evidence"]))
        self.at_gate()
        return self.answers.pop(0)

    def _record(self, host: FakeHost, maintenance: bool) -> Record:
        engine = host.name == self.engine_host
        state = "EngineUp" if engine else "EngineDown"
        if host.turns == 1:
            state = "ReinitializeFSM"
        elif maintenance:
            state = "GlobalMaintenance"
        state = host.state_override or state
        return Record(
            host.host_id,
            host.timestamp,
            3400,
            UP if engine else DOWN,
            host.name,
            maintenance=False,
            stopped=False,
            conf_on_shared_storage=True,
            local_conf_timestamp=0,
            extra=f"state={state}\nstopped=False\n",
        )


APPROVED = {"decision": "approve", "approver": "ann", "reason": "ticket 7", "target": "lab"}
REJECTED = {"decision": "reject", "approver": "bob", "reason": "not tonight", "target": "lab"}


@contextmanager
def fake_cluster(
    tmp_path: Path, ids: Sequence[int] = (1, 2, 3), bad: Mapping[int, bytes] | None = None
) -> Iterator[FakeCluster]:
    """Put a cluster in force: all services run, the engine VM on the first host."""
    shared = tmp_path / "shared"
    _make_domain(shared)
    hosts = {f"h{n}": _make_host(tmp_path, n) for n in ids}
    tables = "\n".join(
        f'[[clusters.lab.hosts]]\nname = "{h.name}"\naddress = "192.0.2.{h.host_id}"\n'
        f"host_id = {h.host_id}"
        for h in hosts.values()
    )
    text = f'[clusters.lab.ssh]\nkey_file = "/k"\nknown_hosts = "/h"\n{tables}\n'
    world = World(
        shells=lambda cluster, name: hosts[name],
        journal=Journal(f"sqlite:///{tmp_path / 'journal.db'}"),
        inventory=Inventory.parse(text, "inventory.toml"),
        clock=FakeClock(lambda before, after: None),
    )
    cluster = FakeCluster(tmp_path, hosts, world, next(iter(hosts)))
    cluster.world = replace(world, clock=FakeClock(cluster.passed), ask=cluster.ask)
    hosts[cluster.engine_host].set("vm", "running")
    cluster.put(0, encode_global(False))
    for _ in range(2):
        cluster.publish()
    for host_id, block in (bad if bad is not None else {52: TOO_NEW}).items():
        cluster.put(host_id, block)
    with use_world(cluster.world):
        yield cluster


def unreachable(name: str) -> HostUnreachable:
    return HostUnreachable(f"{name} (192.0.2.9, port 22): no SSH connection; see that it is up")


def _make_domain(shared: Path) -> None:
    domain = shared / DOMAIN.lstrip("/")
    image = domain / "images" / IMAGE
    image.mkdir(parents=True)
    with (image / VOLUME).open("wb") as out:
        out.truncate(SIZE_BYTES)
        out.seek(SIZE_BYTES - 8)
        out.write(b"tail end")
    prepared = shared / "run/vdsm/storage" / SD / IMAGE
    prepared.mkdir(parents=True)
    (prepared / VOLUME).symlink_to(image / VOLUME)
    (domain / "ha_agent").mkdir()
    (domain / "ha_agent" / "hosted-engine.metadata").symlink_to(prepared / VOLUME)


def _make_host(folder: Path, host_id: int) -> FakeHost:
    host = FakeHost(f"h{host_id}", host_id, folder / f"h{host_id}", folder / "shared")
    for below in ("bin", "state", "etc/ovirt-hosted-engine", "var/lib/ovirt-hosted-engine-ha"):
        (host.root / below).mkdir(parents=True)
    for name, script in (
        ("hosted-engine", HOSTED_ENGINE),
        ("systemctl", SYSTEMCTL),
        ("virsh", VIRSH),
        ("df", DF),
    ):
        (host.root / "bin" / name).write_text(HEAD + script)
        (host.root / "bin" / name).chmod(0o755)
    (host.root / "etc/ovirt-hosted-engine/hosted-engine.conf").write_text(
        f"vmid=vm\nhost_id={host_id}\ndomainType=nfs\nsdUUID={SD}\npassword=secret\n"
        f"metadata_image_UUID={IMAGE}\nmetadata_volume_UUID={VOLUME}\n"
    )
    (host.root / "state/whiteboard").symlink_to(host.here(TARGET))
    stopped = Record(
        host_id, 1, 0, DOWN, host.name, stopped=True, extra="state=AgentStopped\nstopped=True\n"
    )
    (host.root / "state/stopped").write_bytes(encode_record(stopped))
    for key, value in {
        "id": str(host_id),
        "version": "2.5.2",
        "engine": "up",
        "calls": "",
        "ovirt-ha-agent": "active",
        "ovirt-ha-broker": "active",
    }.items():
        host.set(key, value)
    return host
