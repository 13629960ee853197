"""The place where a run works: the cluster, its whiteboard, and which host does what."""

from dataclasses import dataclass, replace

from tasks.env import Shell, world
from tasks.hosts import HostLook, look_at_host, look_at_hosts
from tasks.limits import limit
from tasks.metadata import Target
from tasks.witnesses import digest, read_raw


@dataclass(frozen=True, slots=True)
class Site:
    """The actor changes things; the witness, another host, sees whether it is so."""

    cluster: str
    target: Target
    actor: str
    witness: str
    others: tuple[str, ...]

    @property
    def hosts(self) -> tuple[str, ...]:
        """All hosts, the actor first."""
        return (self.actor, *self.others)

    def at(self, target: Target) -> "Site":
        """Return the same hosts over another volume, such as the lockspace."""
        return replace(self, target=target)

    def shell(self, host: str) -> Shell:
        """Return a host's shell."""
        return world().shell(self.cluster, host)

    def read(self, host: str) -> bytes:
        """Return the whiteboard's range as a host reads it from storage. Raises ReadFailed."""
        return self.read_file(host, self.target.path)

    def read_file(self, host: str, path: str) -> bytes:
        """Return the same range of a copy of the volume. Raises ReadFailed."""
        return read_raw(
            self.shell(host), path, self.target.size_bytes, timeout_seconds=limit("look_seconds")
        )

    def digest(self, host: str, path: str, skip_bytes: int = 0) -> str:
        """Return the SHA-256 of a file of the volume's size, read directly. Raises ReadFailed."""
        return digest(
            self.shell(host),
            path,
            self.target.size_bytes,
            timeout_seconds=limit("backup_seconds"),
            skip_bytes=skip_bytes,
        )

    def look(self, host: str) -> HostLook:
        """Return how a host is now."""
        return look_at_host(self.cluster, host, limit("look_seconds"))

    def look_at_all(self) -> tuple[HostLook, ...]:
        """Return how all hosts are now."""
        return look_at_hosts(self.cluster, limit("look_seconds"))

    def live_witness(self, host: str) -> str:
        """Return a host that can witness for another one; itself when there is only one."""
        return self.witness if host == self.actor else self.actor
