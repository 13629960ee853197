"""The storage domain of the lab's hosted engine: names chosen here, so that tests know them."""

import uuid
from dataclasses import dataclass

MIB = 1 << 20


def _uuid(what: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{what}.lab"))


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume: its role, its UUIDs, and its size where the lab must make it."""

    role: str
    size_bytes: int

    @property
    def image(self) -> str:
        """UUID of the image that the volume belongs to."""
        return _uuid(f"{self.role}-image")

    @property
    def volume(self) -> str:
        """UUID of the volume itself."""
        return _uuid(f"{self.role}-volume")


SD_UUID = _uuid("storage-domain")
VM_UUID = _uuid("engine-vm")
# 128 MiB and 1 GiB as upstream makes them; the configuration is an archive of 20 KiB.
METADATA = Volume("metadata", 128 * MIB)
LOCKSPACE = Volume("lockspace", 1024 * MIB)
CONFIGURATION = Volume("configuration", 1024 * MIB)
ENGINE = Volume("engine", 64 * MIB)
VOLUMES = (METADATA, LOCKSPACE, CONFIGURATION, ENGINE)
# VDSM's own volumes of a block domain: its metadata, a lockspace, and VMs' leases from 101 MiB on.
SPECIAL_BYTES = {"metadata": 8 * MIB, "ids": 8 * MIB, "leases": 1024 * MIB}
