"""`--deploy` where libvirt would take no lease for the engine VM."""

import pytest

from tests.ha.cli.sim import SimHost


@pytest.mark.parametrize(
    "text", [None, "", '#lock_manager = "sanlock"\n', 'lock_manager = "nop"\n']
)
def test_refused_while_libvirt_takes_no_leases(bare: SimHost, text: str | None) -> None:
    qemu_conf = bare.root / "etc/libvirt/qemu.conf"
    qemu_conf.unlink()
    if text is not None:
        qemu_conf.write_text(text)
    before = sorted(bare.root.rglob("*"))
    assert bare.run("--deploy", f"--config-append={bare.root}/answers") == 1
    assert "two hosts could run it at once" in bare.complained
    assert "restart libvirtd" in bare.complained
    assert sorted(bare.root.rglob("*")) == before
