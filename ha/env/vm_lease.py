"""The engine VM's lease on storage, and what sanlock of this host knows of its holder.

The holder is in the first sector of the lease's area, which is read past all caches. sanlock's own
`read_resource_owners` says the same, but reads the whole area of 1 MiB each time.
"""

import logging
from pathlib import Path

from ha.core.leases import read_ownership
from ha.core.vm_lease import UNKNOWN_LEASE, VmLease, judge_lease
from ha.direct_io import PAGE_BYTES, read_direct
from ha.env.ports import Lockspace, LockspaceFailed

log = logging.getLogger(__name__)


class StorageVmLease:
    """The lease of this name in a lockspace, at a place in a file or device."""

    def __init__(
        self, lockspace: Lockspace, space_name: str, name: str, place: tuple[Path, int]
    ) -> None:
        self._lockspace = lockspace
        self._names = space_name, name
        self._path, self._offset_bytes = place
        self._told = ""

    def look(self) -> VmLease:
        """Return who holds it, unknown when storage or sanlock do not say."""
        try:
            sector = read_direct(self._path, self._offset_bytes, PAGE_BYTES)
            lease = judge_lease(read_ownership(sector, *self._names), self._lockspace.holders())
        except (OSError, LockspaceFailed) as trouble:
            self._tell(str(trouble))
            return UNKNOWN_LEASE
        self._told = ""
        return lease

    def _tell(self, trouble: str) -> None:
        """Log a trouble once: it is asked for several times a second."""
        if trouble != self._told:
            log.warning("Who holds the engine VM's lease is not known: %s", trouble)
        self._told = trouble
