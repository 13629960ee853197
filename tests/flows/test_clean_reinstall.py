"""The runbook clean-reinstall, whole, on a fake host with a failed installation."""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from flows.clean_reinstall import clean_reinstall
from ha.core.record import Record, encode_record
from tasks.gates import GateRejected
from tasks.journal import Entry, Kind, Phase
from tasks.refusal import CheckRefused
from tasks.reinstall_archive import ArchiveWrong
from tasks.reinstall_changes import NotRemoved
from tasks.steps import StepFailed
from tests.failed_install import CONF, KEPT_ANSWERS, LEFT, MOUNT, FailedInstall, failed_install
from tests.fake_cluster import APPROVED, REJECTED, unreachable
from tests.fake_host import SD, UP

CLEAN = {**APPROVED, "target": "h1"}
PURGE = {**APPROVED, "target": SD}


@pytest.fixture
def failed(tmp_path: Path) -> Iterator[FailedInstall]:
    with failed_install(tmp_path) as failed:
        yield failed


def refused(failed: FailedInstall, match: str, **parameters: Any) -> None:
    """Run it; it must be refused before anything is asked or changed."""
    before = (failed.there(), failed.vms(), failed.host.get("ovirt-ha-broker"))
    with pytest.raises(CheckRefused, match=match):
        clean_reinstall.fn("lab", "h1", **parameters)
    assert failed.cluster.asked == []
    assert (failed.there(), failed.vms(), failed.host.get("ovirt-ha-broker")) == before
    assert way_back(failed) == "Nothing has been changed."


def way_back(failed: FailedInstall) -> str:
    journal = failed.cluster.world.journal
    run_id = journal.runs("lab")[0].run_id
    note = journal.find(run_id, Kind.RUN, "way_back", Phase.NOTE)
    assert note is not None
    return "\n".join(note.payload["lines"])


def test_what_was_left_is_gone_and_nothing_else(failed: FailedInstall) -> None:
    failed.add_vm("mail", "shut off")
    failed.cluster.answers = [CLEAN]
    clean_reinstall.fn("lab", "h1")
    assert failed.there() == set()
    assert failed.vms() == {"mail": "shut off"}
    assert failed.path(KEPT_ANSWERS).exists()
    assert not failed.path(f"run/vdsm/storage/{SD}").exists()
    assert failed.host.get("ovirt-ha-broker") == "inactive"
    assert failed.host.get("ovirt-ha-broker.enabled") == "disabled"
    assert failed.host.get("lockspaces") == "s other:1:/elsewhere:0"
    assert failed.host.get("packages") == "ovirt-hosted-engine-ha\nlibvirt"
    assert failed.domain.is_dir()
    assert [gate for gate, _ in failed.cluster.asked] == ["approve_cleaning"]


def test_the_gate_shows_every_name_and_the_way_back(failed: FailedInstall) -> None:
    failed.cluster.answers = [CLEAN]
    clean_reinstall.fn("lab", "h1")
    [(_, evidence)] = failed.cluster.asked
    for name in LEFT[:5]:
        assert f"rm -- /{name}" in evidence
    for wanted in ("virsh destroy HostedEngineLocal", "remains.tar", "SHA-256", "left alone"):
        assert wanted in evidence
    assert "secret" not in evidence


def test_the_storage_domain_goes_when_its_id_is_typed(failed: FailedInstall) -> None:
    (failed.domain.parent / "__DIRECT_IO_TEST__").touch()
    failed.cluster.answers = [CLEAN, PURGE]
    clean_reinstall.fn("lab", "h1", purge_storage=True)
    assert [each.name for each in failed.domain.parent.iterdir()] == ["__DIRECT_IO_TEST__"]
    evidence = failed.cluster.asked[1][1]
    assert f"rm -r --one-file-system -- {MOUNT}/{SD}" in evidence
    assert "no way back" in evidence


def test_a_storage_domain_that_is_all_that_is_left_goes(failed: FailedInstall) -> None:
    """The deployment broke off before it wrote anything on the host but its answers."""
    nothing_left(failed)
    failed.cluster.answers = [CLEAN, PURGE]
    clean_reinstall.fn("lab", "h1", purge_storage=True)
    assert not failed.domain.exists()


def test_the_storage_domain_stays_when_the_purge_is_rejected(failed: FailedInstall) -> None:
    failed.cluster.answers = [CLEAN, {**REJECTED, "target": SD}]
    with pytest.raises(GateRejected):
        clean_reinstall.fn("lab", "h1", purge_storage=True)
    assert failed.domain.is_dir()
    # The files that name the domain are still there, so that the run can be started again.
    assert CONF in failed.there()
    failed.cluster.answers = [CLEAN, PURGE]
    clean_reinstall.fn("lab", "h1", purge_storage=True)
    assert not failed.domain.exists()
    assert failed.there() == set()


