"""What a deployment will make, worked out and checked before anything is touched."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ha.answers import Answer, Answers, AnswersError, format_answers
from ha.conf_archive import ARCHIVE_VERSION
from ha.config import BLANK_UUID, BLOCK_DOMAINS, Paths
from ha.core.record import MAX_HOST_ID
from ha.storage_domain import StorageDomain, StorageError, storage_domain_of
from ha.vm_domain import VmSpec, vm_conf_text

GIB = 1024**3
# hosted-engine.conf is read by shells too, so a value must be one plain word.
_PLAIN = re.compile(r"[A-Za-z0-9_.:/,@%+=\[\]-]*")
_MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")
_UUIDS = {
    "OVEHOSTED_STORAGE/sdUUID": "sdUUID",
    "OVEHOSTED_STORAGE/imgUUID": "vm_disk_id",
    "OVEHOSTED_STORAGE/volUUID": "vm_disk_vol_id",
    "OVEHOSTED_STORAGE/connectionUUID": "connectionUUID",
    "OVEHOSTED_STORAGE/metadataImageUUID": "metadata_image_UUID",
    "OVEHOSTED_STORAGE/metadataVolumeUUID": "metadata_volume_UUID",
    "OVEHOSTED_STORAGE/lockspaceImageUUID": "lockspace_image_UUID",
    "OVEHOSTED_STORAGE/lockspaceVolumeUUID": "lockspace_volume_UUID",
    "OVEHOSTED_STORAGE/confImageUUID": "conf_image_UUID",
    "OVEHOSTED_STORAGE/confVolUUID": "conf_volume_UUID",
    "OVEHOSTED_VM/vmUUID": "vmid",
}
# On a block domain the operator has made the volumes, so their names cannot be chosen here.
_GIVEN_ON_BLOCK = [key for key in _UUIDS if not key.endswith(("vmUUID", "connectionUUID"))]


@dataclass(frozen=True, slots=True)
class Plan:
    """A first host's deployment: the storage, the engine VM and the files that say so."""

    domain: StorageDomain
    host_id: int
    conf: Mapping[str, str]
    vm: VmSpec
    disk_image: Path | None
    disk_bytes: int
    answers: Mapping[str, Answer]

    def archive(self, generated: str) -> Mapping[str, str]:
        """Return the files of the shared configuration."""
        return {
            "version": ARCHIVE_VERSION + "\n",
            "fhanswers.conf": format_answers(self.answers),
            "hosted-engine.conf": conf_text(self.conf),
            "broker.conf": broker_conf_text(Answers(self.answers)),
            "vm.conf": vm_conf_text(self.vm, generated),
        }


def plan_first_host(answers: Answers, paths: Paths, new_uuid: Callable[[], str]) -> Plan:
    """Work out a first host's deployment; raises AnswersError with everything that is wrong."""
    problems = _problems(answers)
    if problems:
        raise AnswersError("; ".join(problems))
    uuids = {conf: answers.text(key) or new_uuid() for key, conf in _UUIDS.items()}
    host_id = host_id_of(answers, default=1)
    conf = {**_conf(answers, paths, host_id), **uuids}
    _require_plain(conf)
    try:
        domain = storage_domain_of(conf, paths.root)
    except StorageError as error:
        raise AnswersError(str(error)) from error
    image = answers.text("OVEHOSTED_VM/ovfArchive")
    mac = answers.text("OVEHOSTED_VM/vmMACAddr").lower() or _mac_of(conf["vmid"])
    complete = {**answers.values, **{key: uuids[conf] for key, conf in _UUIDS.items()}}
    complete |= {"OVEHOSTED_STORAGE/hostID": host_id, "OVEHOSTED_VM/vmMACAddr": mac}
    return Plan(
        domain=domain,
        host_id=host_id,
        conf=conf,
        vm=_vm(answers, domain, conf, mac),
        disk_image=paths.root / image.lstrip("/") if image else None,
        disk_bytes=answers.number("OVEHOSTED_STORAGE/imgSizeGB", 0) * GIB,
        answers=complete,
    )


def host_id_of(answers: Answers, *, default: int | None) -> int:
    """Return the host id that the answers give; raises AnswersError."""
    key = "OVEHOSTED_STORAGE/hostID"
    if default is None and not answers.text(key):
        raise AnswersError(
            f"{key} is missing: an additional host needs an id of its own, as in {key}=int:2"
        )
    host_id = answers.number(key, default or 0)
    if not 1 <= host_id <= MAX_HOST_ID:
        raise AnswersError(f"{key}: {host_id} is outside 1..{MAX_HOST_ID}")
    return host_id


def conf_text(conf: Mapping[str, str]) -> str:
    """Return hosted-engine.conf's text."""
    return "".join(f"{key}={value}\n" for key, value in conf.items())


