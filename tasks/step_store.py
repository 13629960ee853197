"""The step store on the hosts: what ended long ago is forgotten."""

from tasks.env import ShellError, world
from tasks.journal import Kind, Phase
from tasks.runs import CurrentRun, log
from tasks.step_scripts import CLEAN

KEPT_DAYS = 30
MOST_AT_ONCE = 200
ANSWER_SECONDS = 30.0


def forget_old_steps(run: CurrentRun) -> None:
    """Remove steps that ended long ago from the hosts to which a run has sent some.

    Steps without an end stay: they are evidence. Trouble is logged and stops nothing.
    """
    entries = world().journal.entries(run.run_id, kinds=(Kind.REMOTE,))
    hosts = dict.fromkeys(each.host for each in entries if each.phase is Phase.INTENT)
    for host in hosts:
        words = [str(world().step_store), str(KEPT_DAYS), str(MOST_AT_ONCE)]
        try:
            shell = world().shell(run.cluster, host)
            argv = ["sh", "-c", CLEAN, "clean", *words]
            said = shell.run(argv, timeout_seconds=ANSWER_SECONDS).checked().stdout.strip()
        except ShellError as error:
            log().warning("%s: old steps could not be removed: %s", host, error)
            continue
        if said != "0":
            log().info("%s: removed %s steps that ended over %d days ago", host, said, KEPT_DAYS)
