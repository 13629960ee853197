"""Copies of what an upgrade could spoil: each host's configuration, and the whiteboard as it is."""

from posixpath import basename

from tasks.hosts import HA_CONF, sh
from tasks.limits import limit
from tasks.metadata import CONF
from tasks.plan import RUN
from tasks.recorded import Outcome, change
from tasks.reissue import next_issue
from tasks.run_site import Site
from tasks.runs import current_run
from tasks.steps import run_once
from tasks.witnesses import range_blocks

VM_CONF = "/run/ovirt-hosted-engine-ha/vm.conf"
BACKUPS = "/var/lib/hosted-engine-runbooks/backups"
# hosted-engine.conf holds the iSCSI password: nobody but root reads the copies. The whiteboard
# changes while it is copied; its blocks are each whole, as they are written in one piece.
COPY = """
umask 077
mkdir -p -- "$1" && cd -- "$1" || exit
target=$2 blocks=$3; shift 3
dd if="$target" of=whiteboard.img bs=4096 count="$blocks" iflag=direct conv=fsync || exit
for file; do
  if [ -e "$file" ]; then cp -pL -- "$file" . || exit; else echo "$file is not there"; fi
done
sha256sum whiteboard.img *.conf >SHA256SUMS.new && sync && mv SHA256SUMS.new SHA256SUMS
"""
VERIFY = 'cd -- "$1" && sha256sum --quiet -c SHA256SUMS && [ -s "$2" ]'


class BackupFailed(Exception):
    """A host's configuration could not be copied; nothing has been upgraded there."""


def backup_folder() -> str:
    """Return where the run in force keeps its copies, on each host."""
    run = current_run()
    return f"{BACKUPS}/{run.run_id if run else RUN}"


@change
def back_up_configuration(site: Site, host: str) -> Outcome:
    """Copy a host's configuration and the whiteboard, and verify it. Raises BackupFailed."""
    this, folder = next_issue(host, "back_up_configuration"), backup_folder()
    if not this.under_way and _verified(site, host, folder):
        return Outcome.ALREADY
    numbers = (site.target.path, str(range_blocks(site.target.size_bytes)))
    ran = run_once(
        site.shell(host),
        sh(COPY, folder, *numbers, CONF, VM_CONF, HA_CONF),
        step=this.name,
        timeout_seconds=limit("backup_seconds"),
        accept=range(256),
    )
    if ran.exit_code != 0 or not _verified(site, host, folder):
        raise BackupFailed(
            f"{host}: copying to {folder} ended with exit code {ran.exit_code}: "
            f"{ran.stdout.strip()[-300:] or 'no output'}. What to do: make room there, then "
            "retry the run"
        )
    return Outcome.CHANGED


def _verified(site: Site, host: str, folder: str) -> bool:
    argv = sh(VERIFY, folder, basename(CONF))
    return site.shell(host).run(argv, timeout_seconds=limit("backup_seconds")).exit_code == 0
