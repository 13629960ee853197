"""The inventory: clusters and their hosts, read from TOML and checked before anything is done.

Every problem names the file, the key and the remedy, and all of them are told at once.
"""

import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ha.core.record import MAX_HOST_ID
from tasks.inventory_files import missing_files
from tasks.upgrade_settings import UpgradeSettings

NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")
ENGINE = "engine"  # the engine VM, where a host's name is asked for
REMEDIES = {
    "extra_forbidden": "there is no such key; remove it or correct its spelling",
    "missing": "add this key",
}


class InventoryError(Exception):
    """The inventory cannot be used, or has no such cluster or host."""


def _expanded(path: Path) -> Path:
    return path.expanduser()


def _named(name: str) -> str:
    if not NAME.match(name):
        raise ValueError("use letters, digits, dot, dash and underscore, at most 63 of them")
    return name


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Ssh(_Table):
    """How the control node reaches a cluster's hosts."""

    user: str = "root"
    key_file: Annotated[Path, AfterValidator(_expanded)]
    known_hosts: Annotated[Path, AfterValidator(_expanded)]
    proxy_command: tuple[str, ...] = ()

    def proxy_argv(self, host: "Host") -> tuple[str, ...]:
        """Return the proxy command for a host, with {address} and {port} filled in."""
        port = str(host.port)
        return tuple(
            word.replace("{address}", host.address).replace("{port}", port)
            for word in self.proxy_command
        )


class Migration(_Table):
    """How libvirt moves the engine VM between hosts; {host} and {address} are the destination's.

    Only for hosts that nothing but libvirt manages: VDSM's engine migrates its VMs itself.
    """

    uri: str = Field(default="qemu+ssh://root@{host}/system", min_length=1)
    data_uri: str = ""  # where the memory goes, such as tcp://{address}; else libvirt chooses
    unsafe: bool = False  # for a file system that libvirt does not know to be shared

    def uris_to(self, host: "Host") -> tuple[str, ...]:
        """Return the one or two URIs of `virsh migrate` for a destination."""
        named = (uri.replace("{host}", host.name) for uri in (self.uri, self.data_uri) if uri)
        return tuple(uri.replace("{address}", host.address) for uri in named)


class Host(_Table):
    """One hosted-engine host."""

    name: Annotated[str, AfterValidator(_named)]
    address: str = Field(min_length=1, pattern=r"^\S+$")
    port: int = Field(default=22, ge=1, le=65535)
    host_id: int = Field(ge=1, le=MAX_HOST_ID)


class EngineAccess(_Table):
    """How the control node reaches into the engine VM; as the hosts, where `ssh` is left out."""

    address: str = Field(min_length=1, pattern=r"^\S+$")
    port: int = Field(default=22, ge=1, le=65535)
    ssh: Ssh | None = None


NO_SSH = Ssh(key_file=Path(os.devnull), known_hosts=Path(os.devnull))


class Cluster(_Table):
    """The hosts that share one engine VM. What is simulated is reached without SSH."""

    title: str = ""
    ssh: Ssh
    simulated: Annotated[Path, AfterValidator(_expanded)] | None = None  # a served cluster's folder
    migration: Migration | None = None
    engine: EngineAccess | None = None
    upgrade: UpgradeSettings = UpgradeSettings()
    watch_seconds: int | None = Field(default=None, ge=10)  # between two runs of `watch`
    hosts: tuple[Host, ...] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _reached(cls, given: dict[str, Any]) -> dict[str, Any]:
        if given.get("simulated") is None:
            return given
        if "ssh" in given:
            raise ValueError("there is no SSH to a simulated cluster; remove the table ssh")
        return {**given, "ssh": NO_SSH}

    def host(self, name: str) -> Host:
        """Return a host by its name.

        Raises: InventoryError, naming the hosts that there are.
        """
        for host in self.hosts:
            if host.name == name:
                return host
        names = ", ".join(host.name for host in self.hosts)
        raise InventoryError(f"no host `{name}` in this cluster; it has: {names}")

    def reach(self, name: str) -> tuple[Host, Ssh]:
        """Return how a host is reached, or the engine VM under the name `engine`.

        Raises: InventoryError.
        """
        if name != ENGINE or self.engine is None:
            return self.host(name), self.ssh
        at = self.engine  # it has no host id, as it is not a host
        place = Host.model_construct(name=ENGINE, address=at.address, port=at.port, host_id=0)
        return place, at.ssh or self.ssh


