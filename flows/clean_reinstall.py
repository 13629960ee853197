"""clean-reinstall: remove what a failed installation left on a host, and deploy again."""

from prefect import flow

from tasks.approvals_reinstall import approve_cleaning, approve_purge
from tasks.reinstall_archive import archive_remains
from tasks.reinstall_changes import (
    deploy_again,
    leave_lockspaces,
    prove_clean,
    remove_engine_vms,
    remove_listed_files,
    remove_named_packages,
    stop_units,
    wait_until_deployed,
)
from tasks.reinstall_checks import (
    require_archive_space,
    require_failed_install,
    require_host_to_clean,
    require_not_live,
    require_still_failed,
)
from tasks.reinstall_look import read_remains
from tasks.reinstall_storage import (
    remove_storage_domain,
    require_purgeable,
    require_still_purgeable,
    wait_until_storage_quiet,
)
from tasks.report import tells_way_back
from tasks.runs import recorded_run
from tasks.under_way import require_nothing_under_way

ARCHIVES = "/var/lib/hosted-engine-runbooks/backups"


@flow(name="clean-reinstall", flow_run_name="clean-reinstall {cluster}")
@recorded_run("clean-reinstall")
@tells_way_back("clean-reinstall")
def clean_reinstall(
    cluster: str,
    host: str,
    *,
    purge_storage: bool = False,
    remove_packages: bool = False,
    answer_file: str | None = None,
    backup_directory: str = ARCHIVES,
) -> None:
    """Remove what a failed installation left on one host, so that a fresh one succeeds."""
    # Checks: nothing is changed, so a refusal needs no clean-up.
    require_host_to_clean(cluster, host)
    require_nothing_under_way(cluster)
    remains = read_remains(cluster, host)
    require_failed_install(remains, purge_storage, remove_packages, answer_file)
    seen = require_not_live(remains)
    purge = require_purgeable(remains, seen, purge_storage)
    require_archive_space(remains, backup_directory)
    # A way back first, then a person's word, then a second look.
    archive = archive_remains(remains, backup_directory)
    approve_cleaning(remains, seen, archive, purge, remove_packages)
    require_still_failed(remains, archive)
    stop_units(remains, archive)
    remove_engine_vms(remains, archive)
    leave_lockspaces(remains, archive)
    # The storage while the files that name it are still there; only when the host has let go.
    fingerprint = wait_until_storage_quiet(remains, purge)
    approve_purge(remains, purge, fingerprint)
    require_still_purgeable(remains, purge, fingerprint)
    remove_storage_domain(remains, archive, purge, fingerprint)
    remove_listed_files(remains, archive)
    remove_named_packages(remains, archive, remove_packages)
    prove_clean(remains)
    # A fresh start, if an answer file was named.
    deploy_again(remains, archive, answer_file)
    wait_until_deployed(remains, answer_file)
