"""The policy of the gates: what each risk class asks for, read from TOML and checked first.

    [A3]
    approvals = 2              # two different persons, each by a signature
    accept_unverified = false  # a name typed into a form does not count
    expires_seconds = 14400
    unattended = false         # a scheduled run does not pass it by itself

Without a file one approval is enough, and a typed name is accepted.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tasks.settings import Settings
from tasks.signers import SignersRefused, persons, read_signers

CLASSES = ("A1", "A2", "A3")
REMEDIES = {
    "extra_forbidden": "there is no such key; remove it or correct its spelling",
    "literal_error": "write 1 or 2",
}


class PolicyError(Exception):
    """The policy cannot be used, or cannot be fulfilled; nothing is done under it."""


class Rules(BaseModel):
    """What the gates of one risk class ask for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    approvals: Literal[1, 2] = 1
    accept_unverified: bool = Field(default=True, strict=True)
    expires_seconds: int | None = Field(default=None, gt=0, strict=True)
    unattended: bool = Field(default=False, strict=True)

    @model_validator(mode="after")
    def _hold_together(self) -> Self:
        if self.approvals > 1 and self.accept_unverified:
            raise ValueError(
                "two approvals by typed names prove nothing: add accept_unverified = false"
            )
        if self.approvals > 1 and self.unattended:
            raise ValueError("unattended = true and approvals = 2 contradict each other")
        return self


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    A1: Rules = Rules()
    A2: Rules = Rules()
    A3: Rules = Rules()

    @model_validator(mode="after")
    def _destruction_is_attended(self) -> Self:
        if self.A3.unattended:
            raise ValueError("A3: unattended = true is not possible: what destroys asks a person")
        return self


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules in force; `source` is the file, None without one."""

    by_class: Mapping[str, Rules] = field(default_factory=dict)
    source: Path | None = None
    signers: Path | None = None  # the allowed-signers file

    def rules(self, risk: str) -> Rules:
        """Return the rules of a risk class; those of no policy if it has none."""
        return self.by_class.get(risk, Rules())

    def unattended(self, risk: str) -> bool:
        """Tell whether a scheduled run may pass the gates of a class by itself."""
        return self.rules(risk).unattended


def read_policy(path: Path | None, signers: Path, *, required: bool = False) -> Policy:
    """Return the policy of a file; of none if there is no file and none is required.

    Raises: PolicyError, which names file, key and remedy, all at once.
    """
    if path is None or not (required or path.exists()):
        return Policy(signers=signers)
    try:
        read = _File.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"the policy {path} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"{path} is not TOML: {error}") from error
    except ValidationError as error:
        raise PolicyError(f"{path} is not used: " + "; ".join(_problems(error))) from error
    by_class = {name: getattr(read, name) for name in CLASSES}
    _require_signers(path, by_class, signers)
    return Policy(by_class, path, signers)


def policy_of(chosen: Settings) -> Policy:
    """Return the policy of the settings. Raises: PolicyError."""
    required = chosen.policy is not None
    return read_policy(chosen.policy_path(), chosen.allowed_signers_path(), required=required)


def rules_line(rules: Rules, policy: Policy, command: str) -> str:
    """Return the one line of a gate's evidence that says what its policy is."""
    if policy.source is None:
        return (
            "*Policy: no policy file is set, so one approval is enough and a typed name counts,"
            " unverified.*"
        )
    if rules.accept_unverified:
        said = "one approval; a typed name counts, unverified"
    elif rules.approvals == 1:
        said = f"one signed approval; this form can only reject. Approve by `{command}`"
    else:
        said = (
            "signed approvals by two different persons; this form can only reject. Approve by"
            f" `{command}`"
        )
    by_itself = "; a scheduled run passes by itself" if rules.unattended else ""
    return f"*Policy ({policy.source}): {said}{by_itself}.*"


def _require_signers(path: Path, by_class: Mapping[str, Rules], signers: Path) -> None:
    strict = {name: rules for name, rules in by_class.items() if not rules.accept_unverified}
    if not strict:
        return
    try:
        able = persons(read_signers(signers))
    except SignersRefused as error:
        raise PolicyError(f"{path} asks for signed approvals, and {error}") from error
    for name, rules in strict.items():
        if len(able) < rules.approvals:
            raise PolicyError(
                f"{path}: {name} asks for {rules.approvals} signed approval(s) by different"
                f" persons, and {signers} has {len(able)} ({', '.join(able) or 'nobody'}) whose"
                " keys are valid now; add the missing ones as docs/gates.md says"
            )


def _problems(error: ValidationError) -> list[str]:
    found: list[Any] = error.errors(include_url=False)
    lines = []
    for each in found:
        where = ".".join(map(str, each["loc"]))
        what = REMEDIES.get(each["type"], each["msg"].removeprefix("Value error, "))
        lines.append(f"{where}: {what}" if where else what)
    return lines
