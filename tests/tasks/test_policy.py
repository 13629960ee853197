"""The policy of the gates: read whole or refused, with every problem named."""

from pathlib import Path

import pytest

from tasks.policy import Policy, PolicyError, Rules, policy_of, read_policy, rules_line
from tasks.settings import Settings
from tests.tasks.signing import Person

STRICT = "[A3]\napprovals = 2\naccept_unverified = false\nexpires_seconds = 3600\n"


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return tmp_path / "policy.toml"


def signers_file(folder: Path, *persons: Person) -> Path:
    path = folder / "allowed_signers"
    path.write_text("".join(person.line() for person in persons))
    return path


def test_without_a_file_one_typed_name_is_enough_and_the_evidence_says_so(policy: Path) -> None:
    read = read_policy(policy, policy.with_name("allowed_signers"))
    for risk in ("A0", "A1", "A2", "A3"):
        assert read.rules(risk) == Rules(approvals=1, accept_unverified=True)
        assert not read.unattended(risk)
    line = rules_line(read.rules("A3"), read, "runbook approve 1234")
    assert "no policy file" in line
    assert "\n" not in line


def test_a_class_that_is_not_named_has_the_rules_of_no_policy(
    policy: Path, ann: Person, bob: Person
) -> None:
    policy.write_text(STRICT)
    read = read_policy(policy, signers_file(policy.parent, ann, bob))
    assert read.rules("A1") == Rules()
    assert read.rules("A3").approvals == 2
    assert read.rules("A3").expires_seconds == 3600
    line = rules_line(read.rules("A3"), read, "runbook approve 1234")
    assert "two different persons" in line
    assert "`runbook approve 1234`" in line


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[A3\n", "is not TOML"),
        ("[A4]\n", "A4: there is no such key"),
        ("[A3]\napproval = 2\n", "A3.approval: there is no such key"),
        ("[A3]\napprovals = 3\n", "A3.approvals: write 1 or 2"),
        ("[A3]\napprovals = '2'\n", "A3.approvals: write 1 or 2"),
        ("[A3]\napprovals = 2\n", "add accept_unverified = false"),
        ("[A1]\naccept_unverified = 'no'\n", "A1.accept_unverified"),
        ("[A1]\naccept_unverified = 0\n", "A1.accept_unverified"),
        ("[A1]\nexpires_seconds = 0\n", "A1.expires_seconds"),
        ("[A1]\nexpires_seconds = '1 h'\n", "A1.expires_seconds"),
        ("[A3]\nunattended = true\n", "what destroys asks a person"),
        (
            "[A2]\napprovals = 2\naccept_unverified = false\nunattended = true\n",
            "contradict each other",
        ),
        ("A3 = 2\n", "A3"),
    ],
)
def test_bad_input_is_refused_by_name(policy: Path, text: str, says: str) -> None:
    policy.write_text(text)
    with pytest.raises(PolicyError) as refused:
        read_policy(policy, policy.with_name("allowed_signers"))
    assert str(policy) in str(refused.value)
    assert says in str(refused.value)


def test_all_problems_are_told_at_once(policy: Path) -> None:
    policy.write_text("[A1]\napprovals = 0\n[A2]\nexpiry = 1\n")
    with pytest.raises(PolicyError, match=r"A1\.approvals.*A2\.expiry"):
        read_policy(policy, policy.with_name("allowed_signers"))


def test_two_approvals_with_one_signer_are_refused(policy: Path, ann: Person) -> None:
    policy.write_text(STRICT)
    signers = signers_file(policy.parent, ann)
    with pytest.raises(PolicyError, match=r"A3 asks for 2 .* has 1 \(ann@example.org\)"):
        read_policy(policy, signers)


def test_a_signer_whose_time_is_over_does_not_count(policy: Path, ann: Person, bob: Person) -> None:
    policy.write_text(STRICT)
    signers = policy.with_name("allowed_signers")
    signers.write_text(ann.line() + bob.line('valid-before="20200101"'))
    with pytest.raises(PolicyError, match=r"has 1 \(ann@example.org\)"):
        read_policy(policy, signers)
    signers.write_text(ann.line() + bob.line('namespaces="git"'))
    with pytest.raises(PolicyError, match=r"has 1 \(ann@example.org\)"):
        read_policy(policy, signers)


def test_signed_approvals_without_a_signers_file_are_refused(policy: Path) -> None:
    policy.write_text("[A2]\naccept_unverified = false\n")
    with pytest.raises(PolicyError, match="asks for signed approvals, and the allowed-signers"):
        read_policy(policy, policy.with_name("allowed_signers"))


def test_a_policy_that_is_named_must_be_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RUNBOOKS_HOME", str(tmp_path))
    assert policy_of(Settings()) == Policy(signers=tmp_path / "allowed_signers")
    monkeypatch.setenv("RUNBOOKS_POLICY", str(tmp_path / "gone.toml"))
    with pytest.raises(PolicyError, match=r"gone\.toml cannot be read"):
        policy_of(Settings())
