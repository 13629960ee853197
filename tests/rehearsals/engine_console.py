"""engine-console: with a password that is made up."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from tasks import console_password
from tasks.settings import Settings
from tests.fake_cluster import FakeCluster, fake_cluster
from tests.fake_vm import add_vm
from tests.rehearsal import Rehearsal


@contextmanager
def at_work(folder: Path) -> Iterator[FakeCluster]:
    settings = Settings(home=folder / "home")
    with (
        mock.patch.object(console_password, "settings", return_value=settings),
        fake_cluster(folder, bad={}) as cluster,
    ):
        add_vm(cluster)
        yield cluster


REHEARSAL = Rehearsal("engine-console", at_work)
