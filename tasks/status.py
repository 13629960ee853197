"""The cluster's status before and after, and the proof that it is stable."""

from collections.abc import Sequence

from tasks.env import world
from tasks.hosts import HostLook
from tasks.limits import limit
from tasks.recorded import look, wait
from tasks.report import now_text, show, timeline_markdown
from tasks.run_site import Site
from tasks.runs import current_run, log
from tasks.waiting import wait_until
from tasks.whiteboard_table import (
    BlockRow,
    Snapshot,
    bad_ids,
    block_rows,
    blocks_markdown,
    snapshot_markdown,
)
from tasks.witnesses import live_ids, maintenance_flag

# Every other state is one of transition, or of hands off.
SETTLED = ("EngineUp", "EngineDown", "LocalMaintenance")
LIVELINESS = ("hosted-engine", "--check-liveliness")


@look
def read_baseline(site: Site) -> Snapshot:
    """Record the cluster as it is before anything is changed."""
    return _recorded_snapshot(site, "cluster-before", "Cluster before")


@look
def read_block_table(site: Site) -> tuple[BlockRow, ...]:
    """Classify every block of the quiet whiteboard and show the table."""
    rows = block_rows(site.read(site.witness))
    bad = ", ".join(map(str, bad_ids(rows))) or "none"
    text = f"## Blocks of {site.target.path}\n\nBad: {bad}\n\n{blocks_markdown(rows)}"
    show("block-table", text, f"Whiteboard of {site.cluster}, classified")
    return rows


@wait
def wait_until_stable(site: Site) -> str:
    """Wait until the cluster is well at two reads, some time apart; returns the engine's host.

    Raises TimedOut.
    """
    before = site.read(site.witness)
    engine_host: list[str] = []
    well_before = False

    def check() -> str | None:
        nonlocal before, well_before
        world().clock.sleep(limit("settle_seconds"))
        after = site.read(site.witness)
        missing = _unsettled(site, before, after) or _engine_missing(site, after, engine_host)
        before, was_well, well_before = after, well_before, missing is None
        return missing if missing is not None or was_well else "well, and to be seen so again"

    wait_until(
        "cluster stable",
        check,
        timeout_seconds=limit("stable_seconds"),
        every_seconds=0.0,
        progress=log().info,
    )
    return engine_host[-1]


@look
def read_final_status(site: Site) -> Snapshot:
    """Record the cluster as it is at the end, and the run's timeline."""
    snapshot = _recorded_snapshot(site, "cluster-after", "Cluster after")
    run = current_run()
    if run is not None:
        show("timeline", timeline_markdown(run), f"Timeline of run {run.run_id}")
    return snapshot


def _recorded_snapshot(site: Site, key: str, title: str) -> Snapshot:
    data = site.read(site.witness)
    snapshot = Snapshot(now_text(), maintenance_flag(data), site.look_at_all(), block_rows(data))
    show(key, snapshot_markdown(title, snapshot), f"{title}: {site.cluster}")
    return snapshot


def _unsettled(site: Site, before: bytes, after: bytes) -> str | None:
    """Return what the whiteboard has against the cluster being stable."""
    if maintenance_flag(after):
        return "global maintenance is on"
    rows = {row.host_id: row for row in block_rows(after)}
    if bad := bad_ids(tuple(rows.values())):
        return f"block {', '.join(map(str, bad))} is bad"
    live = live_ids(before, after)
    for host in site.look_at_all():
        if host.local_maintenance and host.agent == "active":
            continue
        row = rows.get(host.host_id)
        if row is None or host.host_id not in live:
            return f"{host.host} has written nothing new"
        if row.state not in SETTLED:
            return f"{host.host} is in {row.state or 'no state'}"
    return None


def _engine_missing(site: Site, after: bytes, engine_host: list[str]) -> str | None:
    """Return what is missing for one engine VM in good health, seen from elsewhere."""
    looks = site.look_at_all()
    up = [row for row in block_rows(after) if row.vm == "up"]
    problem = _not_one_vm(looks, up)
    if problem is not None:
        return problem
    here = next((each for each in looks if each.host_id == up[0].host_id), None)
    if here is None:
        return f"the engine VM is up on host id {up[0].host_id}, which is not in the inventory"
    if up[0].health != "good":
        return f"{here.host} says that the engine's health is {up[0].health}"
    asked = next((host for host in site.hosts if host != here.host), here.host)
    ran = site.shell(asked).run(LIVELINESS, timeout_seconds=limit("look_seconds"))
    if ran.exit_code != 0:
        return f"{asked}: {(ran.stdout or ran.stderr).strip() or 'the engine does not answer'}"
    engine_host.append(here.host)
    return None


def _not_one_vm(looks: Sequence[HostLook], up: Sequence[BlockRow]) -> str | None:
    domains = [each.host for each in looks if each.runs_engine]
    if len(domains) > 1:
        return f"libvirt has the engine VM on {' and '.join(domains)}"
    if len(up) != 1:
        said = ", ".join(row.hostname for row in up) or "no host"
        return f"{said} says that the engine VM is up, and it must be one"
    if domains and domains[0] not in [e.host for e in looks if e.host_id == up[0].host_id]:
        return f"libvirt has the engine VM on {domains[0]}, the whiteboard on {up[0].hostname}"
    return None
