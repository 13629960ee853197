"""A console ticket: a VNC password that is valid for two minutes, and how to connect with it."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from tasks.console_password import FILE, console_password, forget_password, password_file
from tasks.env import Ran, world
from tasks.hosts import look_at_hosts, sh
from tasks.journal import Kind, Phase
from tasks.limits import limit
from tasks.metadata import Target
from tasks.migration import engine_host
from tasks.plan import planning
from tasks.recorded import Outcome, change, check, wait
from tasks.refusal import CheckRefused
from tasks.report import show
from tasks.run_site import Site
from tasks.runs import current_run, log
from tasks.ssh_command import ssh_command
from tasks.steps import claimed, run_once
from tasks.waiting import wait_until

FOLDER = "/run/hosted-engine-runbooks"
EVERY_SECONDS = 2.0
VNC_AT = re.compile(r"VNC at \[?([0-9A-Za-z.:_-]+?)\]?:(\d+)\s*$", re.MULTILINE)
# The password comes on standard input, and goes to memory that only root reads. Whatever becomes of
# the run, a process of the host's own takes it away: this file, not one that was put there later.
PUT_PASSWORD = """
umask 077; mkdir -p "${1%/*}" || exit
new=$1.$$; : >"$new" || exit; inode=$(stat -c %i "$new")
setsid sh -c '
  sleep "$1"; rm -f "$2"; [ "$(stat -c %i "$3" 2>/dev/null)" != "$4" ] || rm -f "$3"