def test_a_deployment_follows_when_answers_are_named(failed: FailedInstall) -> None:
    failed.path("var/lib/my-answers.conf").touch()
    failed.cluster.answers = [CLEAN]
    clean_reinstall.fn("lab", "h1", answer_file="/var/lib/my-answers.conf")
    assert failed.host.get("deployed") == "--config-append=/var/lib/my-answers.conf"


def test_missing_answers_leave_a_clean_host(failed: FailedInstall) -> None:
    failed.cluster.answers = [CLEAN]
    with pytest.raises(CheckRefused, match="no answer file /var/lib/none"):
        clean_reinstall.fn("lab", "h1", answer_file="/var/lib/none")
    assert failed.there() == set()


def test_packages_go_by_their_names_when_asked(failed: FailedInstall) -> None:
    failed.cluster.answers = [CLEAN]
    clean_reinstall.fn("lab", "h1", remove_packages=True)
    assert failed.host.get("packages") == "libvirt"


def test_a_rejection_leaves_all_but_the_archive(failed: FailedInstall) -> None:
    before = (failed.there(), failed.vms())
    failed.cluster.answers = [{**REJECTED, "target": "h1"}]
    with pytest.raises(GateRejected):
        clean_reinstall.fn("lab", "h1")
    assert (failed.there(), failed.vms()) == before
    assert failed.host.get("ovirt-ha-broker") == "active"


def test_the_way_back_that_is_told_brings_everything_back(failed: FailedInstall) -> None:
    contents = {name: failed.path(name).read_text() for name in LEFT[:5]}
    failed.cluster.answers = [CLEAN]
    clean_reinstall.fn("lab", "h1")
    assert failed.there() == set()
    for command in archive(failed)["way_back"]:
        line = command.replace(" /var/", f" {failed.host.root}/var/")
        assert failed.host.run(["sh", "-c", line]).exit_code == 0, line
    assert {name: failed.path(name).read_text() for name in LEFT[:5]} == contents
    assert failed.path(f"run/vdsm/storage/{SD}/i/v").is_symlink()
    assert failed.vms() == {"HostedEngineLocal": "shut off"}
    assert failed.host.get("ovirt-ha-broker") == "active"


def test_a_run_that_fails_tells_that_way_back(failed: FailedInstall) -> None:
    failed.host.set("unstoppable", "yes")
    failed.cluster.answers = [CLEAN]
    with pytest.raises(NotRemoved, match="ovirt-ha-broker"):
        clean_reinstall.fn("lab", "h1")
    for command in archive(failed)["way_back"]:
        assert f"on h1: {command}" in way_back(failed)


def test_the_archive_is_on_both_sides_and_closed_to_others(failed: FailedInstall) -> None:
    failed.cluster.answers = [CLEAN]
    clean_reinstall.fn("lab", "h1")
    kept = archive(failed)
    copy, own = Path(kept["copy"]), Path(failed.host.here(kept["path"]))
    assert copy.read_bytes() == own.read_bytes()
    assert {copy.stat().st_mode & 0o777, own.stat().st_mode & 0o777} == {0o600}
    assert hashlib.sha256(own.read_bytes()).hexdigest() == kept["sha256"]


def test_an_archive_that_is_not_whole_stops_the_run(failed: FailedInstall) -> None:
    broken = failed.host.root / "bin/tar"
    broken.write_text(
        '#!/bin/sh\ncase $1 in -d*) echo "Contents differ"; exit 1 ;; esac\n'
        'exec /usr/bin/tar "$@"\n'
    )
    broken.chmod(0o755)
    with pytest.raises(ArchiveWrong, match="nothing was removed"):
        clean_reinstall.fn("lab", "h1")
    assert failed.there() == set(LEFT)
    assert failed.cluster.asked == []


# -- refusals ----------------------------------------------------------------------------------


def no_host(failed: FailedInstall) -> None:
    failed.host.trouble = unreachable("h1")


def node(failed: FailedInstall) -> None:
    (failed.host.root / "bin/nodectl").write_text("#!/bin/sh\n")
    (failed.host.root / "bin/nodectl").chmod(0o755)


def foreign_vm(failed: FailedInstall) -> None:
    failed.add_vm("mail")


def paused_vm(failed: FailedInstall) -> None:
    failed.add_vm("mail", "paused")


