"""What hosted-engine.conf must say, and which of its keys belong together."""

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path

from ha.config import (
    BLOCK_DOMAINS,
    FILE_DOMAINS,
    MOUNTED_DOMAINS,
    ConfigError,
    HostedEngineConf,
    refuse_misspelt,
)
from ha.core.record import MAX_HOST_ID

MAX_PORT = 65535
NETWORK_TESTS = ("ping", "dns", "tcp", "none")
VOLUMES = ("metadata", "lockspace", "conf")
# Every key that upstream has written into this file since 3.3.
KNOWN_KEYS = frozenset(
    {
        *("fqdn", "vm_disk_id", "vm_disk_vol_id", "vmid", "storage", "nfs_version", "mnt_options"),
        *("conf", "host_id", "configured", "console", "domainType", "spUUID", "sdUUID"),
        *("connectionUUID", "ca_cert", "ca_subject", "vdsm_use_ssl", "gateway", "bridge"),
        *("metadata_volume_UUID", "metadata_image_UUID", "lockspace_volume_UUID"),
        *("lockspace_image_UUID", "conf_volume_UUID", "conf_image_UUID", "iqn", "portal", "user"),
        *("password", "port", "network_test", "tcp_t_address", "tcp_t_port"),
        "iscsi_paths_blacklist",
    }
)
REQUIRED_KEYS = (
    "host_id", "vmid", "fqdn", "domainType", "sdUUID", "bridge",
    "metadata_image_UUID", "metadata_volume_UUID", "lockspace_image_UUID", "lockspace_volume_UUID",
)  # fmt: skip
_UUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
_HOST = re.compile(r"[A-Za-z0-9_\[:][A-Za-z0-9_.:%\[\]-]{0,252}")
# netdevice(7): IFNAMSIZ is 16 with the closing NUL.
_INTERFACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:-]{0,14}")
_SERVER_PATH = re.compile(r"[A-Za-z0-9_\[][^\s/]*:(/|/?[^\s/]\S*)")
_REDEPLOY = "Copy it from another host's file, or run hosted-engine --deploy"


def host_conf_of(path: Path, values: Mapping[str, str]) -> HostedEngineConf:
    """Return the keys of hosted-engine.conf at this path as one value. Raises ConfigError.

    A key that upstream does not have is kept, unless it looks like one misspelt.
    """
    _require_all(path, values)
    port = values.get("tcp_t_port")
    return HostedEngineConf(
        host_id=_number(path, values, "host_id", MAX_HOST_ID),
        vmid=values["vmid"],
        fqdn=values["fqdn"],
        storage=values.get("storage", ""),
        domain_type=values["domainType"],
        sd_uuid=values["sdUUID"],
        metadata_image_uuid=values["metadata_image_UUID"],
        metadata_volume_uuid=values["metadata_volume_UUID"],
        lockspace_image_uuid=values["lockspace_image_UUID"],
        lockspace_volume_uuid=values["lockspace_volume_UUID"],
        conf_image_uuid=values.get("conf_image_UUID", ""),
        conf_volume_uuid=values.get("conf_volume_UUID", ""),
        vm_disk_id=values.get("vm_disk_id", ""),
        vm_disk_vol_id=values.get("vm_disk_vol_id", ""),
        gateway=values.get("gateway", ""),
        bridge=values["bridge"],
        network_test=values.get("network_test") or "ping",
        tcp_t_address=values.get("tcp_t_address", ""),
        tcp_t_port=_number(path, values, "tcp_t_port", MAX_PORT) if port else None,
        sp_uuid=values.get("spUUID", ""),
        connection_uuid=values.get("connectionUUID", ""),
        console=values.get("console", ""),
        mnt_options=values.get("mnt_options", ""),
        configured=values.get("configured", "True") == "True",
        values=dict(values),
    )


def _require_all(path: Path, values: Mapping[str, str]) -> None:
    refuse_misspelt(path, values, KNOWN_KEYS)
    for key in REQUIRED_KEYS:
        if not values.get(key):
            raise ConfigError(path, key, "is missing", _REDEPLOY)
    _require_uuids(path, values)
    _require_names(path, values)
    _require_storage(path, values)
    _require_network_test(path, values)


