"""Persons with SSH keys, and an ssh-agent, for the tests of signed approvals."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tasks.signatures import Statement
from tasks.signers import Signer
from tasks.signing import sign


@dataclass(frozen=True)
class Person:
    """A name and a key."""

    name: str
    key: Path
    passphrase: str = ""

    @property
    def signer(self) -> Signer:
        kind, key = self.key.with_suffix(".pub").read_text().split()[:2]
        return Signer(self.name, kind, key)

    def line(self, options: str = "", name: str = "") -> str:
        """Return this person's line of an allowed-signers file."""
        words = [name or self.name, options, self.signer.key_type, self.signer.key]
        return " ".join(word for word in words if word) + "\n"

    def signs(self, statement: Statement) -> str:
        return sign(statement.text(), self.signer, self.key)


def make_person(folder: Path, name: str, passphrase: str = "") -> Person:
    key = folder / name.partition("@")[0]
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", name, "-f", str(key)],
        check=True,
    )
    return Person(name, key, passphrase)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def agent(folder: Path, *persons: Person) -> Iterator[str]:
    """Run an ssh-agent with the keys of some persons; yield its socket."""
    socket = folder / "agent"
    process = subprocess.Popen(
        ["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 10
        while not socket.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        environment = {**os.environ, "SSH_AUTH_SOCK": str(socket)}
        for person in persons:
            subprocess.run(["ssh-add", "-q", str(person.key)], env=environment, check=True)
        yield str(socket)
    finally:
        process.terminate()
        process.wait(10)
