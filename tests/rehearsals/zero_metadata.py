"""metadata-too-new: one block that is too new, on three hosts."""

from tests.fake_cluster import fake_cluster
from tests.rehearsal import Rehearsal

REHEARSAL = Rehearsal("metadata-too-new", fake_cluster)
