"""Requests to a simulated broker: in the caller's thread, and yet the broker's."""

from collections.abc import Iterator

import pytest

from ha.env.ports import BrokerError, BrokerUnreachable
from ha.simulator.broker_link import SimBrokerLink
from ha.simulator.cluster import Cluster
from ha.simulator.site import Plan
from tests.ha.simulator.virtual import Virtual

LIMIT_SECONDS = 20.0


@pytest.fixture
def one() -> Iterator[Cluster]:
    with Cluster(Plan(hosts=1)) as made:
        made.run_until(60)
        yield made


@pytest.fixture
def link(one: Cluster) -> Virtual:
    host = one.hosts[0]
    return Virtual(host.site.schedule, SimBrokerLink(host.site.schedule, host, LIMIT_SECONDS))


def test_what_the_broker_says_is_returned_and_its_refusal_raised(
    one: Cluster, link: Virtual
) -> None:
    assert set(link.read_blocks(None)) == {1}
    assert link.host_id_locked() is True
    with pytest.raises(BrokerError, match="bad_request"):
        link.read_blocks([2001])


def test_without_a_broker_there_is_no_answer(one: Cluster, link: Virtual) -> None:
    one.do("stop-broker host1")
    one.run_until(one.now + 5)
    with pytest.raises(BrokerUnreachable, match="does not listen"):
        link.monitors()


def test_a_broker_that_hangs_is_waited_for_until_the_limit(one: Cluster, link: Virtual) -> None:
    one.do("hang-broker host1")
    began = one.now
    with pytest.raises(BrokerUnreachable, match="no answer within 20 s"):
        link.monitors()
    assert one.now - began == pytest.approx(LIMIT_SECONDS, abs=1.5)


def test_a_request_that_takes_too_long_is_given_up(one: Cluster, link: Virtual) -> None:
    one.do("storage-slow host1 60")
    began = one.now
    with pytest.raises(BrokerUnreachable, match="no answer within 20 s"):
        link.read_blocks([1])
    assert one.now - began == pytest.approx(LIMIT_SECONDS, abs=1.5)


def test_a_broker_that_is_killed_ends_its_requests_and_not_who_asked(
    one: Cluster, link: Virtual
) -> None:
    one.do("storage-slow host1 60")
    host = one.hosts[0]
    host.site.schedule.after(5, host.broker.kill)
    with pytest.raises(BrokerUnreachable, match="closed the connection"):
        link.read_blocks([1])
