"""Labs for tests: one deployed cluster for all of them, and the one place that skips them."""

import os
from collections.abc import Generator, Iterator

import pytest

from tests.lab import care
from tests.lab.by_hand import ByHand
from tests.lab.cluster import Lab
from tests.lab.control_node import TIMING, ControlNode
from tests.lab.drill_watch import last_words
from tests.lab.drills import PRODUCTION
from tests.lab.drills import TIMING as DRILL_TIMING
from tests.lab.requirements import why_not
from tests.lab.watched_dd import WatchedDd

LABS = {"lab", "block_lab", "drill_lab"}


def _say(line: str) -> None:
    print(f"lab: {line}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a lab where none can run, with the reasons."""
    wanting = [item for item in items if item.get_closest_marker("lab")]
    reasons = why_not() if wanting else []
    for item in wanting:
        if reasons:
            item.add_marker(pytest.mark.skip(reason=f"no lab here: {'; '.join(reasons)}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport]:
    """Tell with a failed test what the hosts of its lab said last, before the lab goes down."""
    report = yield
    if report.failed and report.when == "call":
        for name in LABS.intersection(getattr(item, "funcargs", {})):
            report.sections.append((f"last words of {name}", last_words(item.funcargs[name])))
    return report


def _name(kind: str) -> str:
    """A name for a lab of this session alone, so that several sessions can run at once."""
    return f"{kind}-{os.getpid()}"


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Three hosts with hosted engine deployed, the engine answering; shared by all."""
    cluster = Lab(_name("test"), timing=TIMING, say=_say)
    try:
        cluster.up()
        cluster.deploy()
        cluster.wait_for_engine()
        yield cluster
    finally:
        cluster.down()


@pytest.fixture(scope="session")
def control_node(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlNode]:
    """`runbook serve` for the lab's cluster; shared by all."""
    node = ControlNode(tmp_path_factory.mktemp("control-node") / "home", lab)
    node.prepare()
    try:
        node.serve()
        yield node
    finally:
        node.stop_serving()


@pytest.fixture
def broken(lab: Lab, control_node: ControlNode) -> Iterator[Lab]:
    """The lab with a block that nobody can read; whatever a test leaves is mended."""
    care.wait_until_settled(lab)
    lab.put_block(care.BAD_HOST_ID, care.BAD_BLOCK)
    yield lab
    control_node.reset()
    control_node.cancel_what_goes_on()
    care.mend(lab)


@pytest.fixture
def dd(lab: Lab) -> Iterator[WatchedDd]:
    """The hosts' writes to the whiteboard, watched."""
    watched = WatchedDd(lab)
    watched.install()
    yield watched
    watched.remove()


@pytest.fixture(scope="module")
def block_lab() -> Iterator[Lab]:
    """Two hosts over devices, hosted engine deployed, the engine answering."""
    cluster = Lab(_name("block"), storage="block", hosts=2, timing=TIMING, say=_say)
    try:
        cluster.up()
        cluster.deploy()
        cluster.wait_for_engine()
        yield cluster
    finally:
        cluster.down()


@pytest.fixture(scope="module")
def drill_lab() -> Iterator[Lab]:
    """Three hosts with hosted engine deployed, and short limits for what drills wait for."""
    timing, speed = ({}, 1) if PRODUCTION else (DRILL_TIMING, 10)
    cluster = Lab(_name("drill"), sanlock_speed=speed, timing=timing, say=_say)
    try:
        cluster.up()
        cluster.deploy()
        cluster.wait_for_engine()
        yield cluster
    finally:
        cluster.down()


@pytest.fixture(scope="module")
def by_hand() -> Iterator[ByHand]:
    """Three hosts in a lockspace, without HA monitor: the engine VM is started by hand."""
    cluster = Lab(_name("hand"), say=_say)
    try:
        cluster.up()
        hand = ByHand(cluster)
        hand.prepare()
        yield hand
    finally:
        cluster.down()