def nothing_left(failed: FailedInstall) -> None:
    for name in LEFT:
        failed.path(name).unlink()
    shutil.rmtree(failed.path("var/tmp/localvm7x"))
    shutil.rmtree(failed.path(f"run/vdsm/storage/{SD}"))
    (failed.path("state/vms") / "HostedEngineLocal").unlink()
    failed.host.set("ovirt-ha-broker", "inactive")
    failed.host.set("ovirt-ha-broker.enabled", "disabled")
    failed.host.set("ovirt-ha-agent.enabled", "disabled")
    failed.host.set("lockspaces", "s other:1:/elsewhere:0")


def live_elsewhere(failed: FailedInstall) -> None:
    """The host writes to a whiteboard that is not the failed installation's."""
    text = failed.path(CONF).read_text()
    failed.path(CONF).write_text(text.replace(SD, "another-domain"))
    failed.cluster.strangers = {1: 100}
    failed.cluster.publish()


def live_with_others(failed: FailedInstall) -> None:
    failed.cluster.strangers = {1: 100, 2: 100}
    failed.cluster.publish()


def live_peer_in_lockspace(failed: FailedInstall) -> None:
    failed.host.set("peer", "yes")


def engine_answers(failed: FailedInstall) -> None:
    failed.add_vm("HostedEngine")
    failed.host.set("answers", "yes")


def odd_domain(failed: FailedInstall) -> None:
    text = failed.path(CONF).read_text()
    failed.path(CONF).write_text(text.replace(SD, "../../etc"))


def no_room(failed: FailedInstall) -> None:
    failed.host.set("df", "fs 100 90 10 90% /var")


@pytest.mark.parametrize(
    ("arrange", "match"),
    [
        (no_host, "h1 .192.0.2.9, port 22.: no SSH"),
        (node, "is an oVirt Node"),
        (foreign_vm, "not hosted engine's: mail"),
        (paused_vm, "not hosted engine's: mail"),
        (nothing_left, "nothing to clean"),
        (live_elsewhere, "live as host id 1"),
        (live_with_others, "live as host id 1 .*live there: 1, 2"),
        (live_peer_in_lockspace, "live peers: hosted-engine: host id 2"),
        (engine_answers, "the engine answers"),
        (odd_domain, "names the storage domain '../../etc'"),
        (no_room, "KiB free"),
    ],
)
def test_it_refuses(
    failed: FailedInstall, arrange: Callable[[FailedInstall], None], match: str
) -> None:
    arrange(failed)
    refused(failed, match)


def test_it_refuses_a_host_outside_of_the_inventory(failed: FailedInstall) -> None:
    with pytest.raises(CheckRefused, match="no host `h9`"):
        clean_reinstall.fn("lab", "h9")


def test_it_refuses_to_deploy_without_packages(failed: FailedInstall) -> None:
    refused(failed, "needs the packages", remove_packages=True, answer_file="/root/a")


def test_its_own_failed_agent_is_no_obstacle(failed: FailedInstall) -> None:
    """The agent of the failed installation writes, alone; it is stopped."""
    failed.host.set("ovirt-ha-agent", "active")
    failed.cluster.publish()
    failed.cluster.answers = [CLEAN]
    clean_reinstall.fn("lab", "h1")
    assert failed.there() == set()


# -- refusals of the purge ---------------------------------------------------------------------


def nobody_names_it(failed: FailedInstall) -> None:
    for name in (CONF, "etc/ovirt-hosted-engine/answers.conf", KEPT_ANSWERS):
        failed.path(name).write_text("vmid=vm\n")


def block_storage(failed: FailedInstall) -> None:
    text = failed.path(CONF).read_text()
    failed.path(CONF).write_text(text.replace("domainType=nfs", "domainType=fc"))


def a_peer_once_published(failed: FailedInstall) -> None:
    failed.cluster.put(2, encode_record(Record(2, 5, 3400, UP, "h2", extra="state=EngineUp\n")))


def something_beside(failed: FailedInstall) -> None:
    (failed.domain.parent / "another-domain").mkdir()


def no_mount(failed: FailedInstall) -> None:
    failed.host.set("unmounted", "yes")


def two_of_them(failed: FailedInstall) -> None:
    (failed.domain.parent.parent / "other" / SD).mkdir(parents=True)


def none_of_them(failed: FailedInstall) -> None:
    text = failed.path(CONF).read_text()
    failed.path(CONF).write_text(text.replace(SD, "another-domain"))


def other_storage(failed: FailedInstall) -> None:
    text = failed.path(CONF).read_text()
    failed.path(CONF).write_text(text.replace("storage=srv:", "storage=other:"))


