"""The allowed-signers file: whose SSH keys approve at gates, and under which name.

OpenSSH's own format (ssh-keygen(1), ALLOWED SIGNERS), held to what a two-person rule can stand
on: one person a line, no patterns, no key under two names, no certificate authorities.
"""

import base64
import binascii
import hashlib
import os
import re
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

NAMESPACE = "hosted-engine-runbooks"

PRINCIPAL = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._@+-]{1,99}$")
KEY_TYPE = re.compile(r"^(sk-)?(ssh|ecdsa)-[a-z0-9-]+(@openssh\.com)?$")
WORDS = re.compile(r'(?:[^\s"]|"[^"]*")+')
TIME = re.compile(r"^(\d{8})(\d{4})?(\d{2})?(Z?)$")


OPTIONS = {"namespaces", "valid-after", "valid-before", "cert-authority"}


class SignersRefused(Exception):
    """The allowed-signers file cannot be relied on; the text has file, line and remedy."""


@dataclass(frozen=True, slots=True)
class Signer:
    """One key and the person whose it is."""

    principal: str
    key_type: str
    key: str  # base64, as in a public key file
    valid_before: datetime | None = None

    @property
    def fingerprint(self) -> str:
        """Return the key's fingerprint as ssh-keygen prints it."""
        return fingerprint_of(self.key)

    def valid_at(self, at: datetime) -> bool:
        """Tell whether the line had not run out at a time."""
        return self.valid_before is None or at < self.valid_before


def fingerprint_of(key: str) -> str:
    """Return the fingerprint of a public key in base64. Raises: binascii.Error."""
    digest = hashlib.sha256(base64.b64decode(key, validate=True)).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def read_signers(path: Path) -> tuple[Signer, ...]:
    """Return the signers of a file, in its order. Raises: SignersRefused, telling all problems."""
    text = _trusted_text(path)
    signers: list[Signer] = []
    problems: list[str] = []
    owners: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            signer = _signer(line)
            if signer is None:
                continue
            owner = owners.setdefault(signer.key, signer.principal)
            if owner != signer.principal:
                raise ValueError(f"the key of {owner} again, now as {signer.principal}")
            signers.append(signer)
        except ValueError as error:
            problems.append(f"line {number}: {error}")
    if problems:
        raise SignersRefused(f"{path} is not used: " + "; ".join(problems))
    return tuple(signers)


def persons(signers: tuple[Signer, ...], at: datetime | None = None) -> tuple[str, ...]:
    """Return the names of those who can sign at a time (now, if none is given), sorted."""
    when = at or datetime.now(UTC)
    return tuple(sorted({each.principal for each in signers if each.valid_at(when)}))


def _trusted_text(path: Path) -> str:
    try:
        found = path.stat()
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SignersRefused(
            f"the allowed-signers file {path} cannot be read: {error}; make it as docs/gates.md"
            " says, or name another in RUNBOOKS_ALLOWED_SIGNERS"
        ) from error
    if found.st_uid not in (0, os.geteuid()) or stat.S_IMODE(found.st_mode) & 0o022:
        raise SignersRefused(
            f"{path} says whose approval counts, and others than root can write it"
            f" (owner {found.st_uid}, mode {stat.S_IMODE(found.st_mode):04o});"
            f" run: chown root {path}; chmod 644 {path}"
        )
    return text


def _signer(line: str) -> Signer | None:
    """Return the signer of a line, None if it is for other namespaces. Raises: ValueError."""
    principal, *words = WORDS.findall(line)
    principal = principal.strip('"')
    if not PRINCIPAL.match(principal):
        raise ValueError(
            f"{principal!r} must be one person's name: no comma, no pattern, at least 2 characters"
        )
    at = next((i for i, word in enumerate(words) if KEY_TYPE.match(word)), None)
    if at is None or at + 1 >= len(words):
        raise ValueError("no key: write NAME [OPTIONS] TYPE KEY, as in a public key file")
    options = _options(words[:at])
    unknown = sorted(options.keys() - OPTIONS)
    if unknown:
        raise ValueError(f"unknown option {unknown[0]!r}; write NAME [OPTIONS] TYPE KEY")
    if "cert-authority" in options:
        raise ValueError("cert-authority: name the persons' own keys instead")
    try:
        fingerprint_of(words[at + 1])
    except binascii.Error as error:
        raise ValueError(f"the key is not base64: {error}") from error
    namespaces = options.get("namespaces")
    if namespaces is not None and NAMESPACE not in namespaces.split(","):
        return None
    return Signer(principal, words[at], words[at + 1], _time(options.get("valid-before")))


def _options(words: list[str]) -> dict[str, str]:
    parts = re.findall(r'(?:[^,"]|"[^"]*")+', ",".join(words))
    pairs = (part.partition("=") for part in parts)
    return {name.lower(): value.strip('"') for name, _, value in pairs}


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    match = TIME.match(text)
    if match is None:
        raise ValueError(f"valid-before={text!r}: write YYYYMMDD or YYYYMMDDHHMM[SS], Z for UTC")
    digits = "".join(part or "" for part in match.groups()[:3]).ljust(14, "0")
    naive = datetime.strptime(digits, "%Y%m%d%H%M%S")  # noqa: DTZ007  (its zone follows)
    # As ssh-keygen has it: the machine's own zone unless Z says otherwise.
    return naive.replace(tzinfo=UTC) if match[4] else naive.astimezone(UTC)
