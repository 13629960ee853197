"""Answer files with wrong types, names and values: a plan that daemons can use, or an error."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ha.answer_keys import KNOWN
from ha.answers import Answers, AnswersError, format_answers, read_answers
from ha.config import Paths
from ha.config_host import host_conf_of
from ha.config_text import key_values_of
from ha.deploy_plan import Plan, plan_first_host
from tests.ha.fuzz.strategies import HOSTILE_TEXTS, fuzz, texts

HEAD = "[environment:default]\n"
ANSWERS = {
    "OVEHOSTED_NETWORK/fqdn": "str:engine.lab",
    "OVEHOSTED_NETWORK/gateway": "str:192.0.2.1",
    "OVEHOSTED_NETWORK/bridgeName": "str:ovirtmgmt",
    "OVEHOSTED_NETWORK/network_test": "str:tcp",
    "OVEHOSTED_NETWORK/network_test_tcp_address": "str:192.0.2.2",
    "OVEHOSTED_NETWORK/network_test_tcp_port": "int:22",
    "OVEHOSTED_STORAGE/domainType": "str:nfs",
    "OVEHOSTED_STORAGE/storageDomainConnection": "str:server:/he",
    "OVEHOSTED_STORAGE/mntOptions": "str:soft",
    "OVEHOSTED_STORAGE/hostID": "int:1",
    "OVEHOSTED_STORAGE/imgSizeGB": "int:1",
    "OVEHOSTED_STORAGE/sdUUID": "str:00000001-0000-4000-8000-000000000000",
    "OVEHOSTED_VM/vmMemSizeMB": "int:96",
    "OVEHOSTED_VM/vmVCpus": "int:1",
    "OVEHOSTED_VM/vmMACAddr": "str:00:16:3e:00:00:01",
    "OVEHOSTED_VM/emulatedMachine": "str:pc",
    "OVEHOSTED_VM/vmCDRom": "str:/rescue.iso",
    "OVEHOSTED_VDSM/consoleType": "str:vnc",
    "OVEHOSTED_VDSM/cpu": "str:model_qemu64",
    "OVEHOSTED_NOTIF/smtpServer": "str:localhost",
    "OVEHOSTED_NOTIF/smtpPort": "int:25",
    "OVEHOSTED_NOTIF/destEmail": "str:root@localhost",
}
WRONG_TYPES = (
    *("bool:True", "float:1.5", "int:-1", "int:0", "int:1_0", "int:٣", "int:", "float:nan"),
    *("bool:yes", "int:99999999999999999999", "text:x", "x", ":", "str", "none:None", "list:a,b"),
)
KINDS = ("str", "int", "bool", "float", "none", "list", "multi-str", "tuple", "")


def text_of(answers: dict[str, str]) -> str:
    return HEAD + "".join(f"{key}={value}\n" for key, value in answers.items())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("answers")


def plan(folder: Path, text: str) -> Plan | AnswersError:
    """What a text comes to; a plan must be one whose files can be read again."""
    file, paths = folder / "answers.conf", Paths(folder)
    file.write_bytes(text.encode(errors="surrogatepass"))
    numbers = iter(range(2, 99))
    try:
        made = plan_first_host(
            read_answers([file]), paths, lambda: f"{next(numbers):08x}-0000-4000-8000-000000000000"
        )
    except AnswersError as error:
        return error
    conf = made.archive("now")["hosted-engine.conf"]
    read = host_conf_of(paths.hosted_engine_conf, key_values_of(paths.hosted_engine_conf, conf))
    assert (read.host_id, made.vm.memory_mib > 0, made.vm.vcpus > 0) == (made.host_id, True, True)
    return made


def test_the_answers_are_right(folder: Path) -> None:
    made = plan(folder, text_of(ANSWERS))
    assert isinstance(made, Plan)
    file = folder / "again"
    file.write_text(format_answers(made.answers))
    assert read_answers([file]).values == made.answers


@pytest.mark.parametrize("key", ANSWERS)
def test_an_answer_of_a_wrong_type(folder: Path, key: str) -> None:
    for wrong in WRONG_TYPES:
        found = plan(folder, text_of({**ANSWERS, key: wrong}))
        # None is no answer, a list is its words: both are upstream's.
        if wrong.startswith(("none:", "list:")) and isinstance(found, Plan):
            continue
        assert isinstance(found, AnswersError), (key, wrong)
        assert key in str(found), found


@pytest.mark.parametrize("key", ANSWERS)
def test_a_hostile_answer(folder: Path, key: str) -> None:
    for value in HOSTILE_TEXTS:
        plan(folder, text_of({**ANSWERS, key: f"str:{value}"}))


@pytest.mark.parametrize("key", ANSWERS)
def test_an_answer_twice_or_misspelt(folder: Path, key: str) -> None:
    twice = text_of(ANSWERS) + f"{key}={ANSWERS[key]}\n"
    assert isinstance(plan(folder, twice), AnswersError)
    group, _, name = key.partition("/")
    others = {each: value for each, value in ANSWERS.items() if each != key}
    for wrong in (f"{group}/{name[:-1]}", f"{group}/{name.swapcase()}", f"{group[:-1]}/{name}"):
        found = plan(folder, text_of({**others, wrong: ANSWERS[key]}))
        assert isinstance(found, AnswersError), wrong
        assert "Did you mean OVEHOSTED_" in str(found)


def test_truncations(folder: Path) -> None:
    whole = text_of(ANSWERS)
    for size in range(0, len(whole), 3):
        plan(folder, whole[:size])


@fuzz
@given(st.dictionaries(st.sampled_from(sorted(KNOWN)), st.tuples(st.sampled_from(KINDS), texts)))
@example({"OVEHOSTED_STORAGE/imgSizeGB": ("int", "9" * 400)})
@example({"OVEHOSTED_VM/vmCDRom": ("str", "/a,b}.iso")})
def test_answers_of_any_kind(folder: Path, changes: dict[str, tuple[str, str]]) -> None:
    changed = {key: f"{kind}:{value}" for key, (kind, value) in changes.items()}
    plan(folder, text_of({**ANSWERS, **changed}))


def answers_of(file: Path) -> Answers | str:
    try:
        return read_answers([file])
    except AnswersError as error:
        return str(error)


@fuzz
@given(data=st.one_of(st.binary(max_size=100), st.text(max_size=100).map(str.encode)))
@example(b"[DEFAULT]\nOVEHOSTED_STORAGE/hostID=int:7\n[environment:default]\n")
def test_files_of_any_kind(folder: Path, data: bytes) -> None:
    file = folder / "any"
    for each in (data, HEAD.encode() + data):
        file.write_bytes(each)
        found = answers_of(file)
        assert isinstance(found, Answers) or str(found)
        assert isinstance(found, str) or "OVEHOSTED_STORAGE/hostID" not in found.values
