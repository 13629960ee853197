"""clean-reinstall removes a storage domain only where it is proven to be the failed one's."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from flows.clean_reinstall import clean_reinstall
from ha.core.record import Record, encode_record
from tasks.refusal import CheckRefused
from tasks.steps import StepFailed
from tests.failed_install import (
    CLEAN,
    CONF,
    KEPT_ANSWERS,
    MOUNT,
    PURGE,
    FailedInstall,
    changes,
    failed_install,
    outcomes,
    refused,
    silent,
)
from tests.fake_cluster import unreachable
from tests.fake_host import SD, UP


@pytest.fixture
def failed(tmp_path: Path) -> Iterator[FailedInstall]:
    with failed_install(tmp_path) as failed:
        yield failed


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


@pytest.mark.parametrize("daemon", ["libvirt", "sanlock"])
def test_it_refuses_to_purge_where_another_host_cannot_say(tmp_path: Path, daemon: str) -> None:
    with failed_install(tmp_path, ids=(1, 2)) as failed:
        silent(failed.cluster.hosts["h2"], daemon)
        refused(failed, f"h2: {daemon} there does not answer", purge_storage=True)


UNREADABLE_FILE = """#!/bin/sh
case "$*" in *images/l/*) echo "Permission denied" >&2; exit 1 ;; esac
exec /bin/dd "$@"
"""
UNREADABLE_FOLDER = """#!/bin/sh
/usr/bin/find "$@"; code=$?
case "$*" in *"-type f"*) echo "Stale file handle" >&2; exit 1 ;; esac
exit $code
"""


@pytest.mark.parametrize(
    ("tool", "script", "match"),
    [
        ("dd", UNREADABLE_FILE, "cannot read all of .*Permission denied"),
        ("find", UNREADABLE_FOLDER, "cannot read all of .*Stale file handle"),
    ],
)
def test_what_cannot_be_read_is_not_quiet(
    failed: FailedInstall, tool: str, script: str, match: str
) -> None:
    (failed.domain / "images/l").mkdir()
    (failed.domain / "images/l/leases").touch()
    (failed.host.root / "bin" / tool).write_text(script)
    (failed.host.root / "bin" / tool).chmod(0o755)
    failed.cluster.answers = [CLEAN, PURGE]
    with pytest.raises(CheckRefused, match=match):
        clean_reinstall.fn("lab", "h1", purge_storage=True)
    assert failed.domain.is_dir()
    assert [gate for gate, _ in failed.cluster.asked] == ["approve_cleaning"]


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


def test_what_is_written_last_stops_the_removal_itself(failed: FailedInstall) -> None:
    def write(argv: Sequence[str]) -> None:
        if "require_still_purgeable" in {e.step for e in outcomes(failed)}:
            (failed.domain / "new").write_text("x")

    failed.host.before = write
    failed.cluster.answers = [CLEAN, PURGE]
    with pytest.raises(StepFailed, match="has changed since it was watched"):
        clean_reinstall.fn("lab", "h1", purge_storage=True)
    assert (failed.domain / "new").exists()


def test_what_appears_beside_it_last_stops_the_removal_itself(failed: FailedInstall) -> None:
    def write(argv: Sequence[str]) -> None:
        if "require_still_purgeable" in {e.step for e in outcomes(failed)}:
            (failed.domain.parent / "somebody-elses").mkdir(exist_ok=True)

    failed.host.before = write
    failed.cluster.answers = [CLEAN, PURGE]
    with pytest.raises(StepFailed, match="somebody-elses"):
        clean_reinstall.fn("lab", "h1", purge_storage=True)
    assert failed.domain.is_dir()
