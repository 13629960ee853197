"""Hosts whose tools answer in another language are understood all the same."""

from pathlib import Path

import pytest

from tasks import checks
from tasks.hosts import look_at_hosts
from tasks.metadata import Volume
from tasks.runs import entered_run
from tests.fake_cluster import fake_cluster
from tests.fake_host import IMAGE, SD, TARGET, VOLUME


def test_a_host_may_speak_another_language(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    with (
        fake_cluster(tmp_path) as cluster,
        entered_run("metadata-too-new", parameters={"cluster": "lab"}),
    ):
        for name, said, english in (
            ("stat", "regul\u00e4re Datei", 'exec /usr/bin/stat "$@"'),
            ("virsh", "ausgeschaltet", 'echo "shut off"'),
        ):
            tool = cluster.hosts["h2"].root / "bin" / name
            translated = f'[ "$LC_ALL" = C ] || {{ echo "{said}"; exit; }}'
            tool.write_text(f"#!/bin/sh\n{translated}\n{english}\n")
            tool.chmod(0o755)
        found = checks.require_one_target.fn("lab", Volume("nfs", SD, IMAGE, VOLUME))
        assert found.path == TARGET
        assert [each.runs_engine for each in look_at_hosts("lab", 9)] == [True, False, False]
