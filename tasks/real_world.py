"""The real world of this control node: SSH shells, the journal file, the inventory file."""

from functools import lru_cache

from tasks.env import Clock, Shell, SystemClock, World
from tasks.inventory import Inventory, InventoryError, load_inventory
from tasks.journal import Journal
from tasks.policy import policy_of
from tasks.settings import settings
from tasks.shell import ShellLimits, ShellPool
from tasks.simulated import SimulatedClock, SimulatedShell


@lru_cache(maxsize=1)
def real_world() -> World:
    """Return the world that the settings describe, built once a process.

    Raises: InventoryError, PolicyError.
    """
    chosen = settings()
    inventory = load_inventory(chosen.inventory_path())
    limits = ShellLimits(
        connect_timeout_seconds=chosen.connect_timeout_seconds,
        channel_timeout_seconds=chosen.channel_timeout_seconds,
        keepalive_seconds=chosen.keepalive_seconds,
    )
    pool = ShellPool(inventory, limits)

    def shells(cluster: str, host: str) -> Shell:
        folder = inventory.cluster(cluster).simulated
        return pool.shell(cluster, host) if folder is None else SimulatedShell(folder, host)

    return World(
        shells=shells,
        journal=Journal(chosen.journal()),
        inventory=inventory,
        clock=_clock(inventory),
        step_store=chosen.step_store,
        gate_expires_seconds=chosen.gate_expires_seconds,
        lost_contact_retries=chosen.lost_contact_retries,
        policy=policy_of(chosen),
        backups=chosen.home / "backups",
    )


def _clock(inventory: Inventory) -> Clock:
    """Return a simulated cluster's clock where there is nothing else; else this machine's."""
    folders = {cluster.simulated for cluster in inventory.clusters.values()}
    folder = folders.pop()
    if folders or folder is None:
        return SystemClock()
    try:
        return SimulatedClock(folder)
    except OSError as error:
        raise InventoryError(
            f"{folder}: no simulated cluster was served here ({error}); start it with python3 -m ha"
            f" simulate --serve {folder}"
        ) from error
