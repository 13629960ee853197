"""Who answers a gate from the command line: a person with an SSH key, or a typed name."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from flows.cli_output import UsageRefused
from tasks.deciding import Signed, statement_for
from tasks.decisions import APPROVE, PendingGate
from tasks.settings import settings
from tasks.signers import Signer, read_signers
from tasks.signing import agent_signers, sign, signer_of_key


@dataclass(frozen=True, slots=True)
class Who:
    """An approver; without a signer his name is only typed."""

    name: str  # empty: not known yet
    signer: Signer | None = None
    key: Path | None = None  # None: the key is in ssh-agent

    def describe(self) -> str:
        """Return how sure it is that it is he."""
        if self.signer is None:
            return f"{self.name or 'you'}, unverified: there is no key of an allowed signer"
        return f"{self.name}, signed by {self.signer.fingerprint}"


def who_answers(pending: PendingGate, name: str | None, key: Path | None) -> Who:
    """Return who answers a gate: of the key file, else of ssh-agent, else the typed name.

    The name is empty if nothing is known.
    Raises UsageRefused, SigningFailed, SignersRefused.
    """
    path = Path(pending.signers) if pending.signers else settings().allowed_signers_path()
    if key is None and not path.exists():
        return Who(name or "")
    signers = read_signers(path)
    if key is not None:
        return of_key(key, signers, name)
    held = {each.principal: each for each in reversed(agent_signers(signers))}
    if name in held:
        return Who(name, held[name])
    if name is not None or not held:
        return Who(name or "")
    if len(held) > 1:
        raise UsageRefused(
            f"ssh-agent holds keys of {', '.join(sorted(held))}: say who you are with --as, or "
            "name the key with --key"
        )
    return Who(*next(iter(held.items())))


def of_key(key: Path, signers: tuple[Signer, ...], name: str | None) -> Who:
    """Return whose key a file is.  Raises UsageRefused if it is not the named one's."""
    if not key.is_file():
        raise UsageRefused(f"--key {key}: there is no such file")
    signer = signer_of_key(key, signers)
    if name not in (None, signer.principal):
        raise UsageRefused(f"{key} is the key of {signer.principal}, not of {name}: leave out --as")
    return Who(signer.principal, signer, key)


def require_key(pending: PendingGate, who: Who, decision: str) -> None:
    """Refuse a typed name before anything is asked where only a signature counts."""
    if who.signer is None and pending.signed_only and decision == APPROVE:
        raise UsageRefused(
            f"gate {pending.gate} ({pending.risk}) takes signed approvals only, and there is no "
            f"key of yours. Name one with --key FILE, or add it to ssh-agent (ssh-add; behind "
            f"sudo keep SSH_AUTH_SOCK). It must be in {pending.signers}"
        )


def signature(pending: PendingGate, who: Who, form: dict[str, object]) -> Signed | None:
    """Return a signature over an answer; None of somebody who has no key.  Raises SigningFailed."""
    if who.signer is None:
        return None
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return Signed(at, sign(statement_for(pending, form, at).text(), who.signer, who.key))
