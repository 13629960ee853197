"""`--get-shared-config` and `--set-shared-config`, with the archive on a real file."""

import hashlib
from pathlib import Path

import pytest

from ha.answers import read_answers
from ha.conf_archive import ARCHIVE_BYTES, MEMBERS, pack, unpack
from ha.core.sighting import VmState
from ha.deploy_plan import plan_first_host
from ha.storage_connect import connect
from tests.ha.cli.sim import SimHost
from tests.ha.cli.stopped import domain_of


@pytest.fixture
def volume(host: SimHost) -> Path:
    """The configuration volume of a storage domain that is connected."""
    domain = domain_of(host)
    for each in domain.volumes:
        host.write(domain.place(each), "")
    host.write(domain.ids, "")
    host.uuids = 0
    plan = plan_first_host(read_answers([host.root / "answers"]), host.paths, host._new_uuid)
    place = domain.place(domain.configuration)
    place.write_bytes(pack(plan.archive("now")))
    connect(domain, mount=host.mount)
    host.write(host.paths.ha_conf, "local_maintenance=False\nlocal_maintenance_manual=False\n")
    return place


def shared(volume: Path, name: str) -> str:
    return unpack(volume.read_bytes())[name]


def backups(host: SimHost) -> list[Path]:
    return sorted((host.paths.state / "backups").glob("*"))


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (("smtp-port",), "\nsmtp-port : 25, type : broker\n"),
        (("email.smtp-port", "--type=broker"), "\nemail.smtp-port : 25, type : broker\n"),
        (
            ("--type=broker", "state_transition"),
            "state_transition : maintenance|start|stop|up|down",
        ),
        (("fqdn", "--type=he_shared"), "\nfqdn : engine.lab, type : he_shared\n"),
        (("fqdn", "--type=he_local"), "\nfqdn : engine.lab, type : he_local\n"),
        (("local_maintenance",), "\nlocal_maintenance : False, type : ha\n"),
        (("iscsi_paths_blacklist", "--type=he_local"), "iscsi_paths_blacklist : None"),
        (("memSize", "--type=vm"), "\nmemSize : 96, type : vm\n"),
    ],
)
def test_get(host: SimHost, volume: Path, arguments: tuple[str, ...], answer: str) -> None:
    assert host.run("--get-shared-config", *arguments) == 0, host.complained
    assert answer in host.said


@pytest.mark.parametrize("verb", ["--get-shared-config", "--set-shared-config"])
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("fqdn", "x"), "Duplicate key fqdn, please specify the key type. Available types are:"
         " ['he_local', 'he_shared']"),
        (("fqnd", "x", "--type=he_local"), "Invalid configuration key fqnd.\nAvailable keys are:\n"
         "he_local : ['bridge', 'conf',"),
        (("fqdn", "x", "--type=broker"), "Invalid configuration key fqdn."),
        (("fqdn", "x", "--type=he_conf"), "Invalid configuration type he_conf, supported types"
         " are: ['he_local', 'broker', 'he_shared', 'ha']"),
        (("fqdn", "x", "more"), "Invalid option 'more'"),
        (("fqdn", "x", "--typ=ha"), "Invalid option '--typ=ha'"),
        (("fqdn", "x", "--type"), "Option '--type=' needs a value"),
        (("", "x"), "You must specify a key to "),
    ],
)  # fmt: skip
def test_refused(
    host: SimHost, volume: Path, verb: str, arguments: tuple[str, ...], complaint: str
) -> None:
    before = volume.read_bytes()
    if verb.startswith("--get"):
        arguments = tuple(each for each in arguments if each != "x")
    assert host.run(verb, *arguments) == 1
    assert host.complained.startswith(complaint)
    assert host.out == []
    assert volume.read_bytes() == before


def test_without_key_or_value(host: SimHost, volume: Path) -> None:
    assert host.run("--get-shared-config") == 1
    assert host.complained == "You must specify a key to get"
    assert host.run("--set-shared-config", "--type=ha") == 1
    assert host.complained == "You must specify a key to set"
    assert host.run("--set-shared-config", "fqdn") == 1
    assert host.complained == "You must specify a new value to set"


def test_set_replaces_one_value_in_the_archive(host: SimHost, volume: Path) -> None:
    before = volume.read_bytes()
    arguments = ("destination-emails", "ops@example.com, root@example.com", "--type=broker")
    assert host.run("--set-shared-config", *arguments) == 0, host.complained
    assert "destination-emails is ops@example.com, root@example.com, type : broker" in host.said
    assert volume.stat().st_size == ARCHIVE_BYTES
    old, new = unpack(before), unpack(volume.read_bytes())
    assert [name for name in MEMBERS if old[name] != new[name]] == ["broker.conf"]
    line = "destination-emails=root@localhost"
    wanted = old["broker.conf"].replace(line, f"destination-emails={arguments[1]}")
    assert new["broker.conf"] == wanted


def test_the_old_archive_is_kept_with_its_checksum(host: SimHost, volume: Path) -> None:
    before = volume.read_bytes()
    assert host.run("--set-shared-config", "smtp-port", "26") == 0, host.complained
    (backup,) = backups(host)
    assert backup.read_bytes() == before
    assert f"sha256 {hashlib.sha256(before).hexdigest()}" in host.said
    assert f"dd if={backup} of=" in host.said
    assert host.run("--set-shared-config", "smtp-port", "27") == 0, host.complained
    assert len(backups(host)) == 2, "two in one second have a backup each"


def test_a_value_that_is_there_already_is_not_written(host: SimHost, volume: Path) -> None:
    assert host.run("--set-shared-config", "smtp-port", "25") == 0
    assert host.said == "smtp-port is 25 already, type : broker"
    assert backups(host) == []


