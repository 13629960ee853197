"""What a deployment will make, worked out and checked before anything is touched."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ha.answers import Answer, Answers, AnswersError, format_answers
from ha.conf_archive import ARCHIVE_VERSION, pack
from ha.config import BLOCK_DOMAINS, FILE_DOMAINS, Paths
from ha.config_host import MAX_PORT
from ha.core.record import MAX_HOST_ID
from ha.deploy_files import broker_conf_text, conf_text, conf_values, require_usable
from ha.storage_domain import StorageDomain, StorageError, storage_domain_of
from ha.vm_domain import VmSpec, vm_conf_text

GIB = 1024**3
# The most of each number: of MiB, processors, GiB, and ports.
_MOST = {
    "OVEHOSTED_VM/vmMemSizeMB": 16 * 1024 * 1024,
    "OVEHOSTED_VM/vmVCpus": 4096,
    "OVEHOSTED_STORAGE/imgSizeGB": 1024 * 1024,
    "OVEHOSTED_STORAGE/iSCSIPortalPort": MAX_PORT,
    "OVEHOSTED_NETWORK/network_test_tcp_port": MAX_PORT,
    "OVEHOSTED_NOTIF/smtpPort": MAX_PORT,
}
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
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# What the lines of vm.conf can hold.
_WORDS = ("OVEHOSTED_VM/vmCDRom", "OVEHOSTED_VM/emulatedMachine", "OVEHOSTED_VDSM/cpu")
_WORD = re.compile(r"[^\s#,{}]+")
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
    conf = {**conf_values(answers, paths, host_id), **uuids}
    require_usable(paths, conf, broker_conf_text(answers))
    domain = storage_domain_of(conf, paths.root)
    image = answers.text("OVEHOSTED_VM/ovfArchive")
    mac = answers.text("OVEHOSTED_VM/vmMACAddr").lower() or _mac_of(conf["vmid"])
    complete = {**answers.values, **{key: uuids[conf] for key, conf in _UUIDS.items()}}
    complete |= {"OVEHOSTED_STORAGE/hostID": host_id, "OVEHOSTED_VM/vmMACAddr": mac}
    plan = Plan(
        domain=domain,
        host_id=host_id,
        conf=conf,
        vm=_vm(answers, domain, conf, mac),
        disk_image=paths.root / image.lstrip("/") if image else None,
        disk_bytes=answers.number("OVEHOSTED_STORAGE/imgSizeGB", 0) * GIB,
        answers=complete,
    )
    try:
        pack(plan.archive("now"))
    except StorageError as error:
        raise AnswersError(str(error)) from error
    return plan


def host_id_of(answers: Answers, *, default: int | None) -> int:
    """Return the host id that the answers give; raises AnswersError."""
    key = "OVEHOSTED_STORAGE/hostID"
    if default is None and not answers.given(key):
        raise AnswersError(
            f"{key} is missing: an additional host needs an id of its own, as in {key}=int:2"
        )
    host_id = answers.number(key, default or 0)
    if not 1 <= host_id <= MAX_HOST_ID:
        raise AnswersError(f"{key}: {host_id} is outside 1..{MAX_HOST_ID}")
    return host_id


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
    problems = [f"{key} is missing" for key in required if not answers.given(key)]
    if kind and kind not in FILE_DOMAINS + BLOCK_DOMAINS:
        known = ", ".join(FILE_DOMAINS + BLOCK_DOMAINS)
        problems.append(f"OVEHOSTED_STORAGE/domainType: {kind!r} is none of {known}")
    uuids = {key: answers.text(key) for key in _UUIDS if answers.given(key)}
    problems += [
        f"{key}: {text!r} is no UUID" for key, text in uuids.items() if not _UUID.fullmatch(text)
    ]
    words = {key: answers.text(key) for key in _WORDS if answers.given(key)}
    problems += [
        f"{key}: {text!r}: blanks and any of #,{{}} cannot be used"
        for key, text in words.items()
        if not _WORD.fullmatch(text)
    ]
    if test not in ("ping", "dns", "tcp", "none"):
        problems.append(f"OVEHOSTED_NETWORK/network_test: {test!r} is not ping, dns, tcp or none")
    mac = answers.text("OVEHOSTED_VM/vmMACAddr").lower()
    if mac and not _MAC.fullmatch(mac):
        problems.append(f"OVEHOSTED_VM/vmMACAddr: {mac!r} is no MAC address")
    if kind not in BLOCK_DOMAINS and not (
        answers.given("OVEHOSTED_VM/ovfArchive") or answers.given("OVEHOSTED_STORAGE/imgSizeGB")
    ):
        problems.append("neither OVEHOSTED_VM/ovfArchive nor OVEHOSTED_STORAGE/imgSizeGB is given")
    return [*problems, *_wrong_numbers(answers)]


def _wrong_numbers(answers: Answers) -> list[str]:
    given = {key: answers.number(key, most) for key, most in _MOST.items() if answers.given(key)}
    return [
        f"{key}: {number} is outside 1..{_MOST[key]}"
        for key, number in given.items()
        if not 1 <= number <= _MOST[key]
    ]


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
