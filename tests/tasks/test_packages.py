"""What dnf and yum print is read as they print it, and a host's packages by their own word."""

from pathlib import Path

import pytest

from tasks.packages import look_at_packages, pending_in
from tasks.runs import entered_run
from tasks.upgrade_hosts import version_in
from tests.fake_cluster import fake_cluster
from tests.fake_packages import V2, add_packages

PLAIN = """
hosted-engine-runbooks-ha.noarch                    2.0-1                    lab
lab-extra.noarch                                    2.0-1                    lab
"""
# yum(8) breaks the line after a name that does not fit.
WRAPPED = """
ovirt-hosted-engine-setup-with-a-long-name.noarch
                     2.5.2-1.el7                     ovirt-4.4
vdsm.x86_64          4.50.1-1.el7                    ovirt-4.4
"""
OBSOLETES = """
vdsm.x86_64          4.50.1-1.el7                    ovirt-4.4
Obsoleting Packages
new.noarch           3.0-1                           ovirt-4.4
    old.noarch       2.0-1                           @ovirt-4.3
"""
WARNED = """Unable to detect release version (use '--releasever' to specify release version)
Last metadata expiration check: 0:01:02 ago on Mon 01 Jan 2026 10:00:00.
kernel.x86_64        2:5.14.0-1.el9                  baseos
"""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ()),
        (PLAIN, ("hosted-engine-runbooks-ha 2.0-1", "lab-extra 2.0-1")),
        (
            WRAPPED,
            ("ovirt-hosted-engine-setup-with-a-long-name 2.5.2-1.el7", "vdsm 4.50.1-1.el7"),
        ),
        (OBSOLETES, ("vdsm 4.50.1-1.el7",)),
        (WARNED, ("kernel 2:5.14.0-1.el9",)),
    ],
)
def test_updates_are_read(text: str, found: tuple[str, ...]) -> None:
    assert pending_in(text) == found


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, ("1.0-1", "2.0-1", False, False, "")),
        ({"installed": V2}, ("2.0-1", "2.0-1", False, True, "")),
        ({"installed": V2, "stale": "yes"}, ("2.0-1", "2.0-1", True, False, "")),
        ({"installed": "base 1"}, ("unknown", "unknown", False, False, "")),
        ({"no-repository": "yes"}, ("1.0-1", "1.0-1", False, True, "`dnf check-update` ended")),
    ],
)
def test_a_hosts_packages_are_seen(
    tmp_path: Path, files: dict[str, str], expected: tuple[str, str, bool, bool, str]
) -> None:
    monitor, offered, stale, done, trouble = expected
    with fake_cluster(tmp_path, ids=(1, 2), bad={}) as cluster:
        world = add_packages(cluster)
        for name, text in files.items():
            cluster.hosts["h1"].set(name, text)
        with entered_run("upgrade", parameters={"cluster": "lab"}):
            look = look_at_packages(world.shell("lab", "h1"), ())
    assert (look.monitor, look.offered, look.stale, look.done) == (monitor, offered, stale, done)
    assert look.trouble.startswith(trouble)
    assert look.manager == "dnf"
    assert look.certificate_days is None


def test_only_the_chosen_packages_count(tmp_path: Path) -> None:
    with fake_cluster(tmp_path, ids=(1, 2), bad={}) as cluster:
        world = add_packages(cluster)
        with entered_run("upgrade", parameters={"cluster": "lab"}):
            look = look_at_packages(world.shell("lab", "h1"), ("vdsm*",))
    assert look.pending == ("vdsm-like 2.0-1",)


def test_the_version_is_a_line_of_the_record() -> None:
    assert version_in("state=EngineUp\nversion=2.0-1\nstopped=False\n") == "2.0-1"
    assert version_in("state=EngineUp\n") == ""
