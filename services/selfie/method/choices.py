"""Names under which the method's choices stand in a run's specification.

They live apart from the functions behind them so that a reader of specifications needs no
numpy. Every table in this package has exactly these names as its keys.
"""

from typing import Literal, TypeAlias

JudgeName: TypeAlias = Literal["implicit", "longest", "random"]
PairingName: TypeAlias = Literal["best_worst", "best_random", "random"]
NormalizationName: TypeAlias = Literal["sum", "mean"]
ThresholdReading: TypeAlias = Literal["quantile", "parity"]