class Inventory(_Table):
    """All clusters this control node knows."""

    clusters: Mapping[Annotated[str, AfterValidator(_named)], Cluster] = Field(min_length=1)

    def cluster(self, name: str) -> Cluster:
        """Return a cluster by its name.

        Raises: InventoryError, naming the clusters that there are.
        """
        if name in self.clusters:
            return self.clusters[name]
        names = ", ".join(sorted(self.clusters))
        raise InventoryError(f"no cluster `{name}` in the inventory; it has: {names}")

    @classmethod
    def parse(cls, text: str, source: str) -> Self:
        """Return the inventory that the TOML text holds.

        Raises: InventoryError with one line a problem.
        """
        try:
            inventory = cls.model_validate(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise InventoryError(f"{source}: not TOML: {error}") from error
        except ValidationError as error:
            raise InventoryError(_lines(source, map(_problem, error.errors()))) from error
        problems = list(_conflicts(inventory))
        if problems:
            raise InventoryError(_lines(source, problems))
        return inventory


def load_inventory(path: Path) -> Inventory:
    """Return the inventory of a file, its key files checked too.

    Raises: InventoryError with one line a problem: file, key, what is wrong, what to do.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InventoryError(
            f"{path}: no inventory here; write one (see the README) or name another with"
            " RUNBOOKS_INVENTORY"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InventoryError(f"{path}: cannot be read: {error}") from error
    inventory = Inventory.parse(text, str(path))
    problems = list(missing_files(inventory))
    if problems:
        raise InventoryError(_lines(str(path), problems))
    return inventory


def _lines(source: str, problems: Iterable[str]) -> str:
    return "\n".join(f"{source}: {problem}" for problem in problems)


def _problem(error: Any) -> str:
    key = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]
    ).lstrip(".")
    key = key.removesuffix(".[key]")
    if key.endswith(".host_id") and error["type"] in ("less_than_equal", "greater_than_equal"):
        remedy = f"a host id is 1 to {MAX_HOST_ID}; take it from the host's hosted-engine.conf"
    elif error["type"] == "too_short" and key.endswith((".hosts", "clusters")):
        remedy = "it is empty; add at least one"
    elif key.endswith(".hosts") and error["type"] == "missing":
        remedy = f"the cluster is empty; add a [[{key}]] table"
    else:
        remedy = REMEDIES.get(error["type"], error["msg"].removeprefix("Value error, "))
    return f"`{key}`: {remedy}"


def _conflicts(inventory: Inventory) -> Iterator[str]:
    for name, cluster in inventory.clusters.items():
        for (first, one), (second, other) in combinations(enumerate(cluster.hosts), 2):
            yield from _alike(f"clusters.{name}.hosts", (first, one), (second, other))
        if cluster.engine is not None and ENGINE in {host.name for host in cluster.hosts}:
            yield f"`clusters.{name}.hosts`: {ENGINE} is the engine VM's; name the host otherwise"
    everywhere = [
        (f"clusters.{name}.hosts[{index}]", host, cluster.simulated or cluster.ssh.proxy_command)
        for name, cluster in inventory.clusters.items()
        for index, host in enumerate(cluster.hosts)
    ]
    for (key, one, proxy), (later, other, other_proxy) in combinations(everywhere, 2):
        # The same address behind two proxies is two places.
        if (one.address, one.port, proxy) == (other.address, other.port, other_proxy):
            yield (
                f"`{later}.address`: {other.address}, port {other.port}, is also that of"
                f" `{key}` ({one.name}); give each host its own"
            )


def _alike(key: str, one: tuple[int, Host], other: tuple[int, Host]) -> Iterator[str]:
    (first, here), (second, there) = one, other
    if here.name == there.name:
        yield (
            f"`{key}[{second}].name`: {here.name} is also that of `{key}[{first}]`;"
            " give each host its own name"
        )
    if here.host_id == there.host_id:
        yield (
            f"`{key}[{second}].host_id`: {here.host_id} is also that of `{key}[{first}]`"
            f" ({here.name}); each host has its own: compare host_id in the hosts'"
            " hosted-engine.conf"
        )