@pytest.mark.parametrize(
    ("arrange", "match"),
    [
        (nobody_names_it, "neither hosted-engine.conf nor the answers"),
        (block_storage, "on block storage"),
        (a_peer_once_published, "other hosts have published .*2: h2 .EngineUp"),
        (something_beside, "holds more than the failed storage domain: another-domain"),
        (no_mount, "not a mount of its own"),
        (two_of_them, "is 2 times below"),
        (none_of_them, "is 0 times below"),
        (other_storage, "names other:/export/he"),
    ],
)
def test_it_refuses_to_purge(
    failed: FailedInstall, arrange: Callable[[FailedInstall], None], match: str
) -> None:
    arrange(failed)
    refused(failed, match, purge_storage=True)
    assert failed.path(f"../shared{MOUNT}").resolve().is_dir()


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("lockspaces", f"s {SD}:2:/x:0", "h2: sanlock there: s"),
        ("vms/HostedEngine", "running", "h2: it runs the VM HostedEngine"),
        ("trouble", "", "h2 .192.0.2.9, port 22.: no SSH"),
    ],
)
def test_it_refuses_to_purge_what_another_host_uses(
    tmp_path: Path, key: str, value: str, match: str
) -> None:
    with failed_install(tmp_path, ids=(1, 2)) as failed:
        other = failed.cluster.hosts["h2"]
        if key == "trouble":
            other.trouble = unreachable("h2")
        else:
            other.set(key, value)
        refused(failed, match, purge_storage=True)
        assert failed.domain.is_dir()


def test_a_writer_nobody_knows_of_stops_the_purge(failed: FailedInstall) -> None:
    """A host outside of the inventory uses the storage, without a block of its own yet."""

    def write(argv: Sequence[str]) -> None:
        if "leave_lockspaces" in changes(failed):
            with (failed.domain / "ids").open("ab") as ids:
                ids.write(b"renewed")

    failed.host.before = write
    failed.cluster.answers = [CLEAN]
    with pytest.raises(CheckRefused, match="somebody writes below"):
        clean_reinstall.fn("lab", "h1", purge_storage=True)
    assert failed.domain.is_dir()


def test_what_changes_at_the_purge_gate_stops_it(failed: FailedInstall) -> None:
    def at_gate() -> None:
        if len(failed.cluster.asked) > 1:
            (failed.domain / "new").write_text("x")

    failed.cluster.answers, failed.cluster.at_gate = [CLEAN, PURGE], at_gate
    with pytest.raises(CheckRefused, match="has changed since it was watched"):
        clean_reinstall.fn("lab", "h1", purge_storage=True)
    assert failed.domain.is_dir()


def test_what_appears_beside_it_last_stops_the_removal_itself(failed: FailedInstall) -> None:
    def write(argv: Sequence[str]) -> None:
        if "require_still_purgeable" in {e.step for e in outcomes(failed)}:
            (failed.domain.parent / "somebody-elses").mkdir(exist_ok=True)

    failed.host.before = write
    failed.cluster.answers = [CLEAN, PURGE]
    with pytest.raises(StepFailed, match="somebody-elses"):
        clean_reinstall.fn("lab", "h1", purge_storage=True)
    assert failed.domain.is_dir()


def test_a_vm_that_starts_at_the_gate_stops_the_run(failed: FailedInstall) -> None:
    failed.cluster.answers, failed.cluster.at_gate = [CLEAN], lambda: failed.add_vm("mail")
    with pytest.raises(CheckRefused, match="not as it was approved: VM mail"):
        clean_reinstall.fn("lab", "h1")
    assert failed.there() == set(LEFT)


def test_a_file_that_became_a_link_is_not_followed(failed: FailedInstall) -> None:
    target = failed.path("precious")
    target.mkdir()
    (target / "data").touch()

    def swap(argv: Sequence[str]) -> None:
        place = failed.path("var/tmp/localvm7x")
        if "leave_lockspaces" in changes(failed) and not place.is_symlink():
            shutil.rmtree(place)
            place.symlink_to(target)

    failed.host.before = swap
    failed.cluster.answers = [CLEAN]
    with pytest.raises(StepFailed, match="has become a link"):
        clean_reinstall.fn("lab", "h1")
    assert (target / "data").exists()


def archive(failed: FailedInstall) -> Any:
    return next(e.payload["value"] for e in outcomes(failed) if e.step == "archive_remains")


def outcomes(failed: FailedInstall) -> list[Entry]:
    journal = failed.cluster.world.journal
    run_id = journal.runs("lab")[0].run_id
    return [e for e in journal.entries(run_id) if e.phase is Phase.OUTCOME]


def changes(failed: FailedInstall) -> set[str]:
    return {e.step for e in outcomes(failed) if e.kind is Kind.CHANGE}
