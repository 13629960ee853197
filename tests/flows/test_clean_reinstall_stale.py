"""clean-reinstall looks again before each command: the host may have come to life since."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from flows.clean_reinstall import clean_reinstall
from tasks.journal import Kind, Phase
from tasks.refusal import CheckRefused
from tasks.steps import StepFailed
from tests.failed_install import CLEAN, CONF, PURGE, FailedInstall, failed_install, outcomes
from tests.fake_host import SD

NEW = "vmid=new\nsdUUID=another-domain\n"
ANSWERS = "/var/lib/my-answers.conf"


@pytest.fixture
def failed(tmp_path: Path) -> Iterator[FailedInstall]:
    with failed_install(tmp_path) as failed:
        failed.path(ANSWERS.lstrip("/")).touch()
        failed.cluster.answers = [CLEAN, PURGE]
        yield failed


def deployed_by_hand(failed: FailedInstall) -> None:
    failed.path(CONF).write_text(NEW)
    failed.host.set("ovirt-ha-agent", "active")
    failed.host.set("ovirt-ha-agent.enabled", "enabled")
    failed.add_vm("HostedEngine")


def once_recorded(failed: FailedInstall, step: str, then: Callable[[], None]) -> None:
    """Let something happen when a step has been recorded, before anything else is asked."""
    todo = [then]

    def before(argv: Sequence[str]) -> None:
        if todo and any(entry.step == step for entry in outcomes(failed)):
            todo.pop()()

    failed.host.before = before


@pytest.mark.parametrize(
    ("recorded", "kept"),
    [
        ("require_still_failed", "stop_units"),
        ("stop_units", "remove_engine_vms"),
        ("remove_engine_vms", "leave_lockspaces"),
        ("leave_lockspaces", "remove_listed_files"),
        ("remove_listed_files", "remove_named_packages"),
        ("prove_clean", "deploy_again"),
    ],
)
def test_a_host_deployed_by_hand_meanwhile_is_left_alone(
    failed: FailedInstall, recorded: str, kept: str
) -> None:
    packages = kept == "remove_named_packages"
    once_recorded(failed, recorded, lambda: deployed_by_hand(failed))
    with pytest.raises(CheckRefused, match=f"not as it was approved.*{kept} was not begun"):
        clean_reinstall.fn(
            "lab", "h1", remove_packages=packages, answer_file=None if packages else ANSWERS
        )
    assert failed.path(CONF).read_text() == NEW
    assert failed.vms()["HostedEngine"] == "running"
    assert failed.host.get("ovirt-ha-agent") == "active"
    assert failed.host.get("packages") == "ovirt-hosted-engine-ha\nlibvirt"
    assert failed.host.get("deployed") == ""


def test_a_configuration_that_was_replaced_stops_the_run(failed: FailedInstall) -> None:
    def replace() -> None:
        failed.path(CONF).write_text(NEW)

    once_recorded(failed, "archive_remains", replace)
    with pytest.raises(CheckRefused, match=f"{CONF} is not as it was archived"):
        clean_reinstall.fn("lab", "h1")
    assert failed.path(CONF).read_text() == NEW


def test_a_cluster_that_comes_to_life_stops_the_run(failed: FailedInstall) -> None:
    def live() -> None:
        failed.cluster.strangers = {1: 100, 2: 100}
        failed.cluster.publish()

    once_recorded(failed, "require_still_failed", live)
    with pytest.raises(CheckRefused, match="live as host id 1 .*stop_units was not begun"):
        clean_reinstall.fn("lab", "h1")
    assert failed.host.get("ovirt-ha-broker") == "active"


def test_an_engine_that_comes_to_answer_stops_the_run(failed: FailedInstall) -> None:
    failed.add_vm("HostedEngine")
    once_recorded(failed, "stop_units", lambda: failed.host.set("answers", "yes"))
    with pytest.raises(CheckRefused, match="the engine answers; remove_engine_vms was not begun"):
        clean_reinstall.fn("lab", "h1")
    assert failed.vms()["HostedEngine"] == "running"


def test_an_archive_that_is_gone_stops_the_run(failed: FailedInstall) -> None:
    def remove() -> None:
        for place in failed.path("var/lib").rglob("remains.tar"):
            place.unlink()

    once_recorded(failed, "require_still_failed", remove)
    with pytest.raises(CheckRefused, match="there is no archive"):
        clean_reinstall.fn("lab", "h1")
    assert CONF in failed.there()


def test_the_removal_itself_compares_what_it_removes(failed: FailedInstall) -> None:
    journal, step = failed.cluster.world.journal, "remove_listed_files@h1"

    def before(argv: Sequence[str]) -> None:
        runs = journal.runs("lab")
        if runs and journal.find(runs[0].run_id, Kind.REMOTE, step, Phase.INTENT):
            failed.path(CONF).write_text(NEW)

    failed.host.before = before
    there = failed.there()
    with pytest.raises(StepFailed, match=f"{CONF} is not as it was archived"):
        clean_reinstall.fn("lab", "h1")
    assert failed.there() == there


@pytest.mark.parametrize(
    ("happens", "match"),
    [
        (deployed_by_hand, "not as it was approved"),
        (
            lambda failed: failed.cluster.hosts["h2"].set("lockspaces", f"s {SD}:2:/x:0"),
            "h2: sanlock there",
        ),
    ],
)
def test_a_storage_domain_that_is_used_again_stays(
    tmp_path: Path, happens: Callable[[FailedInstall], None], match: str
) -> None:
    with failed_install(tmp_path, ids=(1, 2)) as failed:
        failed.cluster.answers = [CLEAN, PURGE]
        once_recorded(failed, "require_still_purgeable", lambda: happens(failed))
        with pytest.raises(CheckRefused, match=match):
            clean_reinstall.fn("lab", "h1", purge_storage=True)
        assert failed.domain.is_dir()
