"""The deployment of hosted engine on a host: the cluster's first, or an additional one.

Nothing is asked. The host's configuration is written last, as its presence means "deployed"; the
archive on the storage is written last there, as its presence means "a domain to join".
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ha.answers import Answer, Answers, AnswersError, format_answers
from ha.conf_archive import write_archive
from ha.config import BLOCK_DOMAINS, FILE_DOMAINS, ConfigError, Paths
from ha.config_broker import broker_conf_of
from ha.config_host import host_conf_of
from ha.config_text import key_values_of
from ha.core.record import Record, judge_block
from ha.deploy_files import conf_mode, conf_text
from ha.deploy_plan import Plan, host_id_of, plan_first_host
from ha.deploy_storage import (
    LOCKSPACE_NAME,
    Found,
    Sanlock,
    create_file_domain,
    empty_whiteboard,
    find_deployment,
    find_on_devices,
    initialise_leases,
    remedy_for,
)
from ha.deploy_vacant import require_vacant
from ha.disk_import import import_disk
from ha.env.ports import EnvError, Whiteboard
from ha.env.time_ports import Clock
from ha.services import Services, ServicesFailed
from ha.storage_connect import mount_storage, prepare_links, verify_devices
from ha.storage_domain import StorageDomain, StorageError, storage_domain_of
from ha.storage_owner import own_devices
from ha.whole_file import write_whole

UNITS = ("ovirt-ha-broker", "ovirt-ha-agent")
PUBLISH_LIMIT_SECONDS = 240.0
_POLL_SECONDS = 1.0


class DeployFailed(Exception):
    """Raised by deploy; `left` says what the attempt has left behind and how to remove it."""

    def __init__(self, message: str, left: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.left = left


@dataclass(frozen=True, slots=True)
class Tools:
    """What a deployment needs of the world."""

    paths: Paths
    host_name: str
    sanlock: Sanlock
    services: Services
    clock: Clock
    whiteboard: Callable[[Path], Whiteboard]
    mount: Callable[..., None]
    new_uuid: Callable[[], str]
    generated: Callable[[], str]
    say: Callable[[str], None]


@dataclass(slots=True)
class _Progress:
    """What has been made so far, newest last, and the lockspace that is to be left again."""

    left: list[str] = field(default_factory=list)
    leave: Callable[[], None] | None = None


def deploy(answers: Answers, tools: Tools) -> Mapping[str, Answer]:
    """Deploy this host, and return the complete answers; raises DeployFailed.

    Whatever ends it early, an interrupt as well: the host id is given back.
    """
    progress = _Progress()
    try:
        try:
            return _deploy(answers, tools, progress)
        finally:
            _give_back(progress)
    except (AnswersError, ConfigError, StorageError, EnvError, ServicesFailed, OSError) as error:
        raise DeployFailed(str(error), tuple(progress.left)) from error
    except KeyboardInterrupt:
        for left in progress.left:
            tools.say(f"Left behind: {left}")
        raise


def _give_back(progress: _Progress) -> None:
    if progress.leave is not None:
        try:
            progress.leave()
        except EnvError as trouble:
            progress.left.append(f"the lease on the host id: {trouble}")


def _deploy(answers: Answers, tools: Tools, progress: _Progress) -> Mapping[str, Answer]:
    found, plan = _find(answers, tools, progress)
    if found is None:
        assert plan is not None
        tools.say(f"Setting up a new storage domain {plan.domain.sd_uuid}")
        _make_storage(plan, tools, progress)
        files = plan.archive(tools.generated())
        conf, domain, complete = plan.conf, plan.domain, plan.answers
        prepare_links(domain)
        _take_host_id(domain, plan.host_id, tools, progress)
        write_archive(domain.place(domain.configuration), files)
    else:
        host_id = host_id_of(answers, default=None)
        files = found.files
        conf = _conf_of(found, host_id)
        complete = {**answers.values}
        domain = storage_domain_of(conf, tools.paths.root)
        tools.say(f"Joining the storage domain {domain.sd_uuid} as host {host_id}")
        if domain.is_block:
            own_devices(domain.device_places)
        prepare_links(domain)
        _take_host_id(domain, host_id, tools, progress)
    _write_host_files(tools.paths, {**files, "hosted-engine.conf": conf_text(conf)}, complete)
    progress.leave = None
    progress.left.append(
        f"this host's configuration: systemctl disable --now {' '.join(reversed(UNITS))};"
        f" rm {tools.paths.hosted_engine_conf}"
    )
    _start_services(domain, int(conf["host_id"]), tools)
    return complete


def _find(answers: Answers, tools: Tools, progress: _Progress) -> tuple[Found | None, Plan | None]:
    """Look whether the storage holds a hosted engine; without one, plan the first host."""
    kind = answers.text("OVEHOSTED_STORAGE/domainType")
    if kind in BLOCK_DOMAINS:
        plan = plan_first_host(answers, tools.paths, tools.new_uuid)
        verify_devices(plan.domain)
        found = find_on_devices(plan.domain)
        if found is None:
            require_vacant(plan.domain, plan.disk_image)
        return found, plan
    connection = answers.text("OVEHOSTED_STORAGE/storageDomainConnection")
    if kind not in FILE_DOMAINS:
        known = ", ".join((*FILE_DOMAINS, *BLOCK_DOMAINS))
        raise AnswersError(f"OVEHOSTED_STORAGE/domainType: {kind!r} is none of {known}")
    if not connection:
        raise AnswersError("OVEHOSTED_STORAGE/storageDomainConnection is missing")

    def mount(kind: str, source: str, target: Path, options: str) -> None:
        tools.mount(kind, source, target, options)
        progress.left.append(f"a mount: umount {target}")

    place = mount_storage(
        kind,
        connection,
        tools.paths.root,
        options=answers.text("OVEHOSTED_STORAGE/mntOptions"),
        mount=mount,
    )
    found = find_deployment(place, answers.text("OVEHOSTED_STORAGE/sdUUID"))
    if found is not None:
        return found, None
    return None, plan_first_host(answers, tools.paths, tools.new_uuid)


def _conf_of(found: Found, host_id: int) -> dict[str, str]:
    """Return this host's hosted-engine.conf, from the archive's. Raises ConfigError."""
    label = Path(f"{found.archive}: hosted-engine.conf")
    conf = {**key_values_of(label, found.files["hosted-engine.conf"]), "host_id": str(host_id)}
    host_conf_of(label, conf)
    broker_conf_of(Path(f"{found.archive}: broker.conf"), found.files["broker.conf"])
    return conf


def _make_storage(plan: Plan, tools: Tools, progress: _Progress) -> None:
    domain = plan.domain
    image_bytes = plan.disk_image.stat().st_size if plan.disk_image is not None else 0
    if domain.is_block:
        own_devices(domain.device_places)
    else:
        create_file_domain(domain, max(plan.disk_bytes, image_bytes))
        progress.left.append(f"{domain.directory}: {remedy_for(domain.directory)}")
    empty_whiteboard(domain)
    initialise_leases(domain, tools.sanlock)
    if plan.disk_image is not None:
        tools.say(f"Importing {plan.disk_image}")
        import_disk(
            plan.disk_image,
            domain.place(domain.engine_disk),
            sparse=not domain.is_block,
            say=tools.say,
        )


def _take_host_id(domain: StorageDomain, host_id: int, tools: Tools, progress: _Progress) -> None:
    """Refuse a host id in use: by another host's block, or by a host that sanlock sees."""
    block = _block(domain, host_id, tools)
    if block is not None:
        record = judge_block(host_id, block).record
        if not isinstance(record, Record) or record.hostname != tools.host_name:
            name = record.hostname if isinstance(record, Record) else "a host that is not readable"
            raise StorageError(
                f"Host id {host_id} is in use by {name}, says the whiteboard. Choose another id, or"
                f" run on a deployed host: hosted-engine --clean-metadata --host-id={host_id}"
            )
        tools.say(f"Host id {host_id} was this host's before")
    tools.say(f"Taking host id {host_id}; this takes up to a few minutes")
    lockspace = tools.sanlock.lockspace(LOCKSPACE_NAME, domain.prepared(domain.lockspace))
    # First: sanlock goes on with a join that is interrupted.
    progress.leave = lambda: lockspace.leave(host_id)
    lockspace.join(host_id)


