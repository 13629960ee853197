"""Hosts for the command's tests."""

from pathlib import Path

import pytest

from ha.answers import read_answers
from ha.deploy_plan import plan_first_host
from tests.ha.cli.sim import ANSWERS, SimHost


@pytest.fixture
def bare(tmp_path: Path) -> SimHost:
    """A host without a hosted engine, with a disk image to import."""
    host = SimHost(tmp_path)
    (tmp_path / "image.raw").write_bytes(b"disk" * 1024 + bytes(8 * 1024 * 1024))
    host.write(tmp_path / "answers", ANSWERS + "OVEHOSTED_VM/ovfArchive=str:/image.raw\n")
    return host


@pytest.fixture
def host(bare: SimHost) -> SimHost:
    """A host that is deployed, as far as its own files tell."""
    plan = plan_first_host(read_answers([bare.root / "answers"]), bare.paths, bare._new_uuid)
    files = plan.archive("now")
    bare.write(bare.paths.hosted_engine_conf, files["hosted-engine.conf"])
    bare.write(bare.paths.vm_conf, files["vm.conf"])
    return bare
