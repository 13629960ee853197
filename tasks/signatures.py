"""Signed gate decisions: verified by OpenSSH's `ssh-keygen -Y` (see ssh-keygen(1)).

What is signed is the canonical JSON of the decision and of what was asked, so a signature holds
for one gate of one run with one evidence, once. `verify_decision(entry, intent)` says whether
a decision in the journal is what its signature says; the audit and the gate itself ask it.
"""

import hashlib
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tasks.journal_chain import canonical
from tasks.journal_records import Entry, Kind, Phase
from tasks.settings import settings
from tasks.signers import NAMESPACE, SignersRefused, read_signers
from tasks.signing import ANSWER_SECONDS, SigningFailed, openssh

CLOCK_SKEW = timedelta(minutes=5)  # between who asked, who signs and who verifies
APPROVED = "approved"  # the note of an approval that alone is not enough yet

GOOD = re.compile(r"^Good \"[^\"]+\" signature for (?P<who>\S+) with \S+ key (?P<key>SHA256:\S+)$")


class NotVerified(Exception):
    """A signature is not by an allowed signer over this very decision."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What an approver signs."""

    run_id: str
    gate: str
    asked_sha256: str  # of the intent: evidence, target, form, expiry, policy
    decision: str
    approver: str
    reason: str
    fields: Mapping[str, Any]
    at: str  # ISO 8601, UTC, whole seconds

    def text(self) -> bytes:
        """Return the bytes that are signed."""
        return canonical({"namespace": NAMESPACE, **asdict(self)}).encode()


@dataclass(frozen=True, slots=True)
class Verified:
    """Who signed, by which key."""

    principal: str
    fingerprint: str


def asked_sha256(intent: Entry) -> str:
    """Return the digest of what a gate's intent asks: all that it shows and wants."""
    asked = {"run_id": intent.run_id, "gate": intent.step, "cluster": intent.cluster}
    return hashlib.sha256(canonical({**asked, **intent.payload}).encode()).hexdigest()


def verify(statement: Statement, signature: str, signers: Path) -> Verified:
    """Return who signed a statement. Raises: NotVerified, SignersRefused."""
    allowed = read_signers(signers)
    at = datetime.fromisoformat(statement.at).astimezone()  # in its zone, as valid-before is
    when = f"-Overify-time={at:%Y%m%d%H%M%S}"
    person = next((s.principal for s in allowed if s.principal == statement.approver), None)
    if person is None:
        raise NotVerified(f"{statement.approver!r} is nobody of {signers}")
    with tempfile.TemporaryDirectory(prefix="runbook-verify-") as folder:
        proof = Path(folder) / "signature"
        proof.write_text(signature, "utf-8")
        argv = [
            *("ssh-keygen", "-Y", "verify", "-f", str(signers), "-I", person),
            *("-n", NAMESPACE, "-s", str(proof), when),
        ]
        try:
            ran = openssh(argv, ANSWER_SECONDS, stdin=statement.text())
        except SigningFailed as error:
            raise NotVerified(
                f"the signature is not {person}'s over this very decision: {error}"
            ) from error
    good = GOOD.match(ran.stdout.strip())
    if good is None or good["who"] != person:
        raise NotVerified(f"ssh-keygen said: {ran.stdout.strip()[:200]!r}")
    return Verified(person, good["key"])


def statement_of(entry: Entry, intent: Entry) -> Statement:
    """Return what the signer of a decision in the journal must have signed."""
    was = entry.payload
    return Statement(
        run_id=intent.run_id,
        gate=intent.step,
        asked_sha256=asked_sha256(intent),
        decision=was["decision"],
        approver=entry.actor,
        reason=was["reason"],
        fields=was["fields"],
        at=was["answered_at"],
    )


def verify_decision(entry: Entry, intent: Entry, signers: Path | None = None) -> str | None:
    """Return what is wrong with a decision (or one approval of two) in the journal, or None.

    `entry` is of kind `gate` and of phase `decision`, or a note whose payload has
    `what: approved`; `intent` is the gate's intent. `signers` is the allowed-signers file, by
    default the settings'. An entry without a signature is in order where its gate's policy
    accepts that. The file must still hold the keys of old decisions: end a key's time by
    `valid-before`, do not remove its line. Raises: SignersRefused.
    """
    if (entry.run_id, entry.step) != (intent.run_id, intent.step):
        return f"entry {entry.seq} is of another gate than entry {intent.seq}"
    if entry.signature is None:
        return _problem_unsigned(entry, intent)
    payload = entry.payload
    try:
        found = verify(
            statement_of(entry, intent),
            entry.signature,
            signers or settings().allowed_signers_path(),
        )
    except NotVerified as error:
        return f"entry {entry.seq}, gate `{entry.step}`: {error}"
    if found.fingerprint != payload.get("key"):
        return f"entry {entry.seq}: signed by {found.fingerprint}, recorded {payload.get('key')}"
    at = datetime.fromisoformat(payload["answered_at"])
    expires_at = datetime.fromisoformat(intent.payload["expires_at"])
    if not intent.at - CLOCK_SKEW <= at < expires_at:
        return f"entry {entry.seq}: signed at {at:%F %T} UTC, when the gate was not open"
    return None


def _problem_unsigned(entry: Entry, intent: Entry) -> str | None:
    where = f"entry {entry.seq}, gate `{entry.step}`"
    payload = entry.payload
    if payload.get("verified"):
        return f"{where}: it is marked as verified and has no signature"
    rules = intent.payload.get("rules", {})
    if payload.get("decision") != "approve" or rules.get("accept_unverified", True):
        return None
    if entry.via == "policy" and rules.get("unattended", False):
        return None
    return f"{where}: it is not signed, and the policy asks for that"


def is_approval(entry: Entry) -> bool:
    """Tell whether an entry is an approval: the decision, or one of the two that it takes."""
    if entry.kind is not Kind.GATE:
        return False
    if entry.phase is Phase.DECISION:
        return bool(entry.payload["decision"] == "approve")
    return entry.phase is Phase.NOTE and entry.payload.get("what") == APPROVED


def gate_problem(
    entries: Sequence[Entry], intent: Entry, signers: Path | None = None
) -> str | None:
    """Return why a gate's entries do not amount to an approval under its policy, or None."""
    approvals = [e for e in entries if e.step == intent.step and is_approval(e)]
    try:
        problems = [verify_decision(entry, intent, signers) for entry in approvals]
    except SignersRefused as error:
        return str(error)
    for entry, problem in zip(approvals, problems, strict=True):
        if problem is not None and entry.phase is Phase.DECISION:
            return problem
    sound = [e for e, problem in zip(approvals, problems, strict=True) if problem is None]
    wanted = int(intent.payload.get("rules", {}).get("approvals", 1))
    names = {each.actor for each in sound}
    keys = {each.payload.get("key") for each in sound}
    if wanted > 1 and min(len(names), len(keys)) < wanted:
        return f"gate `{intent.step}` takes {wanted} different persons and has {sorted(names)}"
    return None