def _block(domain: StorageDomain, host_id: int, tools: Tools) -> bytes | None:
    whiteboard = tools.whiteboard(domain.prepared(domain.metadata))
    return whiteboard.read_blocks([host_id]).get(host_id)


def _write_host_files(
    paths: Paths, files: Mapping[str, str], answers: Mapping[str, Answer]
) -> None:
    write_whole(paths.broker_conf, files["broker.conf"], mode=0o644)
    if not paths.ha_conf.exists():
        flags = "local_maintenance=False\nlocal_maintenance_manual=False\n"
        write_whole(paths.ha_conf, flags, mode=0o644)
    write_whole(paths.vm_conf, files["vm.conf"], mode=0o640)
    write_whole(paths.answers_conf, format_answers(answers), mode=0o640)
    conf = files["hosted-engine.conf"]
    write_whole(paths.hosted_engine_conf, conf, mode=conf_mode(conf))


def _start_services(domain: StorageDomain, host_id: int, tools: Tools) -> None:
    """Start broker and agent, and wait until the agent has published its first record."""
    before = _block(domain, host_id, tools)
    for unit in UNITS:
        tools.services.enable_now(unit)
    tools.say("Broker and agent are started; waiting for the agent's first record")
    deadline = tools.clock.monotonic() + PUBLISH_LIMIT_SECONDS
    while _block(domain, host_id, tools) in (None, before):
        if tools.clock.monotonic() > deadline:
            raise StorageError(
                f"The agent has published nothing in {PUBLISH_LIMIT_SECONDS:.0f} s."
                f" See: journalctl -u {UNITS[0]} -u {UNITS[1]}"
            )
        tools.clock.sleep(_POLL_SECONDS)
