"""The lockspaces of a fake cluster: their bytes, a fake sanlock on each host, and who joins.

Hosts whose services run take their slot whenever it is sound, and publish only while they hold it.
"""

import os
import struct
from collections.abc import Callable
from pathlib import Path

from tasks.lockspace_area import (
    ALIGN_1M,
    ALIGN_BYTES,
    CHECKED_BYTES,
    LEADER,
    MAGIC,
    MAX_HOSTS,
    SOUND,
    Slot,
    crc32c,
    judge_area,
)
from tests.fake_cluster import FakeCluster
from tests.fake_host import DOMAIN, SD, FakeHost

NAME = "hosted-engine"
IMAGE, VOLUME = "8a3e4f5a-image", "9b4f5a6b-volume"
PATH = f"{DOMAIN}/images/{IMAGE}/{VOLUME}"
IDS = f"{DOMAIN}/dom_md/ids"
SIZE_BYTES = 2 * ALIGN_BYTES
TAIL = b"after the first MiB"

# As the other fakes' first lines, but for the folder: the same call reads the same in any test.
CALLED = r"""#!/bin/sh
root=${0%/bin/*}; state=$root/state
echo "${0##*/} $*" | sed "s|${root%/*}/shared||g" >>"$state/calls"
"""
SANLOCK = r"""
listed() { [ -f "$state/joined" ] && { grep -qx active "$state/ovirt-ha-agent" ||
  [ -f "$state/stuck" ]; }; }
# What the agent joined, as sanlock lists it: below a link, not where that leads.
own() { cat "$state/own" 2>/dev/null || echo "hosted-engine:$(cat "$state/id"):/run/vdsm/own:0"; }
place() { printf %s "$1" | sed 's/^[^:]*:[^:]*://; s/:0$//' | sed 's/\\:/:/g'; }
leader() {
  name=${1%%:*}; rest=${1#*:}; id=${rest%%:*}; at=$((id - 1)); path=$(place "$1")
  magic=$(dd if="$path" bs=512 skip=$at count=1 2>/dev/null | od -An -tx1 -N4 | tr -d ' ')
  said=$(dd if="$path" bs=512 skip=$at count=1 2>/dev/null | dd bs=1 skip=56 count=48 2>/dev/null |
    tr -d '\0')
  code=0; if [ "$magic" != 10202112 ]; then code=-223
  elif [ "$said" != "$name" ]; then code=-226; fi
  echo "read_leader done $code"
}
case "$1 $2" in
  help*) echo "sanlock direct init [-Z 512|4096]" ;;
  "client status")
    echo "daemon fake"; echo "s $(cat "$state/domain"):$(cat "$state/id"):/ids:0"
    if listed; then echo "s $(own)"; fi ;;
  "client host_status") cat "$state/host_status" 2>/dev/null || exit 1 ;;
  "client rem_lockspace")
    # As sanlock does: all of it must be as it was joined, also the path. -2 is ENOENT.
    [ "$4" = "$(own | cut -d' ' -f1)" ] || { echo "rem_lockspace done -2"; exit 1; }
    [ -f "$state/obstinate" ] || rm -f "$state/joined" "$state/stuck" ;;
  "direct read_leader") leader "$4" ;;
  "direct init")
    [ -f "$state/init-fails" ] && { echo "init done -5"; exit 1; }
    dd if="$state/fresh" of="$(place "$4")" bs=1M count=1 conv=notrunc,nocreat 2>/dev/null
    echo "init done 0" ;;
esac
"""


def leader(
    name: str, *, owner_id: int = 0, owner: str = "", timestamp: int = 0, sector: int = 512
) -> bytes:
    """Return one slot as sanlock writes it."""
    fields = (MAGIC, 0x00030004, ALIGN_1M, sector, 0, 1, owner_id, int(bool(owner)), 0)
    text = (name.encode(), owner.encode())
    bare = LEADER.pack(*fields, *text, timestamp, 0, 0, 0, 10)
    checked = bare[:CHECKED_BYTES] + struct.pack("<I", crc32c(bare[:CHECKED_BYTES])) + bare[172:]
    return checked.ljust(sector, b"\0")


