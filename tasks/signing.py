"""Signing with OpenSSH: the keys that ssh-agent or a file holds, and `ssh-keygen -Y sign`."""

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tasks.signers import NAMESPACE, Signer

SIGN_SECONDS = 180  # a person types a passphrase, or touches a key
ANSWER_SECONDS = 20


class SigningFailed(Exception):
    """No signature could be made: no such key, a wrong passphrase, no agent."""


def agent_signers(signers: Sequence[Signer]) -> list[Signer]:
    """Return those of some signers whose keys ssh-agent holds; none if there is no agent."""
    if not os.environ.get("SSH_AUTH_SOCK"):
        return []
    try:
        listed = openssh(["ssh-add", "-L"], ANSWER_SECONDS, check=False)
    except SigningFailed:
        return []
    held = {line.split()[1] for line in listed.stdout.splitlines() if len(line.split()) > 1}
    return [signer for signer in signers if signer.key in held]


def signer_of_key(key: Path, signers: Sequence[Signer]) -> Signer:
    """Return the signer of a private or public key file. Raises: SigningFailed."""
    listed = openssh(["ssh-keygen", "-l", "-E", "sha256", "-f", str(key)], ANSWER_SECONDS)
    words = listed.stdout.split()
    for signer in signers:
        if signer.fingerprint in words[:2]:
            return signer
    raise SigningFailed(
        f"the key {key} ({' '.join(words[1:2])}) is not in the allowed-signers file; who may"
        " change that file adds it, see docs/gates.md"
    )


def sign(statement: bytes, signer: Signer, key: Path | None) -> str:
    """Return a signature over a statement, by a key file or (None) by ssh-agent.

    A passphrase is asked by ssh-keygen itself, on the terminal. Raises: SigningFailed.
    """
    with tempfile.TemporaryDirectory(prefix="runbook-sign-") as folder:
        data = Path(folder) / "statement"
        data.write_bytes(statement)
        argv = ["ssh-keygen", "-Y", "sign", "-n", NAMESPACE]
        if key is None or key.suffix == ".pub":  # -U: the private key is in the agent
            public = Path(folder) / "key.pub"
            public.write_text(f"{signer.key_type} {signer.key}\n")
            argv += ["-U", "-f", str(public)]
        else:
            argv += ["-f", str(key)]
        openssh([*argv, str(data)], SIGN_SECONDS, stdin=None)
        return (data.with_name("statement.sig")).read_text("ascii")


def openssh(
    argv: list[str],
    timeout_seconds: float,
    *,
    stdin: bytes | None = b"",
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a command of OpenSSH's; `stdin=None` leaves it the terminal. Raises: SigningFailed."""
    # A passphrase comes from the terminal only, never from a helper program in a window.
    env = {**os.environ, "LC_ALL": "C", "SSH_ASKPASS_REQUIRE": "never"}
    try:
        ran = subprocess.run(
            argv,
            input=None if stdin is None else stdin.decode(),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env=env,
            timeout=timeout_seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SigningFailed(f"`{' '.join(argv[:3])}`: {error}") from error
    if check and ran.returncode != 0:
        said = " ".join((ran.stderr.strip() or ran.stdout.strip()).split())[-300:]
        raise SigningFailed(f"`{' '.join(argv[:3])}` ended with exit code {ran.returncode}: {said}")
    return ran
