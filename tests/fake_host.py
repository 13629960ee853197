"""One fake host over a shared file; `hosted-engine` and the like are scripts on its PATH.

Paths below /rhev lead to a shared folder, other absolute paths to a folder of the host's own.
"""

import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ha.core.record import Record, encode_record
from tasks.env import Ran, ShellError

SD, IMAGE, VOLUME = "5d0b1a2c-sd", "6e1c2b3d-image", "7f2d3c4e-volume"
# Small, as every read takes all of it; LARGE goes beyond the last host id, as the real one does.
SIZE_BYTES = 1024 * 1024
LARGE_BYTES = 10 * 1024 * 1024
DOMAIN = f"/rhev/data-center/mnt/srv:_export_he/{SD}"
TARGET = f"{DOMAIN}/images/{IMAGE}/{VOLUME}"
LINK = f"{DOMAIN}/ha_agent/hosted-engine.metadata"
OWN = ("/etc/ovirt-hosted-engine", "/var/lib/", "/var/run/", "/var/tmp/", "/run/")
UP = '{"vm": "up", "health": "good", "detail": "Up"}'
DOWN = '{"vm": "down", "health": "bad", "detail": "unknown"}'

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
# Between two looks the scripts of the remote steps need not wait long here.
SLEEP = 'case $1 in 0.*) exec /bin/sleep 0.05 ;; esac; exec /bin/sleep "$@"\n'
DEAD = '[ ! -f "$state/dead-libvirt" ] || { echo "error: failed to connect" >&2; exit 1; }\n'
VIRSH = f"""{DEAD}
case " $* " in
  *" list "*) if [ -f "$state/vm" ]; then echo HostedEngine; fi ;;
  *) [ -f "$state/vm" ] && echo running ;;
esac
"""
# This machine's own processes are no fake host's.
PGREP = '[ -f "$state/qemu" ]\n'
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
    score: int = 3400
    joined: bool = True  # holds its host id: without it nothing is published
    before: Callable[[Sequence[str]], None] = lambda argv: None

    @property
    def host(self) -> str:
        return self.name

    def set(self, key: str, value: str) -> None:
        (self.root / "state" / key).write_text(value + "\n")

    def get(self, key: str) -> str:
        path = self.root / "state" / key
        return path.read_text().strip() if path.exists() else ""

    @property
    def in_local_maintenance(self) -> bool:
        conf = self.root / "var/lib/ovirt-hosted-engine-ha/ha.conf"
        return conf.exists() and "=True" in conf.read_text()

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
        self.before(argv)
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


def make_domain(shared: Path, size_bytes: int) -> None:
    domain = shared / DOMAIN.lstrip("/")
    image = domain / "images" / IMAGE
    image.mkdir(parents=True)
    with (image / VOLUME).open("wb") as out:
        out.truncate(size_bytes)
        out.seek(size_bytes - 8)
        out.write(b"tail end")
    prepared = shared / "run/vdsm/storage" / SD / IMAGE
    prepared.mkdir(parents=True)
    (prepared / VOLUME).symlink_to(image / VOLUME)
    (domain / "ha_agent").mkdir()
    (domain / "ha_agent" / "hosted-engine.metadata").symlink_to(prepared / VOLUME)


def make_host(folder: Path, host_id: int) -> FakeHost:
    host = FakeHost(f"h{host_id}", host_id, folder / f"h{host_id}", folder / "shared")
    for below in ("bin", "state", "etc/ovirt-hosted-engine", "var/lib/ovirt-hosted-engine-ha"):
        (host.root / below).mkdir(parents=True)
    for name, script in (
        ("hosted-engine", HOSTED_ENGINE),
        ("systemctl", SYSTEMCTL),
        ("virsh", VIRSH),
        ("pgrep", PGREP),
        ("df", DF),
        ("sleep", SLEEP),
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
