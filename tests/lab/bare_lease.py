"""A lease that nobody but sanlock cares for: how long it takes to get it from a host that died.

It is held by the host that runs the engine VM, in the same lockspace as the VM's own lease. What
the VM's start takes longer than this is not sanlock's doing.
"""

from concurrent.futures import Future, ThreadPoolExecutor

from tests.lab.cluster import Lab
from tests.lab.domain import SD_UUID
from tests.lab.host import give_to_ovirt
from tests.lab.storage import MOUNT_POINT, FileStorage

NAME = "bare"
LEASE_BYTES = 1 << 20
HELD_BY_ANOTHER = -243  # sanlock_rv.h: SANLK_ACQUIRE_IDLIVE
TAKE = """
import sanlock, sys, time
space, name, path, limit = *(word.encode() for word in sys.argv[1:3]), sys.argv[3], sys.argv[4]
ends_at = time.monotonic() + float(limit)
mine = sanlock.register()
while True:
    try:
        sanlock.acquire(space, name, [(path, 0)], slkfd=mine)
        break
    except sanlock.SanlockException as error:
        if error.errno != HELD or time.monotonic() > ends_at:
            raise
        time.sleep(0.05)
print(time.time())
""".replace("HELD", str(HELD_BY_ANOTHER))


class BareLease:
    """The lease, on a lab's shared storage."""

    def __init__(self, lab: Lab) -> None:
        if not isinstance(lab.storage, FileStorage):
            raise TypeError("needs a lab with file storage")
        self.lab, self._file = lab, lab.storage.shared / "bare-lease"
        self._path = f"{MOUNT_POINT}/{self._file.name}"
        escaped = self._path.replace(":", "\\:")
        self._name = f"{SD_UUID}:{NAME}:{escaped}:0"
        self._pool = ThreadPoolExecutor(1)

    def hold(self, host: str) -> None:
        """Make it, free, and let a process on that host take it until the host dies."""
        self._file.write_bytes(bytes(LEASE_BYTES))
        self._file.chmod(0o660)
        give_to_ovirt(self._file)
        self.lab.ssh(host, "sanlock", "direct", "init", "-r", self._name)
        held = ("sanlock", "client", "command", "-r", self._name, "-c", "/bin/sleep", "1h")
        self.lab.ssh(host, "systemd-run", "--quiet", "--collect", "--unit=bare-lease", *held)
        line = f"sanlock client status | grep -q ':{NAME}:'"
        self.lab.wait_until(
            lambda: self.lab.ssh(host, line, check=False).returncode == 0, 90, f"{host} has it"
        )

    def take(self, host: str, limit_seconds: float) -> "Future[float]":
        """Let another host try until it has it; the result is when that was, in wall time."""
        argv = ("python3", "-c", TAKE, SD_UUID, NAME, self._path, str(limit_seconds))

        def taking() -> float:
            return float(self.lab.ssh(host, *argv, timeout_seconds=limit_seconds + 60).stdout)

        return self._pool.submit(taking)
