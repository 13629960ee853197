"""Runbooks on a simulated cluster: the product's agents and command answer them."""

from pathlib import Path

from flows.enter_global_maintenance import enter_maintenance
from tests.simulated_cluster import simulated_cluster


def test_global_maintenance_is_entered_and_every_agent_takes_notice(tmp_path: Path) -> None:
    with simulated_cluster(tmp_path) as simulated:
        enter_maintenance.fn("lab", "ticket 7")
        assert set(simulated.states().values()) == {"GlobalMaintenance"}
        assert simulated.cluster.global_maintenance is True
