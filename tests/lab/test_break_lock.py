"""break-lock on real hosts, through Prefect; then the journal is verified with what hosts keep."""

import sqlite3
from pathlib import Path

import pytest

from tasks.audit_heads import kept_heads
from tasks.audit_verify import verify_journal
from tasks.journal import Journal
from tasks.lock import holder
from tests.lab.care import idle_host
from tests.lab.cluster import Lab
from tests.lab.commands import LabError
from tests.lab.control_node import ControlNode

pytestmark = [pytest.mark.lab, pytest.mark.slow]


def test_a_run_is_broken_and_the_hosts_keep_what_proves_it(
    broken: Lab, control_node: ControlNode, tmp_path: Path
) -> None:
    node = control_node
    old = node.launch(canary=idle_host(broken))
    node.wait_for_gate(old)
    breaking = node.launch("break-lock")
    node.wait_for_gate(breaking)
    evidence = node.status(breaking)["gate"]["evidence"]
    assert f"held by run `{old}`, runbook metadata-too-new" in evidence
    assert "waits at a gate: approve_write" in evidence
    assert "Prefect says: Suspended" in evidence
    assert "set by run" in evidence  # global maintenance
    approve = ("approve", breaking, "--as", "bob", "--reason", "a test of the lab")
    with pytest.raises(LabError, match="the typed target"):
        node.read(*approve, "--set", "target=lab")
    node.read(*approve, "--set", f"target={old}")
    ended = node.wait_for_end(breaking)
    assert ended["state_type"] == "COMPLETED", ended["message"]
    assert node.ended_as(old) == "lock broken"
    assert node.status(old)["run"]["state_type"] == "CANCELLED"
    assert "waits at no gate" in node.complaint("approve", old, "--as", "ann", "--reason", "late")
    assert holder(node.journal, "lab") is None
    assert "whole: nothing was edited" in node.read("audit", "verify")
    require_hosts_to_tell_of_a_cut(node, tmp_path)


def require_hosts_to_tell_of_a_cut(node: ControlNode, folder: Path) -> None:
    """Cut the tail of a copy of the journal, head and all; ask the real hosts."""
    with node.here():
        kept = kept_heads(node.journal, "lab")
    assert kept.troubles == ()
    assert len({head.host for head in kept.heads}) == 3
    copy = folder / "journal.db"
    with sqlite3.connect(node.home / "journal.db") as whole, sqlite3.connect(copy) as cut:
        whole.backup(cut)
        cut.execute("DROP TRIGGER journal_no_delete")
        cut.execute("DELETE FROM journal_entries WHERE seq > 2")
        cut.execute(
            "UPDATE journal_head SET (seq, hash) = (SELECT seq, hash FROM journal_entries"
            " WHERE seq = 2)"
        )
    faults = verify_journal(Journal(f"sqlite:///{copy}"), [kept]).faults
    assert len([fault for fault in faults if "the tail was cut" in fault.what]) == 3
