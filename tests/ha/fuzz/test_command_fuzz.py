"""`hosted-engine` with arguments, blocks and files of any kind: an exit code and a reason."""

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ha.answers import read_answers
from ha.cli.usage import VERBS
from ha.deploy_plan import plan_first_host
from ha.env.live_hosts import LiveHosts
from tests.ha.cli.sim import ANSWERS, SimHost
from tests.ha.fuzz.strategies import TOKENS, block_of, fuzz, texts

OPTIONS = sorted({option for verb in VERBS.values() for option in verb.options})
arguments = st.one_of(
    st.sampled_from(OPTIONS).map("--{}".format),
    st.tuples(st.sampled_from(OPTIONS), texts).map(lambda pair: f"--{pair[0]}{pair[1]}"),
    texts,
)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> SimHost:
    """A host that is deployed, as far as its own files tell; its storage is not there."""
    host = SimHost(tmp_path_factory.mktemp("host"))
    host.write(host.root / "answers", f"{ANSWERS}OVEHOSTED_STORAGE/imgSizeGB=int:1\n")
    plan = plan_first_host(read_answers([host.root / "answers"]), host.paths, host._new_uuid)
    files = plan.archive("now")
    host.write(host.paths.hosted_engine_conf, files["hosted-engine.conf"])
    host.write(host.paths.vm_conf, files["vm.conf"])
    return host


def files_of(root: Path) -> dict[Path, bytes]:
    wanted = ("etc/ovirt-hosted-engine", "var/run", "rhev", "dev")
    return {
        file: file.read_bytes()
        for folder in wanted
        for file in (root / folder).rglob("*")
        if file.is_file()
    }


@fuzz
@given(verb=st.one_of(st.sampled_from(sorted(VERBS)), texts), given=st.lists(arguments, max_size=4))
@example("clean-metadata", ["--host-id=٣"])
@example("clean-metadata", ["--host-id=" + "9" * 400])
@example("vm-start", ["--vm-conf=/dev/zero"])
@example("vm-start", ["--vm-conf=a\0b"])
@example("deploy", ["--config-append=a\0b"])
@example("get-shared-config", ["fqdn", "--type=he_local"])
def test_arguments_of_any_kind(host: SimHost, verb: str, given: list[str]) -> None:
    """A process has no arguments with a NUL, but whoever calls this from Python may."""
    before = files_of(host.root)
    code = host.run(f"--{verb}", *given)
    assert code in (0, 1, 2, 3)
    assert host.complained if code else host.said
    if code:
        assert files_of(host.root) == before


tokens = st.integers(0, len(TOKENS) - 1)


@fuzz
@given(at=tokens, text=st.text(max_size=60).filter(lambda text: "|" not in text), raw=st.binary())
@example(at=5, text='{"vm": NaN}', raw=b"")
@example(at=6, text="h\x1b]0;x\x07", raw=b"")
def test_status_with_blocks_of_any_kind(host: SimHost, at: int, text: str, raw: bytes) -> None:
    hostile = block_of((*TOKENS[:at], text, *TOKENS[at + 1 :]))[:4096]
    host.broker.blocks = {1: block_of(TOKENS), 2: hostile, 3: raw[:4096].ljust(4096, b"\0")}
    host.broker.live = LiveHosts((1, 2, 3), 0.0)
    assert host.run("--vm-status", "--json") == 0
    status = json.loads(host.said, parse_constant=lambda constant: 1 / 0)
    assert status["1"]["score"] == 3400, "the block beside it is not touched"
    assert host.run("--vm-status") == 0
    assert all(each.isprintable() or each in "\n\t" for each in host.said + host.complained)
