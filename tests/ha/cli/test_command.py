"""The command line itself: messages and exit codes as upstream's users know them."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from ha.cli.usage import VERBS
from ha.storage_domain import storage_domain_of
from tests.ha.cli.sim import SimHost

PROJECT = Path(__file__).parents[3]
CLI = PROJECT / "ha" / "cli"
PAGE = Path(__file__).parents[3] / "docs" / "hosted-engine.md"
NEED_DEPLOYMENT = [
    *("--vm-start", "--vm-start-paused", "--vm-shutdown", "--vm-poweroff"),
    "--vm-status",
    *("--connect-storage", "--disconnect-storage", "--set-maintenance", "--clean-metadata"),
    *("--reinitialize-lockspace", "--add-console-password", "--console"),
    *("--get-shared-config", "--set-shared-config"),
]


def test_no_arguments(bare: SimHost) -> None:
    assert bare.run() == 1
    assert "Usage: hosted-engine <command>" in bare.complained


def test_help(bare: SimHost) -> None:
    assert bare.run("--help") == 0
    assert "--vm-status [--json]" in bare.said


def test_help_on_a_verb(bare: SimHost) -> None:
    assert bare.run("--vm-start", "--help") == 0
    assert bare.said.startswith("Usage: hosted-engine --vm-start [--vm-conf=<file>]")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_told_of(bare: SimHost, verb: str) -> None:
    assert bare.run("--help") == 0
    assert f"--{verb}" in bare.said
    assert f"`--{verb}`" in PAGE.read_text()


@pytest.mark.parametrize("option", ["--no-such", "vm-status", "-h"])
def test_unknown_verb(bare: SimHost, option: str) -> None:
    assert bare.run(option) == 1
    assert bare.complained.startswith(f"Invalid option '{option}'\nUsage:")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--vm-status", "--jason"),
        ("--vm-status", "json"),
        ("--vm-status", "--json", "--json"),
        ("--vm-start", "--vm-conf"),
        ("--vm-start", "--vm-conf="),
        ("--set-maintenance", "--mode=global", "extra"),
        ("--check-deployed", "--json"),
        ("--get-shared-config", "fqdn", "more"),
        ("--set-shared-config", "fqdn", "x", "more"),
        ("--set-shared-config", "fqdn", "--value"),
        ("--set-shared-config", "fqdn", "x", "--type=ha", "--type=ha"),
    ],
)
def test_arguments_that_are_not_understood(host: SimHost, arguments: tuple[str, ...]) -> None:
    assert host.run(*arguments) == 1
    assert "Usage: hosted-engine" in host.complained
    assert host.out == []


def test_an_option_without_its_value_is_not_called_unknown(host: SimHost) -> None:
    assert host.run("--set-maintenance", "--mode", "local") == 1
    assert host.complained.startswith("Option '--mode=' needs a value\nUsage:")


@pytest.mark.parametrize("verb", NEED_DEPLOYMENT)
def test_not_deployed(bare: SimHost, verb: str) -> None:
    assert bare.run(verb) == 1
    assert bare.complained == "You must run deploy first"


@pytest.mark.parametrize("verb", NEED_DEPLOYMENT)
def test_an_empty_vmid_means_not_deployed(bare: SimHost, verb: str) -> None:
    bare.write(bare.paths.hosted_engine_conf, "fqdn=engine.lab\nvmid=\n")
    assert bare.run(verb) == 1
    assert bare.complained == "You must run deploy first"


def test_the_rest_of_a_deployment_that_broke_off_has_its_own_exit_code(bare: SimHost) -> None:
    bare.others.add("HostedEngineLocal")
    assert bare.run("--vm-status") == 2
    assert bare.complained.startswith("It seems like a previous attempt to deploy hosted-engine")
    assert bare.run("--vm-start") == 1
    assert bare.complained == "You must run deploy first"


def test_check_deployed(bare: SimHost, host: SimHost) -> None:
    assert host.run("--check-deployed") == 0
    assert host.said == "The hosted engine has been deployed"
    host.paths.hosted_engine_conf.unlink()
    assert bare.run("--check-deployed") == 1
    assert bare.complained == "The hosted engine has not been deployed"


def test_check_liveliness(host: SimHost) -> None:
    assert host.run("--check-liveliness") == 0
    assert host.said == "Hosted Engine is up!"
    host.healthy = False
    assert host.run("--check-liveliness") == 1
    assert host.complained == "Hosted Engine is not up!"


def test_check_liveliness_without_a_configuration(bare: SimHost) -> None:
    assert bare.run("--check-liveliness") == 2
    assert "hosted-engine.conf: file: does not exist" in bare.complained
    bare.write(bare.paths.hosted_engine_conf, "\0")
    assert bare.run("--check-liveliness") == 2


def test_check_liveliness_without_a_name(host: SimHost) -> None:
    text = host.paths.hosted_engine_conf.read_text().replace("fqdn=engine.lab", "fqdn=")
    host.write(host.paths.hosted_engine_conf, text)
    assert host.run("--check-liveliness") == 2


def test_connect_storage_without_the_domain(host: SimHost) -> None:
    assert host.run("--connect-storage") == 1
    assert "is not connected" in host.complained


def test_connect_storage(host: SimHost) -> None:
    values = dict(
        line.split("=", 1) for line in host.paths.hosted_engine_conf.read_text().splitlines()
    )
    domain = storage_domain_of(values, host.root)
    for volume in domain.volumes:
        host.write(domain.place(volume), "")
    assert host.run("--connect-storage") == 0, host.complained
    link = domain.ha_agent / "hosted-engine.metadata"
    assert link.resolve() == domain.place(domain.metadata).resolve()
    assert str(link.readlink()).endswith(
        f"run/vdsm/storage/{domain.sd_uuid}/{domain.metadata.image}/{domain.metadata.volume}"
    )


def test_broken_configuration_names_file_and_key(host: SimHost) -> None:
    text = host.paths.hosted_engine_conf.read_text().replace("host_id=1", "host_id=x")
    host.write(host.paths.hosted_engine_conf, text)
    assert host.run("--connect-storage") == 1
    assert "hosted-engine.conf" in host.complained
    assert "host_id" in host.complained


@pytest.mark.parametrize("option", ["--4", "--6", "--ansible-extra-vars=a", "--restore-from-file="])
def test_options_for_upstreams_playbooks_are_refused(bare: SimHost, option: str) -> None:
    backup = bare.write(bare.root / "backup", "")
    given = f"{option}{backup}" if option.endswith("=") else option
    assert bare.run("--deploy", "--config-append=/answers", given) == 1
    assert "is not taken. This deployment makes no engine" in bare.complained
    assert bare.run("--deploy", "--restore-from-file=/no/such") == 1
    assert bare.complained == "FATAL: File /no/such not found!"


def test_answers_are_needed(bare: SimHost) -> None:
    assert bare.run("--deploy") == 1
    assert "--config-append" in bare.complained
    assert bare.run("--deploy", "--config-append=/no/such") == 1
    assert "/no/such" in bare.complained


def test_what_is_imported_later_is_there() -> None:
    pytest.importorskip("libvirt")
    named = [
        match.groups()
        for file in ("__main__.py", "usage.py")
        for match in re.finditer(r'later\("([\w.]+)", "(\w+)"\)', (CLI / file).read_text())
    ]
    assert len(named) > len(VERBS)
    for module, name in named:
        assert callable(getattr(import_module(module), name)), f"{module} has no {name}"


def test_the_status_needs_neither_libvirt_nor_what_only_other_verbs_need() -> None:
    pytest.importorskip("sanlock")
    code = (
        "import sys, ha.cli.__main__ as command; command._real_host();"
        " print(*sorted({'libvirt', 'http.client', 'tarfile', 'xml'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