def _require_uuids(path: Path, values: Mapping[str, str]) -> None:
    keys = [
        "vmid",
        "sdUUID",
        *(f"{v}_{kind}_UUID" for v in VOLUMES for kind in ("image", "volume")),
    ]
    seen: dict[str, str] = {}
    for key in keys:
        value = values.get(key, "")
        if value and not _UUID.fullmatch(value):
            raise ConfigError(path, key, f"{value!r} is no UUID", _REDEPLOY)
        if value and value in seen:
            raise ConfigError(path, key, f"is the same as {seen[value]}", _REDEPLOY)
        seen[value] = key
    for key in ("vm_disk_id", "vm_disk_vol_id", "spUUID", "connectionUUID"):
        if values.get(key) and not _UUID.fullmatch(values[key]):
            raise ConfigError(path, key, f"{values[key]!r} is no UUID", _REDEPLOY)
    image, volume = values.get("conf_image_UUID"), values.get("conf_volume_UUID")
    if bool(image) != bool(volume):
        missing = "conf_volume_UUID" if image else "conf_image_UUID"
        raise ConfigError(path, missing, "is missing, its counterpart is there", _REDEPLOY)


def _require_names(path: Path, values: Mapping[str, str]) -> None:
    for key in ("fqdn", "gateway", "tcp_t_address"):
        if values.get(key) and not _HOST.fullmatch(values[key]):
            problem = f"{values[key]!r} is no name or address of a host"
            raise ConfigError(path, key, problem, "Correct it")
    if not _INTERFACE.fullmatch(values["bridge"]):
        problem = f"{values['bridge']!r} is no name of a network"
        raise ConfigError(path, "bridge", problem, "Write the bridge's name, as in: ip link")
    if values.get("configured", "True") not in ("True", "False"):
        problem = f"{values['configured']!r} is neither True nor False"
        raise ConfigError(path, "configured", problem, "Write one of the two, or remove the line")


def _require_storage(path: Path, values: Mapping[str, str]) -> None:
    kind = values["domainType"]
    known = FILE_DOMAINS + BLOCK_DOMAINS
    if kind not in known:
        raise ConfigError(path, "domainType", f"{kind!r} is unknown", f"Use one of {known}")
    remedy = "Write the server and path, as server:/path"
    if kind in FILE_DOMAINS and not values.get("storage"):
        raise ConfigError(path, "storage", f"is missing, domainType {kind} needs it", remedy)
    if kind in MOUNTED_DOMAINS and not _SERVER_PATH.fullmatch(values["storage"]):
        problem = f"{values['storage']!r} cannot be mounted"
        raise ConfigError(path, "storage", problem, remedy)
    if kind == "iscsi" and not values.get("iqn"):
        raise ConfigError(path, "iqn", "is missing, domainType iscsi needs it", _REDEPLOY)


def _require_network_test(path: Path, values: Mapping[str, str]) -> None:
    test = values.get("network_test") or "ping"
    if test not in NETWORK_TESTS:
        remedy = f"Use one of {', '.join(NETWORK_TESTS)}"
        raise ConfigError(path, "network_test", f"{test!r} is unknown", remedy)
    needed = {"ping": ("gateway",), "tcp": ("tcp_t_address", "tcp_t_port")}.get(test, ())
    for key in needed:
        if not values.get(key):
            remedy = f"Add {key}=, or choose another network_test"
            raise ConfigError(path, key, f"is missing, network_test {test} needs it", remedy)
    gateway = values.get("gateway", "")
    if test == "ping" and re.fullmatch(r"[0-9.]+|.*:.*", gateway) and not _is_address(gateway):
        raise ConfigError(path, "gateway", f"{gateway!r} is no address", "Write an IP address")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _number(path: Path, values: Mapping[str, str], key: str, most: int) -> int:
    text = values[key]
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= most:
        raise ConfigError(path, key, f"{text!r} is no number from 1 to {most}", "Correct it")
    return int(text)
