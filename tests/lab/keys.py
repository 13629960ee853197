"""Keys made before anything boots, so that no host key is ever taken on trust."""

from dataclasses import dataclass
from pathlib import Path

from tests.lab.commands import run
from tests.lab.image import locked


@dataclass(frozen=True, slots=True)
class Keys:
    """The lab's key pairs, each made when first asked for and then kept."""

    folder: Path

    def private(self, owner: str) -> Path:
        """The private key of `owner`: `client`, `engine` or a host."""
        path = self.folder / owner
        with locked(self.folder / ".lock"):
            if not path.exists():
                draft = path.with_name(f"{owner}.part")
                draft.unlink(missing_ok=True)
                run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", owner, "-f", str(draft)])
                Path(f"{draft}.pub").replace(path.with_name(f"{owner}.pub"))
                draft.replace(path)
        return path

    def public(self, owner: str) -> str:
        """The public key of `owner`, as type and base64."""
        self.private(owner)
        return " ".join((self.folder / f"{owner}.pub").read_text().split()[:2])


def known_hosts_line(names: list[str], public_key: str) -> str:
    """The line of a known_hosts file by which those names are recognised."""
    return f"{','.join(names)} {public_key}\n"
