"""The cluster's status before and after, and the proof that it is stable."""

from collections.abc import Callable, Sequence

from tasks.env import world
from tasks.hosts import HostLook
from tasks.limits import limit
from tasks.recorded import look, wait
from tasks.report import now_text, show
from tasks.run_site import Site
from tasks.runs import log
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
EVERY_SECONDS = 5.0
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
    return well_twice(site)


def well_twice(site: Site, also: Callable[[bytes], str | None] = lambda _data: None) -> str:
    """Wait until the cluster is well at two reads, and nothing that `also` finds is missing.

    `also` looks at a raw read. Returns the engine's host. Raises TimedOut.
    """
    clock = world().clock
    engine_host = ""
    first: tuple[float, bytes] | None = None

    def check() -> str | None:
        nonlocal engine_host, first
        now, data = clock.monotonic(), site.read(site.witness)
        looks = site.look_at_all()
        missing = _not_well(site, looks, data) or also(data)
        if missing is not None:
            first = None
            return missing
        engine_host = _host_of(looks, _engine_rows(looks, data)[0]).host
        if first is None:
            first = (now, data)
        if now - first[0] < limit("settle_seconds"):
            return "well, and to be seen so again"
        silent = _silent(looks, first[1], data)
        if silent is not None:
            first = (now, data)
        return silent

    wait_until(
        "cluster stable",
        check,
        timeout_seconds=limit("stable_seconds"),
        every_seconds=EVERY_SECONDS,
        progress=log().info,
    )
    return engine_host


def not_well(site: Site) -> str | None:
    """Return what speaks against the cluster being well at one look, or None."""
    return _not_well(site, site.look_at_all(), site.read(site.witness))


def engine_not_well(site: Site) -> str | None:
    """Return what is missing for one engine VM in good health, maintenance or not; or None."""
    return _engine_missing(site, site.look_at_all(), site.read(site.witness))


def _not_well(site: Site, looks: Sequence[HostLook], data: bytes) -> str | None:
    return _unsettled(looks, data) or _engine_missing(site, looks, data)


@look
def read_final_status(site: Site) -> Snapshot:
    """Record the cluster as it is at the end."""
    return _recorded_snapshot(site, "cluster-after", "Cluster after")


def _recorded_snapshot(site: Site, key: str, title: str) -> Snapshot:
    data = site.read(site.witness)
    snapshot = Snapshot(now_text(), maintenance_flag(data), site.look_at_all(), block_rows(data))
    show(key, snapshot_markdown(title, snapshot), f"{title}: {site.cluster}")
    return snapshot


def _parked(host: HostLook) -> bool:
    """Whether the host's agent writes nothing by design: local maintenance parks it."""
    return host.local_maintenance and host.agent == "active"


def _unsettled(looks: Sequence[HostLook], data: bytes) -> str | None:
    """Return what the whiteboard has against the cluster being stable."""
    if maintenance_flag(data):
        return "global maintenance is on"
    rows = {row.host_id: row for row in block_rows(data)}
    if bad := bad_ids(tuple(rows.values())):
        return f"block {', '.join(map(str, bad))} is bad"
    for host in looks:
        row = rows.get(host.host_id)
        state = "no state" if row is None else row.state
        if state not in SETTLED and not _parked(host):
            return f"{host.host} is in {state}"
    return None


def _silent(looks: Sequence[HostLook], before: bytes, after: bytes) -> str | None:
    """Return which hosts wrote nothing new between two reads."""
    live = live_ids(before, after)
    silent = [host.host for host in looks if host.host_id not in live and not _parked(host)]
    return f"{', '.join(silent)} wrote nothing new" if silent else None


def _engine_rows(looks: Sequence[HostLook], data: bytes) -> list[BlockRow]:
    """Return the rows that have the engine VM up; blocks left by hosts long gone do not count."""
    known = {host.host_id for host in looks}
    return [row for row in block_rows(data) if row.vm == "up" and row.host_id in known]


def _host_of(looks: Sequence[HostLook], row: BlockRow) -> HostLook:
    return next(host for host in looks if host.host_id == row.host_id)


def _engine_missing(site: Site, looks: Sequence[HostLook], data: bytes) -> str | None:
    """Return what is missing for one engine VM in good health, seen from elsewhere."""
    up = _engine_rows(looks, data)
    problem = _not_one_vm(looks, up)
    if problem is not None:
        return problem
    here = _host_of(looks, up[0])
    if up[0].health != "good":
        return f"{here.host} says that the engine's health is {up[0].health}"
    asked = next((host for host in site.hosts if host != here.host), here.host)
    ran = site.shell(asked).run(LIVELINESS, timeout_seconds=limit("look_seconds"))
    if ran.exit_code != 0:
        return f"{asked}: {(ran.stdout or ran.stderr).strip() or 'the engine does not answer'}"
    return None


def _not_one_vm(looks: Sequence[HostLook], up: Sequence[BlockRow]) -> str | None:
    domains = [each.host for each in looks if each.runs_engine]
    if len(domains) > 1:
        return f"libvirt has the engine VM on {' and '.join(domains)}"
    if len(up) != 1:
        said = ", ".join(row.hostname for row in up) or "no host"
        return f"{said} says that the engine VM is up, and it must be one"
    if domains and domains[0] != _host_of(looks, up[0]).host:
        return f"libvirt has the engine VM on {domains[0]}, the whiteboard on {up[0].hostname}"
    return None
