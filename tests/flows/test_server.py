"""The server of a home: its password, its loopback, its silence; and serving it for real."""

import os
import socket
import stat
from pathlib import Path

import httpx
import pytest

from flows.automations import automations, ensure_automations, fits
from flows.environment import SILENT, environment, worker_environment
from flows.server import (
    NoServer,
    Place,
    ServeRefused,
    choose_port,
    credentials,
    make_place,
    read_record,
    serving_pid,
    take_lock,
)
from tests.flows.conftest import Served, make_home, wait_for


def listening(pid: int) -> set[str]:
    """Return the addresses (in the kernel's hexadecimal) at which a process listens."""
    sockets = set()
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(handle)
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            sockets.add(target.removeprefix("socket:[").removesuffix("]"))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and words[9] in sockets:
                found.add(words[1].partition(":")[0])
    return found


def test_credentials_are_made_once_and_closed_to_others(tmp_path) -> None:
    place = make_place(tmp_path / "home")
    first = credentials(place)
    assert first == credentials(place)
    assert len(first.partition(":")[2]) >= 32
    assert stat.S_IMODE(place.credentials.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.home.stat().st_mode) == 0o700


def test_credentials_that_others_can_read_are_refused(tmp_path) -> None:
    place = make_place(tmp_path / "home")
    credentials(place)
    place.credentials.chmod(0o644)
    with pytest.raises(ServeRefused, match="chmod 600"):
        credentials(place)


def test_the_environment_is_silent_and_forgets_the_callers_prefect(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "https://elsewhere.invalid/api")
    monkeypatch.setenv("PREFECT_PROFILE", "mine")
    monkeypatch.setenv("RUNBOOKS_INVENTORY", "inventory.toml")
    monkeypatch.chdir(tmp_path)
    made = environment(make_place(tmp_path / "home"), 4321)
    assert made["TMPDIR"] == str(tmp_path / "home" / "tmp")  # /tmp/runner_storage is another user's
    assert made["PREFECT_API_URL"] == "http://127.0.0.1:4321/api"
    assert "PREFECT_PROFILE" not in made
    assert made["RUNBOOKS_INVENTORY"] == str(tmp_path / "inventory.toml")
    assert made.items() >= SILENT.items()


def test_a_taken_port_is_refused_by_name() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ServeRefused, match=f"port {port} .* --port 0"):
            choose_port(port)


def test_the_lock_tells_who_serves_and_dies_with_its_holder(tmp_path) -> None:
    place = make_place(tmp_path / "home")
    assert serving_pid(place) is None
    lock = take_lock(place)
    assert serving_pid(place) == os.getpid()
    with pytest.raises(ServeRefused, match=f"process {os.getpid()}"):
        take_lock(place)
    os.close(lock)
    assert serving_pid(place) is None


def test_no_record_is_no_server(tmp_path) -> None:
    with pytest.raises(NoServer, match="runbook serve"):
        read_record(Place(tmp_path))


def test_fits_finds_what_differs() -> None:
    wanted = automations("runbook")[0]
    assert fits(wanted, {**wanted, "id": "x"})
    assert not fits(wanted, {**wanted, "enabled": False})


@pytest.mark.slow
def test_nobody_gets_in_without_the_password(served: Served) -> None:
    url = served.record().url
    body: dict[str, object] = {}
    assert httpx.post(f"{url}/flow_runs/filter", json=body).status_code == 401
    wrong = httpx.post(f"{url}/flow_runs/filter", json=body, auth=("runbook", "guess"))
    assert wrong.status_code == 401
    assert httpx.get(f"{url}/health").status_code == 200
    assert served.api.post("/flow_runs/filter") is not None


@pytest.mark.slow
def test_it_listens_on_loopback_only(served: Served) -> None:
    server_pid = served.record().server_pid
    assert server_pid is not None
    assert listening(server_pid) == {"0100007F"}


@pytest.mark.slow
def test_the_password_is_in_no_command_line_and_no_log(served: Served) -> None:
    secret = served.place.credentials.read_text().strip().encode()
    password = secret.partition(b":")[2]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                assert password not in (entry / "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
    for log in served.place.logs.iterdir():
        assert password not in log.read_bytes()


@pytest.mark.slow
def test_automations_are_put_right_and_not_doubled(served: Served) -> None:
    (wanted,) = automations("runbook")
    named = {"automations": {"name": {"any_": [wanted["name"]]}}}
    (there,) = served.api.post("/automations/filter", named)
    served.api.request("PUT", f"/automations/{there['id']}", {**wanted, "enabled": False})
    ensure_automations(served.api, "runbook")
    ensure_automations(served.api, "runbook")
    (there,) = served.api.post("/automations/filter", named)
    assert there["enabled"]


@pytest.mark.slow
def test_serve_detached_serves_the_whole_catalogue(tmp_path) -> None:
    home = make_home(tmp_path / "home")
    told = home.json("serve", "--detach", "--port", "0")
    try:
        assert told["server"]["ready"]
        again = home.runbook("serve", "--port", "0")
        assert again.returncode == 1
        assert "served already by process" in again.stderr
        deployments = home.api.post("/deployments/filter", {})
        runbooks = {entry["id"] for entry in home.json("list")}
        assert {each["name"] for each in deployments} == {*runbooks, "propose"}
        for each in deployments:
            if each["name"] == "propose":
                continue  # the automations' own: no person fills its form
            form = each["parameter_openapi_schema"]["properties"]
            assert form["cluster"]["enum"] == ["lab"]
            assert all(field["description"] for field in form.values())
            assert each["description"].startswith("# ")
            assert each["concurrency_options"]["collision_strategy"] == "ENQUEUE"
            assert "runbook" in each["tags"]
        ui = httpx.get(told["server"]["ui_url"], follow_redirects=True)
        assert "<title>" in ui.text
    finally:
        stopped = home.runbook("serve", "--stop")
    assert stopped.returncode == 0
    assert serving_pid(home.place) is None
    wait_for(lambda: not home.place.record.exists())
    assert home.json("serve", "--stop") == {"stopped": False}


def test_a_worker_of_another_machine_uses_the_credentials_that_it_was_given(
    tmp_path: Path,
) -> None:
    place, given = make_place(tmp_path / "home"), tmp_path / "credentials"
    with pytest.raises(ServeRefused, match="copy `credentials`"):
        worker_environment(place, "http://far:4200/api", given)
    given.write_text("runbook:far-secret\n")
    given.chmod(0o644)
    with pytest.raises(ServeRefused, match="chmod 600"):
        worker_environment(place, "http://far:4200/api", given)
    given.chmod(0o600)
    made = worker_environment(place, "http://far:4200/api", given)
    assert made["PREFECT_API_URL"] == "http://far:4200/api"
    assert made["PREFECT_API_AUTH_STRING"] == "runbook:far-secret"
    assert not place.credentials.exists()
