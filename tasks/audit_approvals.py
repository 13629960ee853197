"""`runbook audit verify`: the approvals in the journal, each against its gate and its signature."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tasks.audit_chain import Fault
from tasks.journal import Entry, Journal, Kind, Phase
from tasks.signatures import gate_problem


def approval_faults(journal: Journal, signers: Path | None = None) -> Iterator[Fault]:
    """Yield a fault for each approved gate whose entries do not amount to an approval.

    `signers` is the allowed-signers file, by default the settings'. It must still hold the keys
    of old decisions.
    """
    gates: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in journal.entries(kinds=(Kind.GATE,)):
        gates[entry.run_id, entry.step].append(entry)
    for (run_id, _), entries in gates.items():
        decided = [each for each in entries if each.phase is Phase.DECISION]
        if not decided or decided[-1].payload.get("decision") != "approve":
            continue
        intents = [each for each in entries if each.phase is Phase.INTENT]
        if not intents:
            yield Fault(decided[-1].seq, f"run {run_id}: a decision at a gate that never asked")
            continue
        problem = gate_problem(entries, intents[0], signers)
        if problem is not None:
            yield Fault(decided[-1].seq, f"run {run_id}: {problem}")
