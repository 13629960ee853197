"""upgrade-howto: the same cluster as for upgrade, by the Howto's order."""

from dataclasses import replace

from tests.rehearsals.upgrade import REHEARSAL as MODERN

REHEARSAL = replace(MODERN, runbook="upgrade-howto")
