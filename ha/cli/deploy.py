"""`--deploy`: the answers in, a deployed host out."""

from collections.abc import Mapping
from pathlib import Path

from ha.answers import Answer, Answers, AnswersError, format_answers, read_answers
from ha.cli.deploy_options import UPSTREAMS_OPTIONS
from ha.cli.host import Host, Refused
from ha.config_files import read_agent_conf
from ha.deploy import DeployFailed, Tools, deploy
from ha.env.lock_manager import QEMU_CONF, require_sanlock
from ha.env.ports import VmStartFailed
from ha.whole_file import write_whole

ALREADY = "The hosted engine has already been deployed on this host"
NO_ENGINE_IS_MADE = (
    "This deployment makes no engine: it imports the disk of one (OVEHOSTED_VM/ovfArchive), in"
    " which a backup is restored beforehand"
)
ANSWERS_FOLDER = Path("var/lib/ovirt-hosted-engine-setup/answers")


def deploy_host(host: Host, options: Mapping[str, str]) -> None:
    """Deploy this host; exit code 0 means that its agent has published its first record.

    Raises ConfigError for an agent.conf that the daemons would refuse, before anything is made. So
    is a libvirt refused that would take no lease for the VM.
    """
    if host.is_deployed():
        raise Refused(f"{ALREADY}: {host.paths.hosted_engine_conf} names an engine VM")
    read_agent_conf(host.paths.agent_conf)
    _require_leases(host)
    _refuse_upstreams(options)
    files = [Path(name) for name in options.get("config-append", "").split("\n") if name]
    if not files:
        raise Refused("Nothing is asked here: give the answers with --config-append=<file>")
    try:
        answers = read_answers(files)
    except AnswersError as error:
        raise Refused(str(error)) from error
    kept = host.paths.root / ANSWERS_FOLDER / f"answers-{host.stamp()}.conf"
    complete: Mapping[str, Answer] = answers.values
    try:
        complete = deploy(answers, _tools(host))
    except DeployFailed as error:
        raise Refused(_failure(error, kept)) from error
    finally:
        _keep(host, complete, [kept, *_generated(options)])
    host.say("Hosted Engine successfully deployed on this host")


def _require_leases(host: Host) -> None:
    try:
        require_sanlock(host.paths.root / QEMU_CONF.relative_to("/"))
    except VmStartFailed as error:
        raise Refused(str(error)) from error


def _refuse_upstreams(options: Mapping[str, str]) -> None:
    backup = options.get("restore-from-file")
    if backup is not None and not Path(backup).is_file():
        raise Refused(f"FATAL: File {backup} not found!")
    for name in (option.rstrip("=") for option in UPSTREAMS_OPTIONS):
        if name in options:
            raise Refused(f"Option '--{name}' is not taken. {NO_ENGINE_IS_MADE}")


def _tools(host: Host) -> Tools:
    return Tools(
        paths=host.paths,
        host_name=host.name,
        sanlock=host.sanlock,
        services=host.services,
        clock=host.clock,
        whiteboard=host.whiteboard,
        mount=host.mount,
        new_uuid=host.new_uuid,
        generated=host.stamp,
        say=host.say,
    )


def _failure(error: DeployFailed, kept: Path) -> str:
    lines = [f"The deployment failed: {error}"]
    if error.left:
        lines += ["It has left behind, and before the next attempt it must go:"]
        lines += [f"  - {left}" for left in error.left]
    else:
        lines += ["It has left nothing behind."]
    return "\n".join([*lines, f"The answers are kept in {kept}"])


def _generated(options: Mapping[str, str]) -> list[Path]:
    return [Path(options["generate-answer"])] if "generate-answer" in options else []


def _keep(host: Host, answers: Mapping[str, Answer], places: list[Path]) -> None:
    text = format_answers(Answers(answers).values)
    for place in places:
        try:
            write_whole(place, text, mode=0o640)
        except (OSError, ValueError) as error:
            host.complain(f"The answers could not be kept: {place}: {error}")
