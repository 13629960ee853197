"""The engine VM's consoles: VNC with a password that expires, and the serial one.

As VDSM does it for upstream, through libvirt's updateDeviceFlags on the running VM.
"""

import subprocess
import time
import xml.etree.ElementTree as ET
from typing import Any

import libvirt

from ha.env.console_port import VncServer
from ha.env.engine_vm import SYSTEM_URI, VM_NAME
from ha.env.engine_vm_link import LibvirtLink, look_up
from ha.env.ports import VmTrouble


class LibvirtConsole:
    """The consoles of the domain of this name at this libvirt."""

    def __init__(self, uri: str = SYSTEM_URI, name: str = VM_NAME) -> None:
        self._link = LibvirtLink(uri, lambda *_: None, lambda: None, lambda: None)
        self._uri = uri
        self._name = name

    def vnc(self) -> VncServer | None:
        """Where the VM's VNC server listens; None when it has none, or no port yet.

        Raises VmMissing, VmTrouble, VmUnreachable.
        """
        with self._link.asking(VmTrouble) as connection:
            graphics = _vnc_of(look_up(connection, self._name))
        if graphics is None or int(graphics.get("port", "-1")) <= 0:
            return None
        listen = graphics.find("listen[@type='address']")
        bound = None if listen is None else listen.get("address")
        return VncServer(graphics.get("listen") or bound or "", int(graphics.get("port", "-1")))

    def set_vnc_password(self, password: str, *, valid_until: float) -> None:
        """Let the VNC server take this password until that moment (seconds since 1970).

        Raises VmTrouble, also when libvirt does not have it afterwards; VmMissing, VmUnreachable.
        """
        until = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(valid_until))
        with self._link.asking(VmTrouble) as connection:
            domain = look_up(connection, self._name)
            graphics = _vnc_of(domain)
            if graphics is None:
                raise VmTrouble(f"{self._name} has no VNC server")
            graphics.set("passwd", password)
            graphics.set("passwdValidTo", until)
            domain.updateDeviceFlags(
                ET.tostring(graphics, encoding="unicode"), libvirt.VIR_DOMAIN_AFFECT_LIVE
            )
            now = _vnc_of(domain)
        told = None if now is None else (now.get("passwd"), now.get("passwdValidTo"))
        if told != (password, until):
            raise VmTrouble(f"libvirt did not take the VNC password of {self._name}")

    def attach_serial(self) -> int:
        """Connect this terminal with the serial console until ^]; return virsh's exit code."""
        return subprocess.call(["virsh", "--connect", self._uri, "console", self._name])


def vm_exists(name: str, uri: str = SYSTEM_URI) -> bool:
    """Whether libvirt knows a domain of this name; False also when it does not answer."""
    link = LibvirtLink(uri, lambda *_: None, lambda: None, lambda: None)
    try:
        with link.asking(VmTrouble) as connection:
            look_up(connection, name)
    except VmTrouble:
        return False
    return True


def _vnc_of(domain: Any) -> ET.Element | None:
    xml = ET.fromstring(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE))
    return xml.find("./devices/graphics[@type='vnc']")
