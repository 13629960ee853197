"""To whom the files and devices of the storage belong: the daemons that use them."""

import os
import pwd
from collections.abc import Iterable
from pathlib import Path

FILE_MODE = 0o660
DIRECTORY_MODE = 0o755


def storage_owner() -> tuple[int, int] | None:
    """Return user and group: VDSM's if it is on this host, else sanlock's, else None."""
    for name in ("vdsm", "sanlock"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return user.pw_uid, user.pw_gid
    return None


def own(place: Path, mode: int = FILE_MODE) -> None:
    """Give a place to the storage's owner, if there is one and root asks. Raises OSError."""
    owner = storage_owner()
    if owner is not None and os.geteuid() == 0:
        os.chown(place, *owner)
    place.chmod(mode)


def own_devices(devices: Iterable[Path]) -> None:
    """Give the devices behind these names to the storage's owner; as udev would, at each boot."""
    for device in devices:
        own(device.resolve())
