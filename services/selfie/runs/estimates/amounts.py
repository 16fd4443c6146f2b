"""How much there is to do, in the units that time and space are reckoned from."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a step has to do, in one scenario.

    Tokens are those of the rows, each prompt once. ``scoring`` to ``decoding`` are floating-point
    operations by the kind of pass, ``decoding_steps`` the engine's passes over all that it decodes
    together, ``updates`` optimizer steps; ``shards`` files take ``rows_written`` and ``tokens_written``.
    """

    prompts: float = 0
    samples: float = 0
    pairs: float = 0
    prompt_tokens: float = 0
    response_tokens: float = 0
    scoring: float = 0
    training: float = 0
    partition: float = 0
    prefill: float = 0
    decoding: float = 0
    decoding_steps: float = 0
    updates: float = 0
    shards: float = 0
    rows_written: float = 0
    tokens_written: float = 0

    @property
    def operations(self) -> float:
        """Floating-point operations of every kind."""
        return self.scoring + self.training + self.partition + self.prefill + self.decoding
