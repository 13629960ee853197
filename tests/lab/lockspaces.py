"""The lab's lockspace: broken in four ways, looked at past the hosts, and mended."""

import os

from tasks.lockspace_area import ALIGN_BYTES, Slot, judge_area
from tests.fake_lockspace import NAME, area, leader
from tests.lab import care
from tests.lab.cluster import Lab
from tests.lab.domain import LOCKSPACE

WITHIN_SECONDS = 60


def zeros() -> bytes:
    return bytes(ALIGN_BYTES)


def garbage() -> bytes:
    return os.urandom(ALIGN_BYTES)


def wrong_name() -> bytes:
    return area("another-cluster")


def torn() -> bytes:
    """Every slot half of another time, as after a loss of power in the middle of a write."""
    half = leader(NAME)[:160]
    return b"".join(half + os.urandom(352) for _ in range(ALIGN_BYTES // 512))


CORRUPTIONS = {
    "zeros (-223)": zeros,
    "no lease (-223)": garbage,
    "another lockspace (-226)": wrong_name,
    "wrong checksum (-229)": torn,
}


def read_area(lab: Lab, size_bytes: int = ALIGN_BYTES) -> bytes:
    """The lockspace, read past the hosts."""
    with lab.storage.path_of(LOCKSPACE).open("rb") as volume:
        return volume.read(size_bytes)


def slots(lab: Lab) -> tuple[Slot, ...]:
    """Its slots."""
    return judge_area(read_area(lab), NAME, 512)


def spoil(lab: Lab, data: bytes) -> None:
    """Write over it, past the hosts."""
    with lab.storage.path_of(LOCKSPACE).open("r+b") as volume:
        volume.write(data)
        volume.flush()
        os.fsync(volume.fileno())


def wait_until_lost(lab: Lab) -> None:
    """Wait until sanlock has given the lockspace up on every host."""

    def lost() -> bool:
        said = care.on_all(lab, "sanlock", "client", "status")
        return not any(
            line.startswith(f"s {NAME}:") for text in said.values() for line in text.splitlines()
        )

    lab.wait_until(lost, WITHIN_SECONDS, "no host holds its id")


def mend(lab: Lab) -> None:
    """Put a fresh lockspace in place while all is stopped, and bring the cluster back to work."""
    care.on_all(lab, care.STOP)
    for host in lab.hosts:
        lab.ssh(host.name, LEAVE, check=False)
    spoil(lab, area(NAME))
    care.mend(lab)


LEAVE = (
    "sanlock client status | sed -n 's/^s \\(hosted-engine:.*:0\\).*/\\1/p' |"
    ' while read -r space; do sanlock client rem_lockspace -s "$space"; done'
)
