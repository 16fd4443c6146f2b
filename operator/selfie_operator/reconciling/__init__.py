"""What looks after one SelfieRun: `build` makes it, and the work queue calls it."""

from selfie_operator.reconciling.building import build

__all__ = ["build"]
