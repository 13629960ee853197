"""The allowed-signers file, and signing by a key file, by ssh-agent, and with a passphrase."""

import os
import pty
import select
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.signatures import NotVerified, Statement, verify
from tasks.signers import SignersRefused, persons, read_signers
from tasks.signing import SigningFailed, agent_signers, sign, signer_of_key
from tests.tasks.signing import Person, agent, make_person, now

ROOT = Path(__file__).parents[2]
SIGN_HERE = """
import sys
from pathlib import Path
from tasks.signing import sign, signer_of_key
from tasks.signers import read_signers
key = Path(sys.argv[2])
signature = sign(b"said", signer_of_key(key, read_signers(Path(sys.argv[1]))), key)
Path(sys.argv[3]).write_text(signature)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "allowed_signers"


def statement(person: Person) -> Statement:
    return Statement("r1", "go", "0" * 64, "approve", person.name, "why", {"n": 1}, now())


def test_comments_options_and_several_keys_of_a_person(
    file: Path, ann: Person, bob: Person, eve: Person
) -> None:
    lines = [
        "# who may approve\n",
        "\n",
        ann.line('namespaces="git,hosted-engine-runbooks",valid-before="20990101"'),
        bob.line(),
        eve.line(name=ann.name),
    ]
    file.write_text("".join(lines))
    signers = read_signers(file)
    assert [each.principal for each in signers] == [ann.name, bob.name, ann.name]
    assert persons(signers) == (ann.name, bob.name)
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(ann.key)], capture_output=True, text=True, check=True
    )
    assert signers[0].fingerprint in shown.stdout


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{bob} *@example.org {key}", "unknown option '*@example.org'"),
        ("*@example.org {key}", "one person's name"),
        ("ann,bob {key}", "one person's name"),
        ("a {key}", "one person's name"),
        ("ann@example.org", "no key"),
        ("ann@example.org ssh-ed25519", "no key"),
        ("ann@example.org ssh-ed25519 not*base64", "not base64"),
        ("ann@example.org cert-authority {key}", "cert-authority"),
        ('ann@example.org valid-before="soon" {key}', "valid-before='soon'"),
        ("bob@example.org {ann}", "the key of ann@example.org again, now as bob@example.org"),
    ],
)
def test_a_line_that_two_persons_could_stand_behind_is_refused(
    file: Path, ann: Person, eve: Person, line: str, says: str
) -> None:
    key = f"{eve.signer.key_type} {eve.signer.key}"
    same = f"{ann.signer.key_type} {ann.signer.key}"
    file.write_text(ann.line() + line.format(key=key, ann=same, bob="bob@example.org") + "\n")
    with pytest.raises(SignersRefused, match="line 2") as refused:
        read_signers(file)
    assert says in str(refused.value)


def test_a_file_that_others_can_write_or_nobody_can_read_is_refused(
    file: Path, ann: Person
) -> None:
    with pytest.raises(SignersRefused, match="cannot be read"):
        read_signers(file)
    file.write_text(ann.line())
    file.chmod(0o664)
    with pytest.raises(SignersRefused, match="chmod 644"):
        read_signers(file)


def test_an_agent_signs_and_a_missing_one_holds_nothing(
    file: Path, tmp_path: Path, ann: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(ann.line() + bob.line())
    signers = read_signers(file)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    assert agent_signers(signers) == []
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "gone"))
    assert agent_signers(signers) == []
    with agent(tmp_path, bob) as socket:
        monkeypatch.setenv("SSH_AUTH_SOCK", socket)
        assert agent_signers(signers) == [bob.signer]
        said = statement(bob)
        signature = sign(said.text(), bob.signer, None)
        assert verify(said, signature, file).principal == bob.name
        with pytest.raises(SigningFailed):
            sign(said.text(), ann.signer, None)


def test_what_cannot_sign_says_so(file: Path, tmp_path: Path, ann: Person, eve: Person) -> None:
    file.write_text(ann.line())
    signers = read_signers(file)
    with pytest.raises(SigningFailed, match="is not in the allowed-signers file"):
        signer_of_key(eve.key, signers)
    (tmp_path / "text").write_text("no key")
    with pytest.raises(SigningFailed, match="exit code 255"):
        signer_of_key(tmp_path / "text", signers)


def test_a_signature_needs_its_person_in_the_file(file: Path, ann: Person, eve: Person) -> None:
    file.write_text(ann.line())
    said = statement(ann)
    assert verify(said, ann.signs(said), file).fingerprint == ann.signer.fingerprint
    with pytest.raises(NotVerified, match="over this very decision"):
        verify(said, replace(eve, name=ann.name).signs(said), file)
    with pytest.raises(NotVerified, match="over this very decision"):
        verify(said, "no signature", file)
    file.write_text(eve.line())
    with pytest.raises(NotVerified, match="is nobody of"):
        verify(said, ann.signs(said), file)


def test_a_passphrase_is_asked_on_the_terminal_and_nowhere_else(file: Path, tmp_path: Path) -> None:
    locked = make_person(tmp_path, "locked@example.org", "open sesame")
    file.write_text(locked.line())
    signature = tmp_path / "signature"
    argv = [sys.executable, "-c", SIGN_HERE, str(file), str(locked.key), str(signature)]
    helper = tmp_path / "askpass"
    helper.write_text("#!/bin/sh\necho open sesame\n")
    helper.chmod(0o755)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "SSH_ASKPASS": str(helper), "DISPLAY": ":0"}
    nowhere = subprocess.run(
        argv, env=env, stdin=subprocess.DEVNULL, start_new_session=True, timeout=60,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "incorrect passphrase" in nowhere.stderr
    assert not signature.exists()

    child, terminal = pty.fork()
    if child == 0:
        os.execve(argv[0], argv, env)
    seen = typed_at_prompt(terminal, "open sesame\n")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, seen
    assert signature.read_text().startswith("-----BEGIN SSH SIGNATURE-----")
    assert "open sesame" not in seen


def typed_at_prompt(terminal: int, text: str) -> str:
    """Type at the first prompt; return all that was shown until the end."""
    seen, typed = "", False
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 0.5)[0]:
            continue
        try:
            shown = os.read(terminal, 4096).decode()
        except OSError:  # its other end is closed
            break
        if not shown:
            break
        seen += shown
        if "passphrase" in seen and not typed:
            os.write(terminal, text.encode())
            typed = True
    return seen
