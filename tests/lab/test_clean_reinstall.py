"""clean-reinstall on a host on which `hosted-engine --deploy` really broke off."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.clean_reinstall import clean_reinstall
from tasks.refusal import CheckRefused
from tests.lab import half_deployed
from tests.lab.cluster import Lab
from tests.lab.control_node import ControlNode
from tests.lab.deploy import ANSWERS
from tests.lab.domain import SD_UUID
from tests.lab.half_deployed import DOMAIN

pytestmark = [pytest.mark.lab, pytest.mark.slow]

UNITS = ("ovirt-ha-agent", "ovirt-ha-broker")


@pytest.fixture(scope="module")
def one_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlNode]:
    """One host with the product installed, not deployed, and a control node."""
    with half_deployed.one_host(tmp_path_factory.mktemp("one-host")) as node:
        yield node


def there(lab: Lab, *paths: str) -> list[str]:
    """Which of the paths are there."""
    return [each for each in paths if not lab.ssh("h1", "test", "-e", each, check=False).returncode]


def approve(node: ControlNode, run_id: str, gate: str, target: str) -> None:
    """Approve one gate, its target typed."""

    def waits() -> bool:
        assert not node.ended_as(run_id), node.read("status", run_id)
        return (node.status(run_id)["gate"] or {}).get("gate") == gate

    node.lab.wait_until(waits, 180, f"gate {gate}")
    words = ("approve", run_id, "--as", "ann", "--reason", "a test", "--set", f"target={target}")
    node.read(*words)


def test_a_storage_domain_that_was_half_made_goes(one_host: ControlNode) -> None:
    node, lab = one_host, one_host.lab
    said = half_deployed.break_off_in_the_storage(lab)
    assert f"{DOMAIN}: a deployment broke off here" in said
    assert there(lab, DOMAIN) == [DOMAIN]
    run_id = node.launch("clean-reinstall", host="h1", purge_storage="true")
    approve(node, run_id, "approve_cleaning", "h1")
    approve(node, run_id, "approve_purge", SD_UUID)
    assert node.wait_for_end(run_id)["state_type"] == "COMPLETED"
    assert there(lab, DOMAIN) == []
    assert lab.ssh("h1", "hosted-engine", "--check-deployed", check=False).returncode == 1


def test_a_host_deployed_but_for_its_agent_is_deployed_anew(one_host: ControlNode) -> None:
    node, lab = one_host, one_host.lab
    assert "is masked" in half_deployed.break_off_at_the_end(lab)
    half_deployed.leave_bootstrap_vm(lab)
    run_id = node.launch("clean-reinstall", host="h1", purge_storage="true", answer_file=ANSWERS)
    approve(node, run_id, "approve_cleaning", "h1")
    approve(node, run_id, "approve_purge", SD_UUID)
    assert node.wait_for_end(run_id, 400)["state_type"] == "COMPLETED"
    assert there(lab, half_deployed.BOOTSTRAP) == []
    assert "HostedEngineLocal" not in lab.ssh("h1", "virsh list --all --name").stdout
    lab.wait_for_engine()
    archive = Path(node.home / "archives" / run_id / "h1-remains.tar")
    assert archive.stat().st_mode & 0o777 == 0o600


def test_a_host_whose_engine_answers_is_refused(one_host: ControlNode) -> None:
    with one_host.here(), pytest.raises(CheckRefused, match="the engine answers"):
        clean_reinstall.fn("lab", "h1", purge_storage=True)
    units = one_host.lab.ssh("h1", "systemctl", "is-active", *UNITS).stdout.split()
    assert units == ["active", "active"]
