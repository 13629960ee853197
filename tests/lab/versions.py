"""Versions of what an upgrade replaces: on the hosts real RPMs, in the engine stand-ins."""

from tasks.upgrade_hosts import version_in
from tasks.witnesses import records
from tests.lab import care, rpm
from tests.lab.cluster import Lab

AT_WORK_WITHIN_SECONDS = 60
OLD, NEW = "1.0", "2.0"
ENGINE = "ovirt-engine {0}\\novirt-engine-setup {0}\\nlab-base {0}\\n"
RESTART = "systemctl restart ovirt-ha-broker && systemctl restart ovirt-ha-agent"


def begin_with_the_old(lab: Lab) -> None:
    """Let all run version 1, the hosts from RPMs, with version 2 offered to all."""
    old, new = rpm.packages(lab, OLD), rpm.packages(lab, NEW)
    wanted = (f"{rpm.MONITOR}-{OLD}", f"lab-extra-{OLD}")

    def install(host: str) -> None:
        rpm.offer(lab, host, old)
        # Named with its version, the old takes the place of the new, too.
        lab.ssh(host, "dnf", "-y", "-q", "install", *wanted)
        lab.ssh(host, f"systemctl daemon-reload && {RESTART}")

    care.on_each(lab, install)
    lab.wait_until(lambda: running(lab) == {"1.0-1"}, AT_WORK_WITHIN_SECONDS, "version 1 runs")
    care.wait_until_settled(lab)
    care.on_each(lab, lambda host: rpm.offer(lab, host, new))
    for which, version in (("installed", OLD), ("available", NEW)):
        lab.ssh("engine", f"printf '{ENGINE.format(f'{version}-1')}' > /var/lib/engine/{which}")


def running(lab: Lab) -> set[str]:
    """The versions that the agents tell on the whiteboard."""
    told = records(care.whiteboard(lab))
    return {version_in(told[host.host_id].extra) for host in lab.hosts if host.host_id in told}


def installed(lab: Lab) -> set[str]:
    """The versions that rpm has, of both packages, on all hosts."""
    argv = ("rpm", "-q", "--qf", "%{VERSION}-%{RELEASE}\n", rpm.MONITOR, "lab-extra")
    return {line for said in care.on_all(lab, *argv).values() for line in said.split()}


def all_are_new(lab: Lab) -> bool:
    """Whether every host has version 2, runs it and says so to the others."""
    said = set(care.on_all(lab, "hosted-engine", "--version").values())
    return (installed(lab), running(lab), said) == ({"2.0-1"}, {"2.0-1"}, {"2.0-1\n"})
