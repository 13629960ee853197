"""The inventory's errors name the file, the key and the remedy."""

from pathlib import Path

import pytest

from tasks.inventory import Host, Inventory, InventoryError, Ssh, load_inventory

GOOD = """
[clusters.lab]
title = "The lab"
[clusters.lab.ssh]
user = "root"
key_file = "{dir}/key"
known_hosts = "{dir}/known_hosts"
proxy_command = ["socat", "-", "TCP:{{address}}:{{port}}"]
[[clusters.lab.hosts]]
name = "h1"
address = "10.88.0.11"
host_id = 1
[[clusters.lab.hosts]]
name = "h2"
address = "10.88.0.12"
port = 2222
host_id = 2
"""


def written(tmp_path: Path, change: tuple[str, str] = ("", "")) -> Path:
    for name in ("key", "known_hosts"):
        (tmp_path / name).touch()
    path = tmp_path / "inventory.toml"
    path.write_text(GOOD.format(dir=tmp_path).replace(*change))
    return path


def problem(tmp_path: Path, old: str, new: str) -> str:
    with pytest.raises(InventoryError) as caught:
        load_inventory(written(tmp_path, (old, new)))
    text = str(caught.value)
    assert all(line.startswith(str(tmp_path / "inventory.toml")) for line in text.splitlines())
    return text


def test_a_good_one_is_read(tmp_path: Path) -> None:
    lab = load_inventory(written(tmp_path)).cluster("lab")
    assert [(h.name, h.address, h.port, h.host_id) for h in lab.hosts] == [
        ("h1", "10.88.0.11", 22, 1),
        ("h2", "10.88.0.12", 2222, 2),
    ]
    assert lab.ssh.proxy_argv(lab.host("h2")) == ("socat", "-", "TCP:10.88.0.12:2222")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            'address = "10.88.0.12"\nport = 2222',
            'address = "10.88.0.11"',
            "`clusters.lab.hosts[1].address`: 10.88.0.11, port 22, is also that of"
            " `clusters.lab.hosts[0]` (h1); give each host its own",
        ),
        (
            "host_id = 2",
            "host_id = 1",
            "`clusters.lab.hosts[1].host_id`: 1 is also that of `clusters.lab.hosts[0]` (h1);"
            " each host has its own: compare host_id in the hosts' hosted-engine.conf",
        ),
        (
            'name = "h2"',
            'name = "h1"',
            "`clusters.lab.hosts[1].name`: h1 is also that of `clusters.lab.hosts[0]`;"
            " give each host its own name",
        ),
        ("port = 2222", "prot = 2222", "`clusters.lab.hosts[1].prot`: there is no such key"),
        ("host_id = 2", "", "`clusters.lab.hosts[1].host_id`: add this key"),
        (
            "host_id = 2",
            "host_id = 2001",
            "`clusters.lab.hosts[1].host_id`: a host id is 1 to 2000",
        ),
        ("host_id = 2", "host_id = 0", "`clusters.lab.hosts[1].host_id`: a host id is 1 to 2000"),
        ("/key", "/gone", "`clusters.lab.ssh.key_file`: no file"),
        ("/known_hosts", "/gone", "collect the hosts' keys with ssh-keyscan"),
        ('name = "h2"', 'name = "h 2"', "`clusters.lab.hosts[1].name`: use letters, digits"),
        ("port = 2222", 'port = "x"', "`clusters.lab.hosts[1].port`: Input should be"),
        ("[clusters.lab]", "[clusters.lab", "not TOML"),
    ],
)
def test_a_bad_one_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert says in problem(tmp_path, old, new)


@pytest.mark.parametrize("hosts", ["", "hosts = []"])
def test_an_empty_cluster_is_refused(hosts: str) -> None:
    text = f'[clusters.lab]\n{hosts}\n[clusters.lab.ssh]\nkey_file="k"\nknown_hosts="h"\n'
    with pytest.raises(InventoryError, match=r"`clusters.lab.hosts`: .*empty; add"):
        Inventory.parse(text, "inventory.toml")


def test_no_cluster_at_all_is_refused() -> None:
    with pytest.raises(InventoryError, match="`clusters`: add this key"):
        Inventory.parse("", "inventory.toml")


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    text = problem(tmp_path, "port = 2222\nhost_id = 2", "prot = 2222")
    assert len(text.splitlines()) == 2


