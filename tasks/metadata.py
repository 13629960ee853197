"""Find the volume that holds the whiteboard or the lockspace, on every host, and agree on one.

The names below ha_agent/ are links, and may be links to links; what counts is where they lead.
"""

from dataclasses import dataclass

from ha.core.record import BLOCK_BYTES
from tasks.env import Ran, Shell
from tasks.hosts import on_all, sh
from tasks.links import LINKS, searched
from tasks.refusal import CheckRefused
from tasks.witnesses import shape_of

CONF = "/etc/ovirt-hosted-engine/hosted-engine.conf"
MOUNTS = "/rhev/data-center/mnt/"
BLOCK_DOMAINS = ("iscsi", "fc")
METADATA, LOCKSPACE = "metadata", "lockspace"

# Only these keys: the file also holds the iSCSI password.
READ_CONF = """
grep -E '^(vmid|host_id|domainType|sdUUID|(metadata|lockspace)_(image|volume)_UUID)=' "$1"
"""


@dataclass(frozen=True, slots=True)
class Volume:
    """The volume of the whiteboard or the lockspace, as the hosts' configuration names it."""

    domain_type: str
    storage_domain: str
    image: str
    volume: str
    role: str = METADATA

    @property
    def link(self) -> str:
        """The name of the links to it, below ha_agent/."""
        return f"hosted-engine.{self.role}"

    @property
    def device(self) -> str:
        """The device of a block domain; empty for a file domain."""
        if self.domain_type not in BLOCK_DOMAINS:
            return ""
        return f"/dev/{self.storage_domain}/{self.volume}"

    @property
    def path_end(self) -> str:
        """How the path on a file domain ends; 3.4 kept a plain file below ha_agent/."""
        if not self.volume:
            return f"/{self.storage_domain}/ha_agent/{self.link}"
        return f"/{self.storage_domain}/images/{self.image}/{self.volume}"


@dataclass(frozen=True, slots=True)
class Target:
    """Where the whiteboard, or the lockspace, is: the same on all hosts."""

    path: str
    kind: str
    size_bytes: int
    links: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """One line of the search on one host."""

    host: str
    role: str
    link: str
    target: str
    kind: str
    size_bytes: int


def read_volume(
    cluster: str, ids: dict[str, int], timeout_seconds: float, role: str = METADATA
) -> Volume:
    """Return the volume of a role that all hosts' configurations name.

    Raises CheckRefused when a file cannot be read, a host is not deployed, its id is not the one
    of the inventory, or two hosts differ.
    """
    ran = on_all(
        cluster, lambda shell: shell.run(sh(READ_CONF, CONF), timeout_seconds=timeout_seconds)
    )
    conf = {host: _conf(each) for host, each in ran.items()}
    problems = [
        f"{host}: {CONF} says host_id={found.get('host_id')}, the inventory says {ids[host]}"
        for host, found in conf.items()
        if found.get("host_id") != str(ids[host])
    ]
    image, volume = f"{role}_image_UUID", f"{role}_volume_UUID"
    for key in ("domainType", "sdUUID", image, volume):
        values = {host: found.get(key, "") for host, found in conf.items()}
        if len(set(values.values())) > 1:
            each = ", ".join(f"{host}: {value or 'not set'}" for host, value in values.items())
            problems.append(f"{key} differs in {CONF}: {each}")
    if problems:
        raise CheckRefused("; ".join(problems), "correct the configuration or the inventory")
    first = next(iter(conf.values()))
    return Volume(
        domain_type=first.get("domainType", ""),
        storage_domain=first["sdUUID"],
        image=first.get(image, ""),
        volume=first.get(volume, ""),
        role=role,
    )


def find_target(cluster: str, volume: Volume, timeout_seconds: float) -> Target:
    """Return the file or device that the volume's links lead to, the same on all hosts.

    Raises CheckRefused when there is none, more than one, or not the configured one, and when a
    host cannot search all of its storage.
    """
    by_host = on_all(cluster, lambda shell: _search(shell, volume, timeout_seconds))
    targets = {host: _one_target(host, volume, found) for host, found in by_host.items()}
    places = {(each.path, each.kind, each.size_bytes) for each in targets.values()}
    if len(places) > 1:
        each = "; ".join(
            f"{host}: {found.path} ({found.kind}, {found.size_bytes} bytes)"
            for host, found in targets.items()
        )
        raise CheckRefused(
            f"the hosts do not see the same {volume.link}: {each}",
            "connect the same storage on all",
        )
    return next(iter(targets.values()))


def _conf(ran: Ran) -> dict[str, str]:
    found = dict(line.split("=", 1) for line in ran.stdout.splitlines())
    if not found.get("vmid") or not found.get("sdUUID"):
        raise CheckRefused(
            f"{ran.host}: {CONF} has no vmid or no sdUUID {ran.stderr.strip()}".rstrip(),
            "deploy the host, or take it out of the inventory",
        )
    return {key: value.strip() for key, value in found.items()}


def _search(shell: Shell, volume: Volume, timeout_seconds: float) -> tuple[Found, ...]:
    found = []
    for line in searched(shell, volume.link, timeout_seconds, device=volume.device):
        match line.split("\t"):
            case [role, link, target, kind, size] if size.isdigit():
                found.append(Found(shell.host, role, link, target, kind, int(size)))
            case _:
                raise CheckRefused(f"{shell.host}: cannot understand {line!r}", "look at that path")
    return tuple(found)


def _one_target(host: str, volume: Volume, lines: tuple[Found, ...]) -> Target:
    found = [line for line in lines if line.role == "found"]
    if not found:
        raise CheckRefused(
            f"{host}: no {volume.link} below {LINKS}",
            "run `hosted-engine --connect-storage` there",
        )
    for line in found:
        if line.kind == "missing":
            raise CheckRefused(
                f"{host}: {line.link} leads to {line.target}, which is not there",
                "run `hosted-engine --connect-storage` there",
            )
    if len({line.target for line in found}) > 1:
        each = ", ".join(f"{line.link} -> {line.target}" for line in found)
        raise CheckRefused(
            f"{host}: two candidates: {each}", "remove the link that is left from another domain"
        )
    path = _require_configured(host, volume, lines)
    line = found[0]
    kind = _kind(line)
    try:
        shape_of(line.size_bytes)
    except ValueError as error:
        raise CheckRefused(f"{host}: {line.target}: {error}", "look at that volume") from error
    if line.size_bytes < 2 * BLOCK_BYTES:
        raise CheckRefused(f"{host}: {line.target}: only {line.size_bytes} bytes", "look at it")
    return Target(path, kind, line.size_bytes, tuple(sorted(each.link for each in found)))


def _kind(line: Found) -> str:
    if line.kind == "block special file":
        return "block device"
    if line.kind in ("regular file", "regular empty file"):
        return "file"
    raise CheckRefused(
        f"{line.host}: {line.target} is a {line.kind}, not a file or block device", "look at it"
    )


def _require_configured(host: str, volume: Volume, lines: tuple[Found, ...]) -> str:
    """Return the path to use: on block domains the volume's own name, as dm-N may differ."""
    target = next(line.target for line in lines if line.role == "found")
    if volume.device:
        configured = next(line for line in lines if line.role == "configured")
        if configured.target == target:
            return volume.device
        wanted = f"{volume.device} -> {configured.target}"
    else:
        if target.startswith(MOUNTS) and target.endswith(volume.path_end):
            return target
        wanted = f"{MOUNTS}...{volume.path_end}"
    raise CheckRefused(
        f"{host}: the links lead to {target}, the configuration names {wanted}",
        f"find out which is right before anything is written; see {CONF}",
    )
