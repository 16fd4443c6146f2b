"""The runs that this operator looks after, for Prometheus: `selfie_run_*` and `selfie_round_*`."""

from typing import Final

from prometheus_client import REGISTRY

from selfie.monitoring.boards import RunBoard

BOARD: Final = RunBoard()
REGISTRY.register(BOARD)
