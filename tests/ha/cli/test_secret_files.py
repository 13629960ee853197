"""What may hold a password is not everybody's to read, not even while it is written."""

import os
from pathlib import Path

import pytest

from ha.cli.proof import keep
from ha.conf_archive import pack, unpack
from ha.whole_file import write_whole
from tests.ha.cli.sim import SimHost
from tests.ha.cli.test_deploy import deploy, domain_of, first, second  # noqa: F401  (fixtures)


def mode(place: Path) -> int:
    return place.stat().st_mode & 0o7777


def test_a_backup_is_roots(bare: SimHost, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = bare.paths.state / "backups"
    folder.mkdir(parents=True, mode=0o755)
    seen: list[int] = []
    real = os.fsync

    def fsync(opened: int) -> None:
        seen.append(os.fstat(opened).st_mode & 0o7777)
        real(opened)

    monkeypatch.setattr(os, "fsync", fsync)
    backup = keep(bare._host(), "conf", b"password=secret\n")
    assert (mode(folder), mode(backup), seen) == (0o700, 0o600, [0o600])


def test_hosted_engine_conf_without_a_password(first: SimHost) -> None:  # noqa: F811
    assert mode(first.paths.hosted_engine_conf) == 0o644


def test_hosted_engine_conf_with_a_password(first: SimHost, second: SimHost) -> None:  # noqa: F811
    domain = domain_of(first)
    archive = domain.place(domain.configuration)
    files = unpack(archive.read_bytes()[:20480])
    secret = files["hosted-engine.conf"] + "password=secret\n"
    archive.write_bytes(pack({**files, "hosted-engine.conf": secret}))
    assert deploy(second) == 0, second.complained
    assert "password=secret" in second.paths.hosted_engine_conf.read_text()
    assert mode(second.paths.hosted_engine_conf) == 0o640


@pytest.mark.parametrize("given", [0o640, None])
def test_a_file_has_its_mode_before_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: int | None
) -> None:
    file = tmp_path / "hosted-engine.conf"
    file.touch(mode=0o640)
    real, seen = Path.chmod, []

    def chmod(place: Path, mode: int) -> None:
        seen.append(place.read_text())
        real(place, mode)

    monkeypatch.setattr(Path, "chmod", chmod)
    write_whole(file, "password=secret\n" * 9999, mode=given)
    assert (seen, mode(file)) == ([""], 0o640)
