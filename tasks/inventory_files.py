"""The files that an inventory names: keys, known hosts, the folders of simulated clusters."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.inventory import Inventory

KEY_REMEDY = "name the private key that the hosts accept"
HOSTS_REMEDY = "collect the hosts' keys with ssh-keyscan and compare them on the consoles"


def missing_files(inventory: "Inventory") -> Iterator[str]:
    """Yield a line for each that is not there: key, what is missing, what to do."""
    tables = {}
    for name, cluster in inventory.clusters.items():
        folder = cluster.simulated
        if folder is None:
            tables[f"{name}.ssh"] = cluster.ssh
        elif not folder.is_dir():
            yield (
                f"`clusters.{name}.simulated`: no folder {folder}; start the cluster with"
                f" python3 -m ha simulate --serve {folder}"
            )
        if cluster.engine is not None and cluster.engine.ssh is not None:
            tables[f"{name}.engine.ssh"] = cluster.engine.ssh
    for table, ssh in tables.items():
        for key, path, remedy in (
            ("key_file", ssh.key_file, KEY_REMEDY),
            ("known_hosts", ssh.known_hosts, HOSTS_REMEDY),
        ):
            if not path.is_file():
                yield f"`clusters.{table}.{key}`: no file {path}; {remedy}"
