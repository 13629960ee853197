"""events.conf: absent, right, and wrong with a word on what to do."""

from pathlib import Path

import pytest

from ha.config import ConfigError
from ha.config_events import EventsConf, read_anomaly_settings, read_events_conf
from ha.core.anomalies import AnomalySettings
from ha.daemons import notifier_of
from tests.ha.fakes import settings_for

EVENTS = "[events]\nurl=http://control:4200/api/\ncluster=lab\nhost=h1\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "events.conf"


def test_without_the_file_nothing_is_sent(file: Path) -> None:
    assert read_events_conf(file) is None
    assert read_anomaly_settings(file) == AnomalySettings()


def test_all_that_can_be_said(file: Path) -> None:
    file.write_text(EVENTS + "auth-file=/etc/auth\n[anomalies]\ntwo-vms-seconds=5\n")
    conf = read_events_conf(file)
    assert conf == EventsConf("http://control:4200/api", "lab", "h1", Path("/etc/auth"))
    assert read_anomaly_settings(file).two_vms_seconds == 5.0
    assert read_anomaly_settings(file).forgotten_maintenance_seconds == 4 * 3600


def test_limits_alone_send_nothing(file: Path) -> None:
    file.write_text("[anomalies]\nforgotten-maintenance-seconds=60\n")
    assert read_events_conf(file) is None
    assert read_anomaly_settings(file).forgotten_maintenance_seconds == 60


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[events]\ncluster=lab\n", "url: is missing"),
        ("[events]\nurl=http://c/api\n", "cluster: is missing"),
        ("[events]\nurl=control:4200\ncluster=lab\n", "no address of Prefect"),
        ("[events]\nurl=http://u:p@c/api\ncluster=lab\n", "auth-file"),
        (EVENTS + "authfile=x\n", "Did you mean auth-file"),
        ("[event]\n", "Did you mean events"),
    ],
)
def test_what_is_wrong_is_said(file: Path, text: str, says: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError, match=says):
        read_events_conf(file)


@pytest.mark.parametrize("text", ["[anomalies]\ntwo-vms=5\n", "[anomalies]\ntwo-vms-seconds=x\n"])
def test_limits_that_are_none(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError, match="two.vms"):
        read_anomaly_settings(file)


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        ("a:b", 0o640, "others may read it"),
        ("a:b", 0o604, "others may read it"),
        ("nothing", 0o600, "is not user:password"),
        (None, 0o600, "cannot be read"),
    ],
)
def test_credentials_that_are_refused(
    tmp_path: Path, content: str | None, mode: int, says: str
) -> None:
    auth = tmp_path / "auth"
    if content is not None:
        auth.write_text(content)
        auth.chmod(mode)
    with pytest.raises(ConfigError, match=says) as refused:
        EventsConf("http://c/api", "lab", "h1", auth).credentials()
    assert "a:b" not in str(refused.value)


def test_the_broker_sends_events_only_when_it_is_told_where_to(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    assert set(notifier_of(settings).outboxes) == {"mail"}
    settings.paths.events_conf.parent.mkdir(parents=True)
    settings.paths.events_conf.write_text(EVENTS)
    assert set(notifier_of(settings).outboxes) == {"mail", "events"}


@pytest.mark.parametrize("text", ["[events]\n", EVENTS + "auth-file=/no/such/file\n"])
def test_a_broken_file_does_not_stop_the_broker(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_for(tmp_path)
    settings.paths.events_conf.parent.mkdir(parents=True)
    settings.paths.events_conf.write_text(text)
    assert set(notifier_of(settings).outboxes) == {"mail"}
    assert "No events are sent" in caplog.text
