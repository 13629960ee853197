"""The runbook clean-reinstall, whole, on a fake host with a failed installation."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.clean_reinstall import clean_reinstall
from tasks.gates import GateRejected
from tasks.refusal import CheckRefused
from tasks.reinstall_archive import ArchiveWrong
from tasks.reinstall_changes import NotRemoved
from tests.failed_install import (
    CLEAN,
    CONF,
    KEPT_ANSWERS,
    LEFT,
    MOUNT,
    PURGE,
    FailedInstall,
    archive,
    failed_install,
    nothing_left,
    way_back_told,
)
from tests.fake_cluster import REJECTED
from tests.fake_host import SD


@pytest.fixture
def failed(tmp_path: Path) -> Iterator[FailedInstall]:
    with failed_install(tmp_path) as failed:
        yield failed


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


def test_answers_that_vanish_meanwhile_leave_a_clean_host(failed: FailedInstall) -> None:
    answers = failed.path("var/lib/my-answers.conf")
    answers.touch()
    failed.cluster.answers, failed.cluster.at_gate = [CLEAN], answers.unlink
    with pytest.raises(CheckRefused, match="no answer file /var/lib/my-answers.conf"):
        clean_reinstall.fn("lab", "h1", answer_file="/var/lib/my-answers.conf")
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
        assert f"on h1: {command}" in way_back_told(failed)


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
