"""The real world of this control node: SSH shells, the journal file, the inventory file."""

from functools import lru_cache

from tasks.env import Shell, SystemClock, World
from tasks.inventory import load_inventory
from tasks.journal import Journal
from tasks.policy import policy_of
from tasks.settings import settings
from tasks.shell import ShellLimits, ShellPool


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
        return pool.shell(cluster, host)

    return World(
        shells=shells,
        journal=Journal(chosen.journal()),
        inventory=inventory,
        clock=SystemClock(),
        step_store=chosen.step_store,
        gate_expires_seconds=chosen.gate_expires_seconds,
        lost_contact_retries=chosen.lost_contact_retries,
        policy=policy_of(chosen),
        backups=chosen.home / "backups",
    )