def test_an_archive_that_somebody_else_changes_meanwhile_is_left_alone(
    host: SimHost, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = unpack(volume.read_bytes())
    others = pack({**files, "fhanswers.conf": "[environment:default]\n"})
    real_keep = "ha.cli.shared_config.keep"

    def keep(host: object, name: str, data: bytes) -> Path:
        volume.write_bytes(others)
        return Path(name)

    monkeypatch.setattr(real_keep, keep)
    assert host.run("--set-shared-config", "smtp-port", "26") == 1
    assert host.complained == (
        "The configuration was not changed. Update failed. The configuration file was changed by"
        " somebody else, try again."
    )
    assert volume.read_bytes() == others


def test_a_write_that_storage_forgets_is_no_success(
    host: SimHost, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ha.direct_io.os.pwritev", lambda *arguments: ARCHIVE_BYTES)
    assert host.run("--set-shared-config", "smtp-port", "26") == 1
    assert "are not what was written" in host.complained


def test_a_key_that_may_be_absent_is_added(host: SimHost, volume: Path) -> None:
    text = shared(volume, "hosted-engine.conf").replace("tcp_t_port=\n", "")
    volume.write_bytes(pack({**unpack(volume.read_bytes()), "hosted-engine.conf": text}))
    assert host.run("--set-shared-config", "tcp_t_port", "22", "--type=he_shared") == 0
    assert shared(volume, "hosted-engine.conf") == text + "tcp_t_port=22\n"


def test_he_local_changes_this_hosts_file_only(host: SimHost, volume: Path) -> None:
    before, file = volume.read_bytes(), host.paths.hosted_engine_conf
    text = file.read_text()
    file.chmod(0o640)
    assert host.run("--set-shared-config", "gateway", "10.88.0.254", "--type=he_local") == 0
    assert file.read_text() == text.replace("gateway=10.88.0.1", "gateway=10.88.0.254")
    assert file.stat().st_mode & 0o777 == 0o640
    assert volume.read_bytes() == before
    assert [backup.read_text() for backup in backups(host)] == [text]


def test_he_local_needs_no_storage(host: SimHost) -> None:
    assert host.run("--get-shared-config", "fqdn", "--type=he_local") == 0, host.complained
    assert host.run("--get-shared-config", "fqdn") == 1
    assert "run hosted-engine --connect-storage first\nA type names one file" in host.complained


@pytest.mark.parametrize(
    ("kind", "pair", "complaint"),
    [
        ("he_local", ("host_id", "0"), "host_id: '0' is no number from 1 to 2000"),
        ("he_shared", ("network_test", "arp"), "network_test: 'arp' is unknown"),
        ("he_shared", ("network_test", "tcp"), "tcp_t_address: is missing"),
        ("he_shared", ("mnt_options", "a b"), "shells read hosted-engine.conf"),
        ("he_local", ("mnt_options", "$(reboot)"), "shells read hosted-engine.conf"),
        ("broker", ("smtp-port", "many"), "smtp-port: 'many' is no number"),
        ("broker", ("state_transition", "("), "is no regular expression"),
        ("broker", ("source-email", "a\nb"), "cannot be written in one line"),
        ("broker", ("source-email", " a"), "cannot be written in one line"),
        ("ha", ("local_maintenance", "perhaps"), "'perhaps' is neither True nor False"),
        ("vm", ("memSize", "128"), "Configuration type vm cannot be updated"),
    ],
)
def test_what_would_break_the_file_is_not_written(
    host: SimHost, volume: Path, kind: str, pair: tuple[str, str], complaint: str
) -> None:
    before = volume.read_bytes(), host.paths.hosted_engine_conf.read_text()
    assert host.run("--set-shared-config", *pair, f"--type={kind}") == 1
    assert complaint in host.complained
    assert (volume.read_bytes(), host.paths.hosted_engine_conf.read_text()) == before
    assert backups(host) == []


def test_a_file_that_is_wrong_may_be_set_right(host: SimHost, volume: Path) -> None:
    files = unpack(volume.read_bytes())
    broken = files["broker.conf"].replace("smtp-port=25", "smtp-port=x")
    volume.write_bytes(pack({**files, "broker.conf": broken}))
    assert host.run("--set-shared-config", "smtp-port", "25") == 0, host.complained
    assert shared(volume, "broker.conf") == files["broker.conf"]


@pytest.mark.parametrize("state", [VmState.UP, VmState.UNKNOWN])
def test_local_maintenance_is_no_way_around_the_engine_vm(
    host: SimHost, volume: Path, state: VmState
) -> None:
    host.vm.state = state
    assert host.run("--set-shared-config", "local_maintenance", "True") == 1
    assert host.complained.startswith("Unable to enter local maintenance mode:")
    assert "True" not in host.paths.ha_conf.read_text()
    assert host.run("--set-shared-config", "local_maintenance", "no") == 0


def test_local_maintenance(host: SimHost, volume: Path) -> None:
    assert host.run("--set-shared-config", "local_maintenance_manual", "true") == 0
    text = "local_maintenance=False\nlocal_maintenance_manual=True\n"
    assert host.paths.ha_conf.read_text() == text


@pytest.mark.parametrize("data", [b"", bytes(ARCHIVE_BYTES), b"x" * ARCHIVE_BYTES])
def test_no_archive(host: SimHost, volume: Path, data: bytes) -> None:
    volume.write_bytes(data)
    assert host.run("--set-shared-config", "smtp-port", "26") == 1
    assert "shared configuration" in host.complained
    assert volume.read_bytes() == data
