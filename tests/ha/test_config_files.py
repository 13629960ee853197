"""What the loaders take, and that they name file, key and remedy when something is wrong."""

from pathlib import Path

import pytest

from ha.config import BLANK_UUID, ConfigError, HostedEngineConf, Paths
from ha.config_broker import read_broker_conf
from ha.config_files import (
    load_settings,
    read_agent_conf,
    read_hosted_engine_conf,
    read_key_values,
)


def uuid(number: int) -> str:
    return f"{number:08x}-1111-4111-8111-111111111111"


GOOD = {
    "host_id": "1",
    "vmid": uuid(1),
    "fqdn": "engine.example",
    "domainType": "nfs",
    "storage": "server:/he",
    "sdUUID": uuid(2),
    "metadata_image_UUID": uuid(3),
    "metadata_volume_UUID": uuid(4),
    "lockspace_image_UUID": uuid(5),
    "lockspace_volume_UUID": uuid(6),
    "conf_image_UUID": uuid(7),
    "conf_volume_UUID": uuid(8),
    "spUUID": BLANK_UUID,
    "gateway": "192.0.2.1",
    "bridge": "ovirtmgmt",
}


def written(path: Path, changes: dict[str, str | None]) -> Path:
    values = {key: value for key, value in (GOOD | changes).items() if value is not None}
    path.write_text("# ours\n" + "".join(f"{key}={value}\n" for key, value in values.items()))
    return path


def read(folder: Path, **changes: str | None) -> HostedEngineConf:
    return read_hosted_engine_conf(written(folder / "hosted-engine.conf", changes))


def test_a_good_file_is_read(tmp_path: Path) -> None:
    conf = read(tmp_path)
    assert (conf.host_id, conf.network_test, conf.configured) == (1, "ping", True)
    assert conf.conf_on_shared_storage
    assert not conf.on_block_storage


def test_unknown_keys_are_kept(tmp_path: Path) -> None:
    assert read(tmp_path, something_new="1").values["something_new"] == "1"


def test_a_configuration_of_before_3_6_is_told_apart(tmp_path: Path) -> None:
    assert not read(tmp_path, spUUID=uuid(9)).conf_on_shared_storage


@pytest.mark.parametrize(
    ("changes", "key", "words"),
    [
        ({"host_id": None}, "host_id", "is missing"),
        ({"host_id": "0"}, "host_id", "no number from 1 to 2000"),
        ({"host_id": "²"}, "host_id", "no number"),
        ({"configured": "yes"}, "configured", "neither True nor False"),
        ({"fqdn": "http://engine.example/"}, "fqdn", "no name or address of a host"),
        ({"gateway": "-f"}, "gateway", "no name or address of a host"),
        ({"storage": "-a:/he"}, "storage", "server:/path"),
        ({"storage": "/he"}, "storage", "server:/path"),
        ({"bridge": "ovirtmgmt 2"}, "bridge", "no name of a network"),
        ({"vmid": ""}, "vmid", "is missing"),
        ({"vmid": "engine"}, "vmid", "is no UUID"),
        ({"gateway": None, "gatewya": "192.0.2.1"}, "gatewya", "Did you mean gateway?"),
        ({"gateway": None}, "gateway", "network_test ping needs it"),
        ({"gateway": "192.0.2.256"}, "gateway", "is no address"),
        ({"network_test": "arp"}, "network_test", "ping, dns, tcp, none"),
        ({"network_test": "tcp"}, "tcp_t_address", "network_test tcp needs it"),
        ({"network_test": "none", "tcp_t_port": "70000"}, "tcp_t_port", "1 to 65535"),
        ({"domainType": "floppy"}, "domainType", "is unknown"),
        ({"storage": None}, "storage", "server:/path"),
        ({"domainType": "iscsi"}, "iqn", "is missing"),
        ({"lockspace_volume_UUID": uuid(4)}, "lockspace_volume_UUID", "metadata_volume_UUID"),
        ({"conf_volume_UUID": None}, "conf_volume_UUID", "counterpart"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, changes: dict[str, str | None], key: str, words: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, **changes)
    assert refused.value.key == key
    assert words in str(refused.value)
    assert str(tmp_path / "hosted-engine.conf") in str(refused.value)
    assert refused.value.remedy


def test_no_file_means_not_deployed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="hosted-engine --deploy"):
        read_hosted_engine_conf(tmp_path / "hosted-engine.conf")


def test_a_key_twice_is_refused_only_when_the_two_differ(tmp_path: Path) -> None:
    file = tmp_path / "conf"
    file.write_text("host_id=1\nhost_id=1\n")
    assert read_key_values(file) == {"host_id": "1"}
    file.write_text("host_id=1\nhost_id=2\n")
    with pytest.raises(ConfigError, match="host_id: is there twice, as '1' and '2'.*line 2"):
        read_key_values(file)


@pytest.mark.parametrize("text", ["no equals sign", "\udcff"])
def test_garbage_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "conf"
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ConfigError, match="conf"):
        read_key_values(file)


