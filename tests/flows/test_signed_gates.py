"""A served home with a policy: who may approve, by which key, and who is told."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tasks.decisions import decision_of, pending_gates
from tasks.journal import Kind, Phase
from tests.flows.conftest import Served, executions, make_home, serving, wait_for, waiting
from tests.tasks.signing import Person, agent, make_person

POLICY = "[A3]\napprovals = 2\naccept_unverified = false\n"
TOKEN = "t0ken-of-the-chat"


@dataclass
class Listener:
    """An HTTP server of the site's own, such as a chat's."""

    got: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    def of(self, run_id: str) -> list[dict[str, Any]]:
        return [each for each in self.got if each["run_id"] == run_id]


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    found = Listener()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == f"/hook/{TOKEN}" and "json" in self.headers["Content-Type"]:
                found.got.append(json.loads(body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}/hook/{TOKEN}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield found
    server.shutdown()


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> tuple[Person, Person, Person]:
    folder = tmp_path_factory.mktemp("keys")
    ann, bob, eve = (make_person(folder, f"{name}@example.org") for name in ("ann", "bob", "eve"))
    return ann, bob, eve


@pytest.fixture(scope="module")
def strict(
    tmp_path_factory: pytest.TempPathFactory,
    listener: Listener,
    people: tuple[Person, Person, Person],
) -> Iterator[Served]:
    home = make_home(tmp_path_factory.mktemp("strict") / "home")
    home.environment.pop("SSH_AUTH_SOCK", None)
    ann, bob, _ = people
    (home.home / "policy.toml").write_text(POLICY)
    (home.home / "allowed_signers").write_text(ann.line() + bob.line())
    url_file = home.home / "notify_url"
    url_file.write_text(listener.url + "\n")
    url_file.chmod(0o600)
    with serving(home):
        yield home


def options(*more: str) -> tuple[str, ...]:
    return ("--reason=ticket 7", "--set=target=lab", *more)


@pytest.mark.slow
def test_two_keys_pass_a_gate_of_two_persons(
    strict: Served, people: tuple[Person, Person, Person], tmp_path: Path
) -> None:
    ann, bob, eve = people
    run_id, _ = waiting(strict)
    typed = strict.runbook("approve", run_id, *options("--as=ann@example.org"))
    assert typed.returncode == 2
    assert "takes signed approvals only" in typed.stderr
    unknown = strict.runbook("approve", run_id, *options(f"--key={eve.key}"))
    assert unknown.returncode == 1
    assert "not in the allowed-signers file" in unknown.stderr
    other = strict.runbook("approve", run_id, *options(f"--key={ann.key}", "--as=bob"))
    assert other.returncode == 2
    assert "is the key of ann@example.org, not of bob" in other.stderr

    first = strict.runbook("approve", run_id, *options(f"--key={ann.key}"))
    assert first.returncode == 0, first.stderr
    assert "takes 2 different persons, and has ann@example.org" in first.stderr
    assert strict.state(run_id) == "Suspended"
    again = strict.runbook("approve", run_id, *options(f"--key={ann.key}"))
    assert again.returncode == 2
    assert "ann@example.org has approved already" in again.stderr

    with agent(tmp_path, bob, eve) as socket:
        with_agent = replace(strict, environment={**strict.environment, "SSH_AUTH_SOCK": socket})
        second = with_agent.json("approve", run_id, *options())["decision"]
    assert (second["approver"], second["also_by"]) == ("bob@example.org", ["ann@example.org"])
    assert (second["verified"], second["key"]) == (True, bob.signer.fingerprint)
    wait_for(lambda: strict.state(run_id) == "Completed")
    assert executions(strict.home / f"run-{strict.folders}") == ["first", "middle", "last"]


@pytest.mark.slow
def test_an_answer_in_the_ui_is_asked_again_and_tells_the_command(strict: Served) -> None:
    run_id, _ = waiting(strict)
    form = {"decision": "approve", "approver": "ann@example.org", "reason": "ok", "target": "lab"}
    form["reason"] = "ticket 7"
    answer = strict.api.post(f"/flow_runs/{run_id}/resume", {"run_input": form})
    assert answer["status"] == "ACCEPT"

    def asked_again() -> str | None:
        body = {"prefix": "suspended-approve-last-2-description", "limit": 1}
        rows = strict.api.post(f"/flow_runs/{run_id}/input/filter", body)
        return json.loads(rows[0]["value"]) if rows else None

    text = wait_for(asked_again)
    assert "**Asked again:** ann@example.org is a name that was typed" in text
    assert f"`runbook approve {run_id[:8]} --reason TEXT --set target=TARGET`" in text
    wait_for(lambda: strict.state(run_id) == "Suspended")
    assert decision_of(strict.journal, run_id, "approve_last") is None
    rejected = strict.json("reject", run_id, "--as=ann", "--reason=not tonight")
    assert rejected["decision"]["verified"] is False
    wait_for(lambda: strict.ended_as(run_id) == "rejected")


@pytest.mark.slow
def test_the_site_is_told_once_and_again_before_the_gate_closes(
    strict: Served, listener: Listener
) -> None:
    run_id, _ = waiting(strict, expires_seconds=40)
    (first,) = wait_for(lambda: listener.of(run_id))
    for word in ("metadata-too-new", "lab", "approve_last", run_id[:8], first["url"]):
        assert word in first["text"]
    assert first["url"] == f"{strict.record().ui_url}/runs/flow-run/{run_id}"
    (pending,) = pending_gates(strict.journal, run_id)
    assert first["expires_at"] == pending.expires_at.isoformat()
    wait_for(lambda: strict.ended_as(run_id) == "expired", 90)
    _, second = listener.of(run_id)
    assert "closes soon and is not decided" in second["text"]
    told = [
        entry.payload["event"]
        for entry in strict.journal.entries(run_id, kinds=(Kind.GATE,))
        if entry.phase is Phase.NOTE and entry.payload["what"] == "told"
    ]
    assert len(told) == 2


@pytest.mark.slow
def test_the_address_is_in_no_log_no_journal_and_no_command_line(
    strict: Served, listener: Listener
) -> None:
    assert wait_for(lambda: listener.got)
    for log in strict.place.logs.iterdir():
        assert TOKEN.encode() not in log.read_bytes()
    assert TOKEN.encode() not in (strict.home / "journal.db").read_bytes()
    assert TOKEN.encode() not in (strict.place.prefect_home / "prefect.db").read_bytes()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                assert TOKEN.encode() not in (entry / "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue


@pytest.mark.slow
def test_a_policy_that_nobody_can_fulfil_is_refused_at_the_start(
    strict: Served, people: tuple[Person, Person, Person]
) -> None:
    ann, bob, _ = people
    signers = strict.home / "allowed_signers"
    signers.write_text(ann.line())
    try:
        folder = strict.folder()
        words = ("run", "metadata-too-new", "--cluster=lab", f"--param=folder={folder}")
        refused = strict.runbook(*words, "--param=expires_seconds=60")
        assert refused.returncode == 1
        assert "A3 asks for 2 signed approval(s) by different persons" in refused.stderr
        named = {"deployments": {"name": {"any_": ["metadata-too-new"]}}}
        made = strict.api.post("/deployments/filter", named)[0]["id"]
        parameters = {"cluster": "lab", "folder": str(folder), "expires_seconds": 60}
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        run = strict.api.post(f"/deployments/{made}/create_flow_run", body)["id"]
        wait_for(lambda: strict.state(run) == "Failed")
        assert executions(folder) == []
    finally:
        signers.write_text(ann.line() + bob.line())


def test_serving_is_refused_with_a_bad_policy_or_address(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    (home.home / "policy.toml").write_text("[A3]\napprovals = 3\n")
    refused = home.runbook("serve", "--port=0")
    assert refused.returncode == 1
    assert "A3.approvals: write 1 or 2" in refused.stderr
    (home.home / "policy.toml").unlink()
    url_file = home.home / "notify_url"
    for text, mode, says in (
        ("https://chat.invalid/x", 0o644, "chmod 600"),
        (f"ftp://{TOKEN}@chat.invalid", 0o600, "an http:// or https:// address"),
        ("https://chat.invalid/x\nhttps://other", 0o600, "must hold one line"),
    ):
        url_file.write_text(text)
        url_file.chmod(mode)
        refused = home.runbook("serve", "--port=0")
        assert refused.returncode == 1
        assert says in " ".join(refused.stderr.split())
        assert TOKEN not in refused.stderr
