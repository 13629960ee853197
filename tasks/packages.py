"""Packages of a host: what is installed, what the repositories offer, and the update itself.

dnf's exit code is not the proof: a scriptlet that fails after the files are in place (%post) ends
with 0. So each update is followed by a look at what is installed and what is still offered.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tasks.env import Ran, Shell
from tasks.hosts import on_all, sh
from tasks.limits import limit

# The name that the HA monitor's package bears, or provides.
MONITOR = "ovirt-hosted-engine-ha"
MANAGERS = ("dnf", "yum")
NOTHING, SOME = 0, 100  # dnf(8), check-update: 100 when there are updates
OBSOLETING = "Obsoleting"
SCRIPTLET_FAILED = "scriptlet failed"
# "name.arch  version  repository"; yum breaks a line whose name is long.
COLUMNS = 3
VDSM_CERTIFICATE = "/etc/pki/vdsm/certs/vdsmcert.pem"

# The agent's age tells whether it was started after its package was installed.
LOOK = """
LC_ALL=C; export LC_ALL
certificate=$1; shift
manager=$(command -v dnf || command -v yum) && echo "manager=${manager##*/}"
rpm -q --whatprovides --qf 'monitor=%{NAME} %{VERSION}-%{RELEASE} %{INSTALLTIME}\\n' \\
  ovirt-hosted-engine-ha 2>/dev/null | grep ^monitor=
pid=$(systemctl show --property=MainPID ovirt-ha-agent 2>/dev/null); pid=${pid#MainPID=}
age=$(ps -o etimes= -p "${pid:-0}" 2>/dev/null) && echo "agent_since=$(($(date +%s) - age))"
echo "free_kib=$(df -Pk /var | awk 'END { print $4 }')"
if [ -e "$certificate" ]; then
  ends=$(openssl x509 -noout -enddate -in "$certificate") &&
  echo "certificate_ends=$(date +%s -d "${ends#notAfter=}")" || echo certificate_ends=0
  echo "now=$(date +%s)"
fi
[ -n "$manager" ] || exit 0
out=$("$manager" -q check-update "$@" 2>&1); echo "check_update=$?"
echo "$out"
"""


@dataclass(frozen=True, slots=True)
class PackageLook:
    """The packages of one host at one moment."""

    host: str
    manager: str  # dnf or yum; empty if there is neither
    package: str  # that is, or provides, the HA monitor
    monitor: str  # its version and release, and of two the word `two`
    stale: bool  # the agent runs since before its package was installed
    pending: tuple[str, ...]  # "name version", as offered
    free_mib: int
    certificate_days: int | None = None
    trouble: str = ""

    @property
    def offered(self) -> str:
        """Return the monitor's version after an update."""
        versions = dict(each.split(" ", 1) for each in self.pending)
        return versions.get(self.package, self.monitor)

    @property
    def done(self) -> bool:
        """Return whether nothing is left to do: all is installed, and the agent runs it."""
        return not self.pending and not self.stale


def look_at_packages(shell: Shell, packages: Sequence[str]) -> PackageLook:
    """Return how a host's packages are; without names of packages, all of them."""
    return _asked(shell, packages, limit("repository_seconds"))


def look_at_all_packages(cluster: str, packages: Sequence[str]) -> tuple[PackageLook, ...]:
    """Return the same of all hosts of a cluster, asked at once, in the inventory's order."""
    within = limit("repository_seconds")
    return tuple(on_all(cluster, lambda shell: _asked(shell, packages, within)).values())


def pending_in(text: str) -> tuple[str, ...]:
    """Return "name version" of each update in the output of `dnf -q check-update`."""
    words = text.partition(f"\n{OBSOLETING}")[0].split()
    return tuple(sorted(_updates(words)))


def _updates(words: Sequence[str]) -> Iterator[str]:
    # Warnings of dnf stand before the table and hold no word of the form name.arch there.
    for start in range(0, len(words) - COLUMNS + 1):
        name, version = words[start], words[start + 1]
        bare, dot, arch = name.rpartition(".")
        if dot and arch in ARCHITECTURES and version[0].isdigit():
            yield f"{bare} {version}"


ARCHITECTURES = frozenset({"noarch", "x86_64", "i686", "aarch64", "ppc64le", "s390x"})


def _asked(shell: Shell, packages: Sequence[str], within_seconds: float) -> PackageLook:
    argv = sh(LOOK, VDSM_CERTIFICATE, *packages)
    return _look(shell.run(argv, timeout_seconds=within_seconds))


def _look(ran: Ran) -> PackageLook:
    told, _, table = ran.stdout.partition("check_update=")
    facts = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
    code, _, listing = table.partition("\n")
    monitors = [line.split("=", 1)[1] for line in told.splitlines() if line.startswith("monitor=")]
    package, version, installed_at = [*(monitors[0].split() if monitors else ()), "", "", ""][:3]
    since = facts.get("agent_since", "")
    days = None
    if "certificate_ends" in facts:
        days = (int(facts["certificate_ends"]) - int(facts["now"])) // 86_400
    return PackageLook(
        host=ran.host,
        manager=facts.get("manager", ""),
        package=package,
        monitor="two" if len(monitors) > 1 else version or "unknown",
        stale=bool(since and installed_at) and int(since) < int(installed_at),
        pending=pending_in(listing) if code.strip() == str(SOME) else (),
        free_mib=int(facts.get("free_kib") or 0) // 1024,
        certificate_days=days,
        trouble=_trouble(facts.get("manager", ""), code.strip(), listing or ran.stderr),
    )


def _trouble(manager: str, code: str, said: str) -> str:
    if not manager:
        return "there is neither dnf nor yum"
    if code not in (str(NOTHING), str(SOME)):
        return f"`{manager} check-update` ended with {code or 'nothing'}: {said.strip()[-300:]}"
    return ""