def test_quotes_of_old_versions_are_taken_off(tmp_path: Path) -> None:
    file = tmp_path / "conf"
    file.write_text('ca_subject="C=EN, L=Test"\n')
    assert read_key_values(file) == {"ca_subject": "C=EN, L=Test"}


def test_agent_conf_sets_scores_and_limits(tmp_path: Path) -> None:
    file = tmp_path / "agent.conf"
    assert read_agent_conf(file).score.base_score == 3400
    file.write_text("[score]\nbase-score=2400\n[timing]\nloop_seconds=1.5\nretry-max=5\n")
    conf = read_agent_conf(file)
    assert conf.score.base_score == 2400
    assert (conf.timing.loop_seconds, conf.timing.retry_max) == (1.5, 5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[score]\nbase-scor=1\n", "Did you mean base_score?"),
        ("[scores]\n", "Did you mean score?"),
        ("[score]\nbase-score=much\n", "is no number"),
        ("[score]\nbase-score=-1\n", "less than 0"),
        ("[timing]\nloop_seconds=nan\n", "is no number"),
        ("[score]\nbase-score=1\nbase-score=2\n", "base-score: is there twice"),
        ("[score]\nbase-score=1\nbase_score=2\n", "a key is there twice"),
        ("[score]\n[score]\n", "score: is there twice"),
        ("base-score=1\n", "Write \\[section\\]"),
        ("[score]\ncpu-load-penalty-min=0.95\n", "more than cpu-load-penalty-max"),
    ],
)
def test_a_wrong_agent_conf_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "agent.conf").write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_agent_conf(tmp_path / "agent.conf")


def test_broker_conf(tmp_path: Path) -> None:
    file = tmp_path / "broker.conf"
    assert read_broker_conf(file).notify == {"state_transition": "maintenance|start|stop|up|down"}
    file.write_text(
        "[email]\nsmtp-server=mail\nsmtp-port=2525\ndestination-emails= a@x , b@x,\n"
        "[notify]\nstate_transition=100%|start\n"
    )
    conf = read_broker_conf(file)
    assert (conf.smtp_server, conf.smtp_port) == ("mail", 2525)
    assert conf.destination_emails == ("a@x", "b@x")
    assert conf.notify == {"state_transition": "100%|start"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[email]\nsmtp-host=x\n", "smtp-host: is unknown"),
        ("[email]\nsmtp-port=0\n", "no port"),
        ("[email]\nsmtp-timeout=x\n", "no number"),
        ("[notify]\nstate_transition=(\n", "no regular expression"),
    ],
)
def test_a_wrong_broker_conf_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "broker.conf").write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_broker_conf(tmp_path / "broker.conf")


def test_all_settings_come_from_below_the_root(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    paths.hosted_engine_conf.parent.mkdir(parents=True)
    written(paths.hosted_engine_conf, {})
    assert load_settings(paths).host.vmid == uuid(1)
