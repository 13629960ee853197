"""clean-reinstall refuses: what it must not touch, before and while it runs."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from flows.clean_reinstall import clean_reinstall
from tasks.refusal import CheckRefused
from tasks.steps import StepFailed
from tests.failed_install import (
    CLEAN,
    CONF,
    LEFT,
    FailedInstall,
    changes,
    failed_install,
    nothing_left,
    refused,
    silent,
)
from tests.fake_cluster import unreachable
from tests.fake_host import SD


@pytest.fixture
def failed(tmp_path: Path) -> Iterator[FailedInstall]:
    with failed_install(tmp_path) as failed:
        yield failed


def no_host(failed: FailedInstall) -> None:
    failed.host.trouble = unreachable("h1")


def node(failed: FailedInstall) -> None:
    (failed.host.root / "bin/nodectl").write_text("#!/bin/sh\n")
    (failed.host.root / "bin/nodectl").chmod(0o755)


def foreign_vm(failed: FailedInstall) -> None:
    failed.add_vm("mail")


def paused_vm(failed: FailedInstall) -> None:
    failed.add_vm("mail", "paused")


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


@pytest.mark.parametrize(
    ("answers", "match"),
    [
        ("/var/lib/none", "no answer file /var/lib/none"),
        ("/etc/ovirt-hosted-engine/answers.conf", "on the list of removal"),
        ("/var/lib/link-to-them", "on the list of removal"),
        ("/var/tmp/localvm7x/images/disk", "in /var/tmp/localvm7x, which is on the list"),
    ],
)
def test_it_refuses_answers_that_would_not_be_there_in_the_end(
    failed: FailedInstall, answers: str, match: str
) -> None:
    link = failed.path("var/lib/link-to-them")
    link.symlink_to(failed.path("etc/ovirt-hosted-engine/answers.conf"))
    refused(failed, match, answer_file=answers)


@pytest.mark.parametrize("daemon", ["libvirt", "sanlock", "systemd"])
def test_it_refuses_where_a_daemon_does_not_say_what_runs(
    failed: FailedInstall, daemon: str
) -> None:
    silent(failed.host, daemon)
    refused(failed, f"no answer from {daemon}")


def test_it_refuses_when_sanlock_does_not_say_who_lives(failed: FailedInstall) -> None:
    failed.host.set("host-status-dead", "yes")
    refused(failed, "does not say who lives in hosted-engine")


def test_a_sanlock_that_is_off_is_no_obstacle(failed: FailedInstall) -> None:
    failed.host.set("sanlock-dead", "yes")
    failed.cluster.answers = [CLEAN]
    clean_reinstall.fn("lab", "h1")
    assert failed.there() == set()


def test_a_libvirt_that_falls_silent_stops_the_removal_of_the_vms(failed: FailedInstall) -> None:
    def fall_silent(argv: Sequence[str]) -> None:
        if "stop_units" in changes(failed):
            silent(failed.host, "libvirt")

    failed.host.before = fall_silent
    failed.cluster.answers = [CLEAN]
    with pytest.raises(CheckRefused, match="no answer from libvirt"):
        clean_reinstall.fn("lab", "h1")
    assert failed.there() == set(LEFT)


def test_df_that_nobody_understands_is_no_room(failed: FailedInstall) -> None:
    failed.host.set("df", "fs - - - - /var")
    refused(failed, "cannot understand df")


def test_its_own_failed_agent_is_no_obstacle(failed: FailedInstall) -> None:
    """The agent of the failed installation writes, alone; it is stopped."""
    failed.host.set("ovirt-ha-agent", "active")
    failed.cluster.publish()
    failed.cluster.answers = [CLEAN]
    clean_reinstall.fn("lab", "h1")
    assert failed.there() == set()


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