def area(name: str, sector: int = 512) -> bytes:
    """Return a fresh lockspace of 1 MiB."""
    return (leader(name, sector=sector) * MAX_HOSTS[sector]).ljust(ALIGN_BYTES, b"\0")


def areas_of(data: bytes) -> list[tuple[int, str, str]]:
    """Return what matters of a lockspace's slots: which are not free, and whose they are."""
    slots = judge_area(data[:ALIGN_BYTES], NAME, 512)
    return [(each.host_id, each.verdict.value, each.owner) for each in slots if each.owner]


class FakeLockspace:
    """Both lockspaces of a fake cluster, put beside its whiteboard."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.turns = 1
        shared = cluster.folder / "shared"
        self.file, self.ids = (shared / place.lstrip("/") for place in (PATH, IDS))
        for file, content in (
            (self.file, (area(NAME) + TAIL).ljust(SIZE_BYTES, b"\x07")),
            (self.ids, area(SD)),
        ):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        link = shared / f"{DOMAIN}/ha_agent/hosted-engine.lockspace".lstrip("/")
        link.symlink_to(self.file)
        for host in cluster.hosts.values():
            self._equip(host)
        self._publish: Callable[[], None] = cluster.publish
        cluster.publish = self.publish  # type: ignore[method-assign]
        self.publish()

    def slots(self) -> tuple[Slot, ...]:
        """Return the slots as they are now."""
        return judge_area(self.file.read_bytes()[:ALIGN_BYTES], NAME, 512)

    def spoil(self, data: bytes, offset_bytes: int = 0) -> None:
        """Write over the lockspace."""
        self.put(self.file, data, offset_bytes)

    def put(self, file: Path, data: bytes, offset_bytes: int) -> None:
        """Write into a file without shortening it."""
        with file.open("r+b") as out:
            out.seek(offset_bytes)
            out.write(data)

    def publish(self) -> None:
        """Let hosts join, renew and leave; then those publish that hold their id."""
        self.turns += 1
        slots = self.slots()
        for host in self.cluster.hosts.values():
            self._turn(host, slots[host.host_id - 1])
        self._publish()

    def _turn(self, host: FakeHost, slot: Slot) -> None:
        runs = host.get("ovirt-ha-agent") == host.get("ovirt-ha-broker") == "active"
        host.joined = runs and slot.verdict in SOUND
        mark = host.root / "state/joined"
        if host.joined:
            mark.touch()
            now = leader(NAME, owner_id=host.host_id, owner=host.name, timestamp=self.turns)
            self.spoil(now, (host.host_id - 1) * 512)
        elif not host.get("stuck") and mark.exists():
            mark.unlink()
            if slot.verdict in SOUND:
                free = leader(NAME, owner_id=host.host_id, owner=host.name)
                self.spoil(free, (host.host_id - 1) * 512)

    def _equip(self, host: FakeHost) -> None:
        sanlock = host.root / "bin/sanlock"
        sanlock.write_text(CALLED + SANLOCK)
        sanlock.chmod(0o755)
        host.set("domain", SD)
        host.set("sanlock", "active")
        (host.root / "state/fresh").write_bytes(area(NAME))
        conf = host.root / "etc/ovirt-hosted-engine/hosted-engine.conf"
        with conf.open("a") as out:
            out.write(f"lockspace_image_UUID={IMAGE}\nlockspace_volume_UUID={VOLUME}\n")


def zeros() -> bytes:
    return bytes(ALIGN_BYTES)


def garbage() -> bytes:
    return os.urandom(ALIGN_BYTES)


def wrong_name() -> bytes:
    return area("another-cluster")


def torn() -> bytes:
    """Half a sector of the second host's slot is of another time."""
    return area(NAME)[:512] + leader(NAME)[:160] + os.urandom(352)
