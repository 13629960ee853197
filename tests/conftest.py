"""For all tests: nothing of the user is touched, and layers that wait run side by side."""

import os
import signal
import tempfile
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

TESTS = Path(__file__).parent
# They mostly wait, as the other tests of the lab do: a cluster of their own lets them wait beside.
SECOND_LAB = {
    "test_console",
    "test_kill_everywhere",
    "test_maintenance_runbooks",
    "test_proposals",
    "test_rescue",
    "test_upgrade",
    "test_verbs",
}
# Prefect keeps results and profiles here; set before anything imports it.
os.environ["PREFECT_HOME"] = tempfile.mkdtemp(prefix="runbooks-tests-prefect-")
# A job in the background ignores Ctrl-C, and so would the commands that tests send it to.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# RUNBOOKS_KILL... says how much is tested, and is no setting of the product.
for name in [name for name in os.environ if name.startswith("RUNBOOKS_")]:
    if not name.startswith("RUNBOOKS_KILL"):
        del os.environ[name]

# `make test` has 40 minutes; these have relatives in it, and all run with `make test-all`.
LONG = {
    "test_a_daemon_is_killed_on_the_vms_host",
    "test_a_host_is_rebooted",
    "test_a_run_is_broken_and_the_hosts_keep_what_proves_it",
    "test_all_start_at_once_on_equal_scores_and_maintenance_holds_them",
    "test_each_kind_of_damage_is_told_apart_and_a_sound_one_is_refused",
    "test_killed_once",
    "test_on_a_cluster_that_is_up_already_it_breaks_and_repairs_it_again",
    "test_the_engine_is_stuck",
    "test_the_gateway_is_lost",
    "test_the_storage_is_lost_on_the_vms_host",
    "test_the_watch_tells_of_a_host_that_cannot",
}
ALL = bool(os.environ.get("RUNBOOKS_KILL")) or os.environ.get("TESTS") == "all"

BEGIN = ("lab", "second lab", "by hand", "flows", "tasks", "supervisor")
# What tests of flows share; without one of these a flow runs in the test's own process.
SERVED = {"served", "with_host", "strict", "pooled"}
# They share nothing, and need only time: any worker takes the next of them.
ALONE = {"test_demo_simulated", "test_killed_everywhere", "test_plan_and_run"}


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep together, in one worker, what shares a lab or a server; what waits longest begins."""
    if not ALL:
        long = [item for item in items if getattr(item, "originalname", "") in LONG]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]
    items.sort(key=lambda item: BEGIN.index(group) if (group := group_of(item)) else len(BEGIN))
    for item in items:
        group = group_of(item)
        if group:
            item.add_marker(pytest.mark.xdist_group(group))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Take a group's lab or server down with its last test: idle, it would slow the others."""
    if nextitem is None or group_of(item) == group_of(nextitem):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    runtestprotocol(item, nextitem=None)  # as if it were the session's last
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def group_of(item: pytest.Item) -> str | None:
    """The tests that share this name run in one worker, one after the other."""
    layer, *_ = item.path.relative_to(TESTS).parts
    if item.path.stem in ALONE:
        return None
    if layer == "lab":
        if {"by_hand", "block_lab", "drill_lab", "one_host"}.intersection(
            getattr(item, "fixturenames", ())
        ):
            return "by hand"
        return "second lab" if item.path.stem in SECOND_LAB else "lab"
    if item.path.name == "test_supervisor.py":
        return "supervisor"
    if layer == "flows":
        return layer if SERVED.intersection(getattr(item, "fixturenames", ())) else None
    return layer if layer == "tasks" else None
