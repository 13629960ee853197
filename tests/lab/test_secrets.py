"""Planted secrets are in no log, artifact, database, step or process, wherever the runs left any.

This test's own run is refused; what the session's other runs wrote into the same home is searched
with it.
"""

from pathlib import Path

import pytest

from flows.api import connect
from flows.server import Place
from tests.lab.cluster import Lab
from tests.lab.control_node import ControlNode

pytestmark = [pytest.mark.lab, pytest.mark.slow]
PLANTED = "planted-secret-too-long-for-a-console"
BLOCK = "console-of-a-test"
ON_HOSTS = ("var/log", "var/lib/hosted-engine-runbooks", "var/lib/ovirt-hosted-engine-ha", "tmp")


def secrets_of(node: ControlNode, lab: Lab) -> dict[str, bytes]:
    """Return what nobody may read by the way, by what it is."""
    key_lines = lab.access.keys.private("client").read_text().splitlines()
    return {
        "the SSH key": max(key_lines, key=len).encode(),
        "the server's password": node.credentials_file.read_text().strip().split(":")[1].encode(),
        "the console's password": PLANTED.encode(),
    }


def places_with(secret: bytes, folder: Path) -> list[str]:
    """Return the files below a folder that hold a secret, links not followed."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return [str(path.relative_to(folder)) for path in files if secret in path.read_bytes()]


def processes_with(secret: bytes) -> list[str]:
    """Return the command lines that show a secret to every user of the machine."""
    lines = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(each.read_bytes())
        except OSError:  # it has ended
            continue
    return [repr(line) for line in lines if secret in line]


def plant_block(node: ControlNode) -> None:
    """Keep the planted password in a Secret block of Prefect's, as an operator does in the UI."""
    api = connect(Place(node.home))
    kind = api.get("/block_types/slug/secret")["id"]
    wanted = {"block_schemas": {"block_type_id": {"any_": [kind]}}}
    document = {
        "name": BLOCK,
        "data": {"value": PLANTED},
        "block_type_id": kind,
        "block_schema_id": api.post("/block_schemas/filter", wanted)[0]["id"],
    }
    api.post("/block_documents/", document)


def test_what_is_secret_is_nowhere_to_be_read(lab: Lab, control_node: ControlNode) -> None:
    node = control_node
    plant_block(node)
    run_id = node.launch("engine-console", password_from=f"secret-block:{BLOCK}")
    assert node.wait_for_end(run_id)["state_type"] == "FAILED"
    assert "is not 6 to 8 printable ASCII" in node.entries_text(run_id)
    allowed = {"credentials"}  # mode 0600, and what it is for
    for what, secret in secrets_of(node, lab).items():
        assert set(places_with(secret, node.home)) <= allowed, what
        assert processes_with(secret) == [], what
        for host in lab.hosts:
            root = lab.machine(host.name).root
            found = [each for place in ON_HOSTS for each in places_with(secret, root / place)]
            assert found == [], (what, host.name)
    assert Place(node.home).credentials.stat().st_mode & 0o777 == 0o600


def test_a_secret_that_lies_about_would_be_found(control_node: ControlNode) -> None:
    log = control_node.home / "logs" / "planted.log"
    log.write_text(f"password={PLANTED}\n")
    try:
        assert places_with(PLANTED.encode(), control_node.home) == ["logs/planted.log"]
    finally:
        log.unlink()
