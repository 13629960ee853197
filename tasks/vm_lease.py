"""The lease of the engine VM's disk: which hosts' sanlock holds it."""

from tasks.hosts import on_all, sh
from tasks.limits import limit
from tasks.metadata import CONF
from tasks.refusal import NotKnown
from tasks.run_site import Site

# A lease of the engine VM's disk, in sanlock's own words: r LOCKSPACE:RESOURCE:PATH:OFFSET:VERSION.
# VDSM names the resource by the volume. A daemon that runs and does not answer could hold it; one
# that is off holds none.
READ_LEASES = """
PATH=$PATH:/usr/sbin:/sbin
volume=$(sed -n 's/^vm_disk_vol_id=//p' "$1" | head -n 1)
image=$(sed -n 's/^vm_disk_id=//p' "$1" | head -n 1)
# Without a configuration nobody can tell which are the engine VM's: all count.
[ -n "$volume$image" ] || volume=.
if said=$(sanlock client status 2>/dev/null); then
  printf '%s\\n' "$said" | grep '^r ' | grep -e "${volume:-no-volume}" -e "${image:-no-image}"
else
  case $(systemctl is-active sanlock) in
    inactive|failed|unknown) ;; *) echo silent ;;
  esac
fi
exit 0
"""


class LeaseUnknown(NotKnown):
    """Sanlock on a host does not say which leases it holds; raised by lease_holders."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"sanlock on {host} does not answer: whether it holds the lease of the engine VM's "
            "disk is unknown",
            f"on {host}: sanlock client status; see to the daemon, then try again",
        )


def lease_holders(site: Site) -> tuple[str, ...]:
    """Return the hosts whose sanlock holds the lease of the engine VM's disk.

    Raises LeaseUnknown where sanlock does not answer: that is no "no".
    """
    argv, seconds = sh(READ_LEASES, CONF), limit("look_seconds")
    ran = on_all(site.cluster, lambda shell: shell.run(argv, timeout_seconds=seconds))
    told = {host: each.stdout.strip() for host, each in ran.items()}
    for host, said in told.items():
        if said == "silent":
            raise LeaseUnknown(host)
    return tuple(host for host, said in told.items() if said)