def broker_conf_text(answers: Answers) -> str:
    """Return broker.conf's text: whom to mail, and about which changes of state."""
    group = "OVEHOSTED_NOTIF"
    return (
        "[email]\n"
        f"smtp-server={answers.text(f'{group}/smtpServer', 'localhost')}\n"
        f"smtp-port={answers.number(f'{group}/smtpPort', 25)}\n"
        "smtp-timeout=10\n"
        f"source-email={answers.text(f'{group}/sourceEmail', 'root@localhost')}\n"
        f"destination-emails={answers.text(f'{group}/destEmail', 'root@localhost')}\n"
        "\n[notify]\n"
        "state_transition=maintenance|start|stop|up|down\n"
    )


def _problems(answers: Answers) -> list[str]:
    kind = answers.text("OVEHOSTED_STORAGE/domainType")
    test = answers.text("OVEHOSTED_NETWORK/network_test", "dns")
    required = ["OVEHOSTED_NETWORK/fqdn", "OVEHOSTED_STORAGE/domainType"]
    if kind in BLOCK_DOMAINS:
        required += _GIVEN_ON_BLOCK
    else:
        required += ["OVEHOSTED_STORAGE/storageDomainConnection"]
    if test == "ping":
        required += ["OVEHOSTED_NETWORK/gateway"]
    if test == "tcp":
        required += [f"OVEHOSTED_NETWORK/network_test_tcp_{part}" for part in ("address", "port")]
    problems = [f"{key} is missing" for key in required if not answers.text(key)]
    if test not in ("ping", "dns", "tcp", "none"):
        problems.append(f"OVEHOSTED_NETWORK/network_test: {test!r} is not ping, dns, tcp or none")
    mac = answers.text("OVEHOSTED_VM/vmMACAddr").lower()
    if mac and not _MAC.fullmatch(mac):
        problems.append(f"OVEHOSTED_VM/vmMACAddr: {mac!r} is no MAC address")
    if kind not in BLOCK_DOMAINS and not (
        answers.text("OVEHOSTED_VM/ovfArchive") or answers.text("OVEHOSTED_STORAGE/imgSizeGB")
    ):
        problems.append("neither OVEHOSTED_VM/ovfArchive nor OVEHOSTED_STORAGE/imgSizeGB is given")
    return problems


def _conf(answers: Answers, paths: Paths, host_id: int) -> dict[str, str]:
    vm_conf = "/" + str(paths.vm_conf.relative_to(paths.root))
    return {
        "fqdn": answers.text("OVEHOSTED_NETWORK/fqdn"),
        "storage": answers.text("OVEHOSTED_STORAGE/storageDomainConnection"),
        "nfs_version": answers.text("OVEHOSTED_STORAGE/nfsVersion", "auto"),
        "mnt_options": answers.text("OVEHOSTED_STORAGE/mntOptions"),
        "conf": vm_conf,
        "host_id": str(host_id),
        "console": answers.text("OVEHOSTED_VDSM/consoleType", "vnc"),
        "domainType": answers.text("OVEHOSTED_STORAGE/domainType"),
        "spUUID": BLANK_UUID,
        "gateway": answers.text("OVEHOSTED_NETWORK/gateway"),
        "bridge": answers.text("OVEHOSTED_NETWORK/bridgeName", "ovirtmgmt"),
        "network_test": answers.text("OVEHOSTED_NETWORK/network_test", "dns"),
        "tcp_t_address": answers.text("OVEHOSTED_NETWORK/network_test_tcp_address"),
        "tcp_t_port": answers.text("OVEHOSTED_NETWORK/network_test_tcp_port"),
        "vdsm_use_ssl": "true",
    }


def _require_plain(conf: Mapping[str, str]) -> None:
    wrong = [key for key, value in conf.items() if not _PLAIN.fullmatch(value)]
    if wrong:
        raise AnswersError(
            f"blanks, quotes and shell characters cannot be used for {', '.join(wrong)}"
        )


def _vm(answers: Answers, domain: StorageDomain, conf: Mapping[str, str], mac: str) -> VmSpec:
    lease, offset_bytes = domain.vm_lease
    return VmSpec(
        uuid=conf["vmid"],
        memory_mib=answers.number("OVEHOSTED_VM/vmMemSizeMB", 16384),
        vcpus=answers.number("OVEHOSTED_VM/vmVCpus", 4),
        machine=answers.text("OVEHOSTED_VM/emulatedMachine", "pc"),
        cpu_model=answers.text("OVEHOSTED_VDSM/cpu").removeprefix("model_"),
        mac=mac,
        bridge=conf["bridge"],
        disk=domain.prepared(domain.engine_disk),
        disk_is_block=domain.is_block,
        image=domain.engine_disk.image,
        volume=domain.engine_disk.volume,
        sd_uuid=domain.sd_uuid,
        lease=lease,
        lease_offset_bytes=offset_bytes,
        cdrom=answers.text("OVEHOSTED_VM/vmCDRom"),
    )


def _mac_of(vm_uuid: str) -> str:
    """Return an address in the range of virtual machines, drawn with the VM's UUID."""
    tail = vm_uuid.replace("-", "")[-6:]
    return ":".join(("00", "16", "3e", tail[:2], tail[2:4], tail[4:]))
