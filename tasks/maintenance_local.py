"""Local maintenance of one host: its two flags, in ha.conf, and what the cluster makes of them.

Upstream's `--set-maintenance` writes all three flags in every mode: `local` ends global
maintenance, and `none` ends both. So while global maintenance is on, ha.conf is edited instead,
as upstream's own writers do it; the agent reads it again at every turn.
"""

from tasks.env import world
from tasks.hosts import HA_CONF, sh
from tasks.limits import limit
from tasks.maintenance import COMMAND
from tasks.recorded import Outcome, change, wait
from tasks.reentry import begun
from tasks.run_site import Site
from tasks.runs import log
from tasks.steps import run_once
from tasks.waiting import wait_until
from tasks.witnesses import live_ids, maintenance_flag, records

# Under the lock that upstream's writers take (flock of the file), and renamed into place, so that
# a reader finds the old file or the new one. The engine toggles only the first of the keys: with
# both set, activating the host in the engine does not end a maintenance that was set here.
EDIT_FLAGS = """
conf=$1 value=$2
[ -e "$conf" ] || { mkdir -p "${conf%/*}" && : >>"$conf"; } || exit
exec 9<"$conf" && flock -w 10 9 || { echo "$conf is locked by another program" >&2; exit 75; }
{ grep -Ev '^ *local_maintenance(_manual)? *=' "$conf"
  echo "local_maintenance=$value"; echo "local_maintenance_manual=$value"; } >"$conf.new" &&
chmod --reference="$conf" "$conf.new" && chown --reference="$conf" "$conf.new" &&
mv "$conf.new" "$conf"
"""
EVERY_SECONDS = 3.0
LOCAL, GLOBAL = "LocalMaintenance", "GlobalMaintenance"
SETTLED = ("EngineUp", "EngineDown", GLOBAL)
WAYS = BY_COMMAND, BY_FILE = "by-command", "by-file"


class MaintenanceNotSet(Exception):
    """The flags in ha.conf, or the cluster's, are not what they should be after the command."""


@change
def enter_local_maintenance(site: Site, host: str, way: str | None = None) -> Outcome:
    """Set local maintenance of a host; global maintenance stays as it is.

    `way` is one of WAYS, where the caller knows which. Raises MaintenanceNotSet.
    """
    return _set_flags(site, host, step="enter_local_maintenance", wanted=True, way=way)


@change
def end_local_maintenance(site: Site, host: str, way: str | None = None) -> Outcome:
    """End local maintenance of a host; global maintenance stays as it is.

    `way` is one of WAYS, where the caller knows which. Raises MaintenanceNotSet.
    """
    return _set_flags(site, host, step="end_local_maintenance", wanted=False, way=way)


@wait
def wait_until_out_of_service(site: Site, host: str) -> str:
    """Wait until the cluster no longer counts on the host; returns how that is known.

    Its agent publishes LocalMaintenance with score 0; or it was started in maintenance and is
    parked: then it publishes nothing, or has said that it stopped. Raises TimedOut.
    """
    seen = ""

    def look() -> str | None:
        nonlocal seen
        now = site.look(host)
        if not now.local_maintenance:
            return f"ha.conf of {host} does not say local maintenance"
        if now.runs_engine:
            return f"libvirt on {host} has the engine VM"
        seen, missing = _how_out_of_service(site, now.host_id, site.live_witness(host))
        return missing

    wait_until(
        f"{host} out of service",
        look,
        timeout_seconds=limit("local_maintenance_seconds"),
        every_seconds=EVERY_SECONDS,
        progress=log().info,
    )
    return seen


@wait
def wait_until_back_in_service(site: Site, host: str) -> int:
    """Wait until another host sees the host alive, with a score; returns the score.

    Raises TimedOut.
    """
    witness, score = site.live_witness(host), 0
    first = site.read(witness)

    def look() -> str | None:
        nonlocal score
        now, after = site.look(host), site.read(witness)
        record = records(after).get(now.host_id)
        if now.agent != "active":
            return f"the agent of {host} is {now.agent}: start ovirt-ha-broker, then ovirt-ha-agent"
        if now.local_maintenance:
            return f"ha.conf of {host} still says local maintenance"
        if record is None or (
            now.host_id not in live_ids(first, after) and now.host_id in records(first)
        ):
            return f"{witness} sees nothing new of {host}"
        score = record.score
        if record.state not in SETTLED:
            return f"{host} is in {record.state or 'no state'}"
        return None if score > 0 else f"the score of {host} is 0"

    wait_until(
        f"{host} back in service",
        look,
        timeout_seconds=limit("return_seconds"),
        every_seconds=EVERY_SECONDS,
        progress=log().info,
    )
    return score


def flags_argv(way: str, wanted: bool) -> tuple[str, ...]:
    """Return the command that sets or clears the flags, on the host itself."""
    if way == BY_FILE:
        return sh(EDIT_FLAGS, HA_CONF, str(wanted))
    return (*COMMAND, "--mode=local" if wanted else "--mode=none")


def _set_flags(
    site: Site, host: str, *, step: str, wanted: bool, way: str | None = None
) -> Outcome:
    before, witness = site.look(host), site.live_witness(host)
    keep = maintenance_flag(site.read(witness))
    sent = next((each for each in WAYS if begun(host, f"{step}.{each}")), None)
    if sent is None and before.local_maintenance is wanted:
        return Outcome.ALREADY
    way = way or sent
    if way is None:
        # The file also where the command would find no broker to talk to.
        way = BY_FILE if keep or before.broker != "active" else BY_COMMAND
    argv = flags_argv(way, wanted)
    ran = run_once(
        site.shell(host),
        argv,
        step=f"{step}.{way}",
        timeout_seconds=limit("look_seconds"),
        accept=range(256),
    )
    if site.look(host).local_maintenance is not wanted:
        raise MaintenanceNotSet(
            f"{host}: {HA_CONF} does not say local_maintenance={wanted} after `{argv[0]} ...` "
            f"({way}), exit code {ran.exit_code}: {ran.stdout[-500:].strip() or 'no output'}"
        )
    if keep and not maintenance_flag(site.read(witness)):
        raise MaintenanceNotSet(
            f"global maintenance was on, and {witness} reads that it is off now: "
            "enter it again with runbook run enter-global-maintenance "
            f"--cluster {site.cluster} --param reason=lost"
        )
    return Outcome.CHANGED


def _how_out_of_service(site: Site, host_id: int, witness: str) -> tuple[str, str | None]:
    """Return how it is known, or empty and what is missing."""
    data = site.read(witness)
    record = records(data).get(host_id)
    state = record.state if record else None
    if record and state == LOCAL and record.score == 0:
        return f"{witness} reads state {LOCAL} and score 0", None
    if record and state == GLOBAL and maintenance_flag(data):
        return f"{witness} reads state {GLOBAL}, which goes before local maintenance", None
    if record is None or record.stopped:
        return f"{witness} reads that the agent has stopped: it is parked", None
    world().clock.sleep(limit("publish_seconds"))
    if host_id not in live_ids(data, site.read(witness)):
        return f"{witness} sees nothing new of the agent: it is parked", None
    return "", f"the host is in {state or 'no state'} with score {record.score}"
