"""How the storage domain gets onto a host and off it: mounts, and links to the volumes."""

import os
from collections.abc import Callable
from pathlib import Path

from ha import mounts
from ha.storage_domain import StorageDomain, StorageError, mount_point
from ha.storage_owner import own_devices

FILE_SYSTEMS = {"nfs": "nfs", "nfs3": "nfs", "nfs4": "nfs", "glusterfs": "glusterfs"}


def connect(
    domain: StorageDomain, *, options: str = "", mount: Callable[..., None] = mounts.mount
) -> None:
    """Mount the domain when it is not mounted yet, and prepare the links to its volumes.

    Raises StorageError when it cannot be mounted or a volume is not there.
    """
    if domain.is_block:
        verify_devices(domain)
        own_devices(domain.device_places)
    else:
        mount_storage(
            domain.domain_type, domain.server_path, domain.root, options=options, mount=mount
        )
        if not domain.directory.is_dir():
            raise StorageError(f"There is no storage domain {domain.sd_uuid} in {domain.mount}")
    prepare_links(domain)


def mount_storage(
    domain_type: str,
    server_path: str,
    root: Path = Path("/"),
    *,
    options: str = "",
    mount: Callable[..., None] = mounts.mount,
) -> Path:
    """Mount the storage of file domains at its place, unless something is mounted there.

    Returns the place. Raises StorageError.
    """
    target = mount_point(domain_type, server_path, root)
    if not mounts.is_mounted(target):
        kind = FILE_SYSTEMS.get(domain_type)
        if kind is None:
            raise StorageError(f"Mount {server_path} at {target} first")
        target.mkdir(parents=True, exist_ok=True)
        try:
            mount(kind, server_path, target, options)
        except mounts.MountFailed as error:
            raise StorageError(str(error)) from error
    return target


def is_mounted_by_us(domain: StorageDomain) -> bool:
    """Whether `connect` mounts the domain, so that `disconnect` may unmount it."""
    return domain.domain_type in FILE_SYSTEMS


def disconnect(domain: StorageDomain, *, unmount: Callable[[Path], bool] = mounts.unmount) -> bool:
    """Unmount the domain and remove this host's links to it; False if there was nothing to do.

    The links in `ha_agent` are every host's and stay. Raises StorageError, and OSError.
    """
    try:
        found = is_mounted_by_us(domain) and unmount(domain.mount)
    except mounts.MountFailed as error:
        raise StorageError(str(error)) from error
    for volume in domain.volumes:
        link = domain.prepared(volume)
        if link.is_symlink():
            link.unlink()
            found = True
        for folder in (link.parent, link.parent.parent):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
    return found


def verify_devices(domain: StorageDomain) -> None:
    """Raise StorageError with every device of a block domain that is not there."""
    missing = [str(place) for place in domain.device_places if not place.exists()]
    if missing:
        raise StorageError(f"Devices of the storage domain are missing: {', '.join(missing)}")


def prepare_links(domain: StorageDomain) -> None:
    """Make the links to the volumes below /run and in `ha_agent`; right ones are left alone.

    Raises StorageError when a volume is not there or something else stands in a link's place.
    """
    for volume in domain.volumes:
        place = domain.place(volume)
        if not place.exists():
            raise StorageError(f"Volume {place} is not on the storage")
        _link(domain.prepared(volume), place)
    for name, volume in domain.links.items():
        _link(name, domain.prepared(volume))


def _link(name: Path, target: Path) -> None:
    if name.is_symlink() and os.readlink(name) == str(target):
        return
    if name.exists() and not name.is_symlink():
        raise StorageError(f"{name} is not a link; an old deployment? Move it away first")
    name.parent.mkdir(parents=True, exist_ok=True)
    # Several hosts prepare the same shared link at once, so it is replaced in one step.
    fresh = name.with_name(f".{name.name}.{os.uname().nodename}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(name)
