"""The newest hashes on the hosts: left at each end of a run, bounded, read back, compared."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks import host_notes
from tasks.audit_heads import file_of, kept_heads, tell_heads
from tasks.audit_verify import verify_journal
from tasks.env import world
from tasks.gates import GateRejected, TargetForm, gate
from tasks.runs import entered_run
from tests.fake_cluster import REJECTED, FakeCluster, fake_cluster, unreachable
from tests.tasks.tampering import said, tamper

CLUSTER = {"cluster": "lab"}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with fake_cluster(tmp_path, ids=(1, 2)) as made:
        yield made


def kept_file(cluster: FakeCluster, host: str) -> Path:
    name = file_of(cluster.world.journal.journal_id())
    return Path(cluster.hosts[host].here(f"/var/lib/hosted-engine-runbooks/{name}"))


def lines(cluster: FakeCluster, host: str) -> list[str]:
    file = kept_file(cluster, host)
    return file.read_text().splitlines() if file.exists() else []


def run(run_id: str, *, mutates: bool = True) -> None:
    with entered_run("zero", parameters=CLUSTER, mutates=mutates, run_id=run_id):
        pass


def test_each_end_of_a_mutating_run_leaves_the_head_on_every_host(cluster: FakeCluster) -> None:
    run("r1")
    first = cluster.world.journal.head()
    with pytest.raises(RuntimeError), entered_run("zero", parameters=CLUSTER, run_id="r2"):
        raise RuntimeError("planted")
    second = cluster.world.journal.head()
    run("r3", mutates=False)
    for host in ("h1", "h2"):
        assert [line.split()[:2] for line in lines(cluster, host)] == [
            [str(first[0]), first[1]],
            [str(second[0]), second[1]],
        ]
    assert kept_file(cluster, "h1").stat().st_mode & 0o777 == 0o600


def test_it_is_left_before_a_gate_is_asked(cluster: FakeCluster) -> None:
    seen: list[int] = []
    cluster.answers = [REJECTED]
    cluster.at_gate = lambda: seen.append(len(lines(cluster, "h1")))
    with (
        pytest.raises(GateRejected),
        entered_run("zero", parameters=CLUSTER, run_id="r1"),
    ):
        gate("approve", evidence="x", risk="A3", form=TargetForm, target="lab")
    assert seen == [1]
    assert len(lines(cluster, "h1")) == 2


def test_a_host_that_does_not_answer_or_is_full_fails_no_run(
    cluster: FakeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.hosts["h1"].trouble = unreachable("h1")
    Path(cluster.hosts["h2"].here("/var/lib/hosted-engine-runbooks")).write_text("no folder")
    run("r1")
    assert "h1: the journal's newest hash could not be left there: h1 (192.0.2.9" in caplog.text
    assert "h2: the journal's newest hash could not be left there" in caplog.text


def test_a_cluster_that_left_the_inventory_fails_nothing(cluster: FakeCluster) -> None:
    told: list[str] = []
    tell_heads("gone", told.append)
    assert "no cluster `gone`" in told[0]


def test_the_file_is_bounded_and_survives_a_torn_line(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_notes, "LINES_MAX", 6)
    monkeypatch.setattr(host_notes, "LINES_KEPT", 4)
    run("r1")
    kept_file(cluster, "h1").write_text(kept_file(cluster, "h1").read_text() + "12 abc")
    run("r2")
    assert lines(cluster, "h1")[1] == "12 abc"
    assert len(kept_heads(world().journal, "lab").heads) == 4
    for number in range(9):
        run(f"more{number}")
    assert len(lines(cluster, "h1")) <= 6
    newest = world().journal.head()[0]
    assert lines(cluster, "h1")[-1].startswith(f"{newest} ")
    assert said(verify_journal(world().journal, [kept_heads(world().journal, "lab")])) == []


def test_a_cut_tail_is_found_by_what_the_hosts_keep(cluster: FakeCluster) -> None:
    journal = cluster.world.journal
    run("r1")
    seq, digest = journal.head()
    run("r2")
    raw = sqlite3.connect(cluster.folder / "journal.db", isolation_level=None)
    tamper(
        raw,
        f"DELETE FROM journal_entries WHERE seq > {seq}",
        "DELETE FROM journal_runs WHERE run_id = 'r2'",
        f"UPDATE journal_head SET seq = {seq}, hash = '{digest}'",
    )
    cluster.hosts["h2"].trouble = unreachable("h2")
    verdict = verify_journal(journal, [kept_heads(journal, "lab")])
    (fault,) = verdict.faults
    assert "the tail was cut: h1 keeps the hash of entry" in fault.what
    assert verdict.unasked[0].startswith("h2 (192.0.2.9")


def test_another_journal_made_in_its_place_is_remarked(cluster: FakeCluster) -> None:
    run("r1")
    was = cluster.world.journal.journal_id()
    for file in cluster.folder.glob("journal.db*"):
        file.unlink()
    from tasks.journal import Journal  # noqa: PLC0415

    anew = Journal(f"sqlite:///{cluster.folder / 'journal.db'}")
    (remark, _) = verify_journal(anew, [kept_heads(anew, "lab")]).remarks
    assert remark.startswith(f"h1 also keeps hashes of another journal ({was[:8]})")
    assert verify_journal(anew, [kept_heads(anew, "lab")]).unasked == ()


def test_a_host_that_keeps_nothing_is_told(cluster: FakeCluster) -> None:
    run("r1")
    kept_file(cluster, "h2").unlink()
    verdict = verify_journal(world().journal, [kept_heads(world().journal, "lab")])
    assert verdict.unasked == ("h2 keeps no hash of this journal",)


def test_names_are_no_paths(cluster: FakeCluster) -> None:
    for name in ("../x", "/etc/passwd", "a b", ""):
        with pytest.raises(ValueError, match="not a file's name"):
            host_notes.put_text("lab", name, "x")