' forget "$2" "$new" "$1" "$inode" </dev/null >/dev/null 2>&1 &
cat >"$new" && mv "$new" "$1"
"""
# By the environment: upstream takes it from there, and an argument would show in ps. The file is
# gone before the command begins; what is left of it is the environment of one root process.
GIVE_TICKET = """
OVIRT_HOSTED_ENGINE_CONSOLE_PASSWORD=$(cat "$1") && rm -f "$1" &&
export OVIRT_HOSTED_ENGINE_CONSOLE_PASSWORD &&
hosted-engine --add-console-password
"""
# What the command said, and how many seconds ago it ended, by the host's own clock.
TOLD = """
echo "$(($(date +%s) - $(stat -c %Y "${1%/*}/rc")))" && cat "$1"
"""
# The server speaks first (RFC 6143, 7.1.1). bash has /dev/tcp, and every host has bash.
GREETING = """
timeout 5 bash -c 'exec 3<>"/dev/tcp/$0/$1" && head -c 12 <&3' "$1" "$2"
"""
RFB = "RFB 003."


class NoTicket(Exception):
    """The password was not set, or nobody listens; raised by give_console_ticket."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """Where the console listens, until when the password opens it, and where the password is."""

    host: str
    address: str
    port: int
    until: float  # seconds since the epoch, by the control node's clock
    password_place: str


@check
def require_engine_running(cluster: str, target: Target) -> Site:
    """Require one host that runs the engine VM; it acts, another one witnesses.

    Raises CheckRefused.
    """
    looks = look_at_hosts(cluster, limit("look_seconds"))
    host = engine_host(looks)
    if host is None:
        raise CheckRefused(
            "no host runs the engine VM", "start it: hosted-engine --vm-start, or --vm-start-paused"
        )
    others = tuple(each.host for each in looks if each.host != host)
    return Site(cluster, target, host, others[0] if others else host, others)


@check
def require_password(password_from: str) -> str:
    """Require a password that fits; returns where it is, never itself. Raises CheckRefused."""
    console_password(password_from)
    return password_from or f"{FILE}{password_file()}"


@change
def give_console_ticket(site: Site, host: str, password_from: str) -> Outcome:
    """Set the console's password, valid for two minutes; another host sees the console listen.

    Raises CheckRefused, NoTicket.
    """
    run = current_run()
    file = f"{FOLDER}/console-{run.run_id if run else 'no-run'}"
    step = "give_console_ticket"
    _put_password(site, host, password_from, file=file, step=step)
    ran = run_once(
        site.shell(host),
        sh(GIVE_TICKET, file),
        step=step,
        timeout_seconds=limit("look_seconds"),
        accept=range(256),
    )
    found = VNC_AT.search(ran.stdout)
    if ran.exit_code != 0 or found is None:
        raise NoTicket(
            f"{host}: `hosted-engine --add-console-password` ended with exit code "
            f"{ran.exit_code}: {ran.stdout[-500:].strip() or 'no output'}. What to do: on hosts in "
            "FIPS mode VNC takes no password; use the serial console: hosted-engine --console"
        )
    _require_greeting(site, host, found[1], found[2])
    return Outcome.CHANGED


def _foretold_ticket(site: Site, host: str, password_place: str) -> Ticket:
    del site
    return Ticket(host, "ADDRESS", 0, 0.0, password_place)


@wait(foretold=_foretold_ticket)
def read_ticket(site: Site, host: str, password_place: str) -> Ticket:
    """Read where the console listens and since when, and show how to connect. Raises NoTicket."""
    told = _told(site, host)
    found = VNC_AT.search(told)
    if found is None:
        raise NoTicket(f"{host}: {told!r} names no address")
    age_seconds = max(0, int(told.split(maxsplit=1)[0]))
    until = world().clock.now().timestamp() + limit("ticket_seconds") - age_seconds
    ticket = Ticket(host, found[1], int(found[2]), until, password_place)
    text = how_to_connect(site, ticket)
    show("console", text, f"How to connect to the console of the engine VM of {site.cluster}")
    log().info("%s", text)
    return ticket


@wait
def wait_until_expired(ticket: Ticket) -> str:
    """Wait until the ticket has expired, then remove a password that was made up for it."""

    def left() -> str | None:
        seconds = ticket.until - world().clock.now().timestamp()
        return None if seconds <= 0 else f"valid until {ticket.until:.0f} (epoch)"

    wait_until(
        "the console ticket has expired",
        left,
        timeout_seconds=2 * limit("ticket_seconds"),
        every_seconds=EVERY_SECONDS,
        progress=log().info,
    )
    forget_password()
    return "expired; consoles that are open stay open"


def how_to_connect(site: Site, ticket: Ticket) -> str:
    """Return the commands that lead to the console, in Markdown; the password is not in it."""
    known = world().inventory.cluster(site.cluster)
    host, ssh = known.host(ticket.host), known.ssh
    bracketed = f"[{ticket.address}]" if ":" in ticket.address else ticket.address
    until = f"{datetime.fromtimestamp(ticket.until, UTC):%H:%M:%S} UTC"
    tunnel = ssh_command(host, ssh, "-N", "-L", f"5900:{bracketed}:{ticket.port}")
    return "\n".join(
        [
            f"## Console of the engine VM of {site.cluster}\n",
            f"- it runs on **{ticket.host}**; VNC listens at **{bracketed}:{ticket.port}**",
            f"- the password is in **{ticket.password_place}** (on the control node)",
            f"- it opens the console until **{until}**, {limit('ticket_seconds'):.0f} seconds from "
            "its setting; a console that is open then stays open",
            "\n### Through an SSH tunnel\n",
            "```",
            tunnel,
            "remote-viewer vnc://localhost:5900",
            "```",
            "### Without VNC: the serial console (leave it with ^])\n",
            "```",
            f"{ssh_command(host, ssh, '-t')} hosted-engine --console",
            "```",
        ]
    )


def _told(site: Site, host: str) -> str:
    """Return the age of the ticket in seconds, a line break, and what the command said.

    The journal knows which try of the step set it. Raises NoTicket.
    """
    run = current_run()
    step = f"give_console_ticket@{host}"
    entry = run and world().journal.find(run.run_id, Kind.REMOTE, step, Phase.OUTCOME)
    if not entry:
        raise NoTicket(f"{host}: no step of this run has set a ticket")
    argv = sh(TOLD, str(entry.payload["place"]))
    return site.shell(host).run(argv, timeout_seconds=limit("look_seconds")).checked().stdout


def _put_password(site: Site, host: str, password_from: str, *, file: str, step: str) -> None:
    """Give the host the password; that is no command of the run, nor may it be in the journal.

    Not again once the step has begun: it has taken the file away, and no other may be left behind.
    """
    shell = site.shell(host)
    if planning() is not None or claimed(shell, step=step):
        return
    password = console_password(password_from).encode()
    put = sh(PUT_PASSWORD, file, f"{limit('ticket_seconds'):.0f}")
    seconds = limit("look_seconds")
    shell.run(put, stdin=password, timeout_seconds=seconds).checked()


def _require_greeting(site: Site, host: str, address: str, port: str) -> None:
    """Hear the console speak to another host; or, behind a firewall, to its own, for a tunnel."""
    witness = site.live_witness(host)
    problem = _no_greeting(_greeted(site, witness, address, port))
    if problem is not None:
        log().warning("%s does not reach the console: %s; %s may", witness, problem, host)
        problem = _no_greeting(_greeted(site, host, address, port))
    if problem is not None:
        raise NoTicket(f"{host}: nobody speaks VNC at {address}:{port}: {problem}")


def _greeted(site: Site, by: str, address: str, port: str) -> Ran:
    argv = sh(GREETING, address, port)
    return site.shell(by).run(argv, timeout_seconds=limit("look_seconds"))


def _no_greeting(ran: Ran) -> str | None:
    if ran.stdout.startswith(RFB):
        return None
    return (ran.stderr.strip() or ran.stdout.strip() or "no answer")[-300:]
