"""upgrade-howto: the same cluster as for upgrade, by the Howto's order."""

from dataclasses import replace

from tests.scenarios.upgrade import SCENARIO as MODERN

SCENARIO = replace(MODERN, runbook="upgrade-howto")
