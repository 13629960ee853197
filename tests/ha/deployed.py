"""The configuration of a deployed host, below a root of the tests' own."""

from pathlib import Path

from ha.config import Paths

HOST_ID = 3


def uuid(number: int) -> str:
    return f"{number:08x}-1111-4111-8111-111111111111"


KEYS = {
    "host_id": str(HOST_ID),
    "vmid": uuid(1),
    "fqdn": "engine.invalid",
    "domainType": "fc",
    "sdUUID": uuid(2),
    "metadata_image_UUID": uuid(3),
    "metadata_volume_UUID": uuid(4),
    "lockspace_image_UUID": uuid(5),
    "lockspace_volume_UUID": uuid(6),
    "conf_image_UUID": uuid(7),
    "conf_volume_UUID": uuid(8),
    "vm_disk_id": uuid(9),
    "vm_disk_vol_id": uuid(10),
    "bridge": "nobridge",
    "network_test": "none",
}


def write_conf(root: Path) -> None:
    """Write hosted-engine.conf, for a block domain."""
    conf = Paths(root).hosted_engine_conf
    conf.parent.mkdir(parents=True)
    conf.write_text("".join(f"{key}={value}\n" for key, value in KEYS.items()))
