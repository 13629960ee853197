"""The checks before a clean reinstall: it must be a failed installation, and nobody's but its."""

from shlex import quote

from tasks.checks import FREE_SPACE, available_kib
from tasks.env import ShellError, world
from tasks.hosts import sh
from tasks.inventory import InventoryError
from tasks.limits import limit
from tasks.recorded import check
from tasks.refusal import CheckRefused
from tasks.reinstall import Remains
from tasks.reinstall_again import change_since
from tasks.reinstall_archive import Archive
from tasks.reinstall_seen import WHO, Seen, life_sign, look_twice

SPARE_KIB = 64 * 1024
# Under its real name: what is on the list of removal may be named in other ways, too.
FIND_ANSWERS = '[ -f "$1" ] && readlink -f -- "$1"'


@check
def require_host_to_clean(cluster: str, host: str) -> str:
    """Require that the host is in the inventory and answers; returns its name. Raises CheckRefused.

    The cluster need not be healthy, nor its other hosts be up.
    """
    try:
        world().inventory.cluster(cluster).host(host)
        ran = world().shell(cluster, host).run(WHO, timeout_seconds=limit("look_seconds"))
    except (InventoryError, ShellError) as error:
        raise CheckRefused(
            str(error), "name a host of the inventory that can be reached"
        ) from error
    return (ran.stdout.split() or [host])[0]


@check
def require_failed_install(
    remains: Remains, purge_storage: bool, remove_packages: bool, answer_file: str | None
) -> str:
    """Require that something is left, on a host where it may be removed. Raises CheckRefused."""
    _require_own_host(remains)
    if remove_packages and answer_file:
        raise CheckRefused(
            "a deployment needs the packages that are to be removed",
            "remove them in one run, install them, then deploy with another",
        )
    if answer_file is not None:
        _require_answers(remains, answer_file)
    if remains.empty and not (purge_storage or (remove_packages and remains.packages)):
        raise CheckRefused(
            f"nothing to clean on {remains.host}: no file, VM, unit or lockspace of an install",
            "run hosted-engine --deploy",
        )
    return remains.claims.storage_domain


def _require_own_host(remains: Remains) -> None:
    """Require a host that is no image, and runs no VM but hosted engine's."""
    host = remains.host
    if remains.is_node:
        raise CheckRefused(
            f"{host} is an oVirt Node: its packages and files are one image",
            "install the node anew from its ISO",
        )
    if remains.foreign_vms:
        names = ", ".join(vm.name for vm in remains.foreign_vms)
        raise CheckRefused(
            f"{host} runs VMs that are not hosted engine's: {names}",
            "move them away or shut them down",
        )


def _require_answers(remains: Remains, answer_file: str) -> None:
    """Require answers that are there, and still are when the list has been removed."""
    shell = world().shell(remains.cluster, remains.host)
    ran = shell.run(sh(FIND_ANSWERS, answer_file), timeout_seconds=limit("look_seconds"))
    place = ran.stdout.strip()
    if ran.exit_code != 0 or not place:
        raise CheckRefused(
            f"{remains.host}: there is no answer file {answer_file}",
            "name a file of the host's that is there",
        )
    listed = [e.path for e in remains.items if f"{place}/".startswith(f"{e.path}/")]
    if listed:
        raise CheckRefused(
            f"{remains.host}: {answer_file} is in {listed[0]}, which is on the list of removal",
            f"copy it to a place of its own (install -m 600 {quote(answer_file)}"
            " /root/answers.conf), and name that",
        )


@check
def require_not_live(remains: Remains) -> Seen:
    """Require that the host is part of no cluster that lives or could; returns what was seen.

    Whiteboards, also those that the other hosts see, and lockspaces are looked at twice, longer
    apart than two writes of an agent and two renewals of a lease. Raises CheckRefused.
    """
    seen = look_twice(remains)
    problem = life_sign(remains, seen)
    if problem is not None:
        raise CheckRefused(
            problem,
            "this is no failed installation: take the host out of the cluster through the engine "
            "(maintenance, then undeploy); a record that is left of a host that is not in it any "
            "more goes by hosted-engine --clean-metadata --host-id=ID on one that is",
        )
    return seen


@check
def require_archive_space(remains: Remains, directory: str) -> int:
    """Require room for the archive; returns the free KiB. Raises CheckRefused."""
    shell = world().shell(remains.cluster, remains.host)
    ran = shell.run(sh(FREE_SPACE, directory), timeout_seconds=limit("look_seconds")).checked()
    free_kib = available_kib(ran)
    needed_kib = SPARE_KIB + sum(e.size_bytes for e in remains.items if e.kind == "file") // 1024
    if free_kib < needed_kib:
        raise CheckRefused(
            f"{remains.host}: {directory} has {free_kib} KiB free, {needed_kib} are needed",
            "free some space there or choose another backup_directory",
        )
    return free_kib


@check
def require_still_failed(remains: Remains, archive: Archive) -> str:
    """Require that all is as it was approved. Raises CheckRefused."""
    problem = change_since(remains, archive)
    if problem is not None:
        raise CheckRefused(problem, "start a new run, which lists what is there now")
    problem = life_sign(remains, look_twice(remains))
    if problem is not None:
        raise CheckRefused(problem, "nothing was removed; look at the cluster")
    return remains.host