def test_a_missing_file_tells_how_to_name_another(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match="RUNBOOKS_INVENTORY"):
        load_inventory(tmp_path / "none.toml")


def test_the_same_address_behind_another_proxy_is_another_host() -> None:
    cluster = """
[clusters.{0}.ssh]
key_file = "k"
known_hosts = "h"
proxy_command = ["nsenter", "{1}"]
[[clusters.{0}.hosts]]
name = "h1"
address = "10.88.0.11"
host_id = 1
"""
    Inventory.parse(cluster.format("a", "ns1") + cluster.format("b", "ns2"), "x")
    with pytest.raises(InventoryError, match="is also that of"):
        Inventory.parse(cluster.format("a", "ns1") + cluster.format("b", "ns1"), "x")


def test_unknown_names_tell_what_there_is(tmp_path: Path) -> None:
    inventory = load_inventory(written(tmp_path))
    with pytest.raises(InventoryError, match="no cluster `prod` in the inventory; it has: lab"):
        inventory.cluster("prod")
    with pytest.raises(InventoryError, match="no host `h9` in this cluster; it has: h1, h2"):
        inventory.cluster("lab").host("h9")


def test_a_proxy_word_with_braces_of_its_own_is_left_alone() -> None:
    ssh = Ssh(key_file=Path("k"), known_hosts=Path("h"), proxy_command=("awk", "{x}", "{port}"))
    host = Host(name="h1", address="a", host_id=1)
    assert ssh.proxy_argv(host) == ("awk", "{x}", "22")


def test_migration_names_the_destination(tmp_path: Path) -> None:
    text = GOOD.format(dir=tmp_path)
    table = """
[clusters.lab.migration]
uri = "qemu+tcp://{host}/system"
data_uri = "tcp://{address}"
unsafe = true
"""
    cluster = Inventory.parse(text + table, "inventory.toml").cluster("lab")
    assert cluster.migration is not None
    wanted = ("qemu+tcp://h2/system", "tcp://10.88.0.12")
    assert cluster.migration.uris_to(cluster.host("h2")) == wanted
    assert Inventory.parse(text, "inventory.toml").cluster("lab").migration is None


def test_migration_needs_only_the_table(tmp_path: Path) -> None:
    text = GOOD.format(dir=tmp_path) + "[clusters.lab.migration]\n"
    cluster = Inventory.parse(text, "inventory.toml").cluster("lab")
    assert cluster.migration is not None
    assert cluster.migration.uris_to(cluster.host("h1")) == ("qemu+ssh://root@h1/system",)
    assert not cluster.migration.unsafe


def test_the_inventory_of_the_documentation_is_one() -> None:
    page = (Path(__file__).parents[2] / "docs" / "inventory.md").read_text(encoding="utf-8")
    text = page.split("```toml\n")[1].split("```")[0]
    inventory = Inventory.parse(text, "docs/inventory.md")
    north, practice = inventory.cluster("north"), inventory.cluster("practice")
    assert [host.name for host in north.hosts] == ["h1", "h2"]
    fields = set(type(north).model_fields)
    tables = {name for name in fields if getattr(north, name) or getattr(practice, name)}
    assert tables == fields, "the sample leaves a table out"


PRACTICE = """
[clusters.practice]
simulated = "{0}"
[[clusters.practice.hosts]]
name = "host1"
address = "192.0.2.1"
host_id = 1
"""


def test_a_simulated_cluster_needs_no_ssh_but_its_folder(tmp_path: Path) -> None:
    file = tmp_path / "inventory.toml"
    file.write_text(PRACTICE.format(tmp_path))
    assert load_inventory(file).cluster("practice").simulated == tmp_path
    file.write_text(PRACTICE.format(tmp_path / "gone"))
    with pytest.raises(InventoryError, match="simulate --serve"):
        load_inventory(file)


def test_a_cluster_is_simulated_or_reached_by_ssh() -> None:
    ssh = '[clusters.practice.ssh]\nkey_file = "k"\nknown_hosts = "h"\n'
    with pytest.raises(InventoryError, match="there is no SSH to a simulated cluster"):
        Inventory.parse(PRACTICE.format("/p") + ssh, "f")
    with pytest.raises(InventoryError, match="practice.ssh.*add this key"):
        Inventory.parse(PRACTICE.format("/p").replace('simulated = "/p"', ""), "f")
