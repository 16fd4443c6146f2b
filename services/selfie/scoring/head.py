"""Log-probabilities of two models from their last hidden states, without their logits.

Policy and reference are reduced together, tile by tile over tokens and vocabulary: a pair of tiles
feeds the normalisers of both models, that of every extrapolated model, and the divergence. No float32
tensor of all tokens by all of the vocabulary exists at any time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from selfie.scoring.machines import mm_rounded, product_weight


@dataclass(frozen=True)
class Tile:
    """Tokens and vocabulary columns that are projected at once: without more said, what caches hold."""

    tokens: int = 512
    columns: int = 1024

    @classmethod
    def on(cls, device: torch.device) -> "Tile":
        """What is fast on a device: elsewhere than on processors, starting an operator is what costs."""
        return cls() if device.type == "cpu" else cls(columns=4096)


@dataclass(frozen=True)
class Head:
    """A language-model head: logits = softcap(scale * (hidden @ weight.T + bias)).

    ``weight`` is [vocabulary, hidden], ``bias`` [vocabulary]. With ``product_weight`` the factors of the
    product are rounded to bfloat16, of which this is the weight.
    """

    weight: Tensor
    bias: Tensor | None = None
    softcap: float | None = None
    scale: float = 1.0
    product_weight: Tensor | None = None

    @classmethod
    def of(cls, model: nn.Module) -> "Head":
        """The head of a Hugging Face causal language model, with what its configuration adds to it."""
        projection = model.get_output_embeddings()  # type: ignore[operator]
        config = model.config.get_text_config()  # type: ignore[union-attr,operator]
        scale = float(getattr(config, "logit_scale", None) or 1.0)
        scale /= float(getattr(config, "logits_scaling", None) or 1.0)
        softcap = getattr(config, "final_logit_softcapping", None)
        return cls(projection.weight, getattr(projection, "bias", None), softcap, scale)

    def rounded(self) -> "Head":
        """The same head in products of bfloat16, added up in float32; target logits stay as they are."""
        return replace(self, product_weight=product_weight(self.weight))

    def logits(self, hidden: Tensor, columns: slice, *, out: Tensor) -> Tensor:
        """Logits of some vocabulary columns, [tokens, columns], written to ``out``."""
        if self.product_weight is None:
            torch.mm(hidden, self.weight[columns].T, out=out)
        else:
            mm_rounded(hidden, self.product_weight[columns].T, out=out)
        return self._shape(out, None if self.bias is None else self.bias[columns])

    def logits_at(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Logit of one target per token, [tokens], each by its own product and in float64."""
        products = hidden.double() * self.weight[targets].double()
        return self._shape(products.sum(-1), None if self.bias is None else self.bias[targets])

    def _shape(self, logits: Tensor, bias: Tensor | None) -> Tensor:
        if bias is not None:
            logits += bias
        if self.scale != 1.0:
            logits *= self.scale
        if self.softcap is not None:
            logits.div_(self.softcap).tanh_().mul_(self.softcap)
        return logits


@dataclass(frozen=True)
class Projected:
    """The final, normalised hidden states [tokens, hidden] that a head is put on."""

    head: Head
    hidden: Tensor


@dataclass(frozen=True)
class TokenScores:
    """Per response token, float64, in nats: [tokens], and [lambdas, tokens] for ``log_z``.

    ``log_z`` is the log-sum over the vocabulary of policy^(1+lambda) * reference^(-lambda).
    """

    policy: Tensor
    reference: Tensor
    log_z: Tensor
    divergence: Tensor | None


class _Normaliser:
    """Online log-sum-exp over vocabulary tiles; tiles are float32, what is carried on is float64."""

    def __init__(self, tokens: int, device: torch.device) -> None:
        self.value = torch.full((tokens,), -torch.inf, dtype=torch.float64, device=device)

    def add(self, logits: Tensor, rows: slice, *, scratch: Tensor) -> tuple[Tensor, Tensor]:
        """Takes in a tile and leaves exp(logits - their maximum) in ``scratch``.

        Returns the weights that what was seen before, and ``scratch``, have in the sum so far.
        """
        peak = logits.amax(dim=1)
        total = torch.sub(logits, peak[:, None], out=scratch).exp_().sum(dim=1)
        before = self.value[rows]
        after = torch.logaddexp(before, peak.double() + total.double().log())
        weights = (before - after).exp(), (peak.double() - after).exp()
        self.value[rows] = after
        return weights


class _Reduction:
    """Everything that is carried from one pair of tiles to the next."""

    def __init__(
        self, tokens: int, lambdas: Sequence[float], *, divergence: bool, device: torch.device
    ) -> None:
        self.lambdas = lambdas
        self.policy = _Normaliser(tokens, device)
        self.reference = _Normaliser(tokens, device)
        # Without extrapolation the extrapolated model is the policy, whose normaliser is there already.
        self.mixed = [_Normaliser(tokens, device) if lam else self.policy for lam in lambdas]
        self.mean_gap = torch.zeros(tokens, dtype=torch.float64, device=device) if divergence else None

    def add(self, policy: Tensor, reference: Tensor, rows: slice, *, scratch: Tensor) -> None:
        """Takes in a pair of logit tiles; ``reference`` is overwritten."""
        self.reference.add(reference, rows, scratch=scratch)
        if self.mean_gap is None and not any(self.lambdas):
            self.policy.add(policy, rows, scratch=scratch)
            return
        gap = torch.sub(policy, reference, out=reference)
        old, new = self.policy.add(policy, rows, scratch=scratch)
        if self.mean_gap is not None:
            weighted = scratch.mul_(gap).sum(dim=1).double()
            self.mean_gap[rows] = self.mean_gap[rows] * old + weighted * new
        for lam, normaliser in zip(self.lambdas, self.mixed, strict=True):
            if not lam:
                continue
            normaliser.add(torch.add(policy, gap, alpha=lam, out=scratch), rows, scratch=scratch)

    def log_z(self) -> Tensor:
        """[lambdas, tokens]. It cannot be negative: less than zero is rounding alone, and is cut off."""
        plain, reference = self.policy.value, self.reference.value
        log_z = plain.new_zeros(len(self.lambdas), len(plain))
        for row, lam, mixed in zip(log_z, self.lambdas, self.mixed, strict=True):
            row.copy_(mixed.value - (1 + lam) * plain + lam * reference)
        return log_z.clamp_min_(0)

    def divergence(self) -> Tensor | None:
        """KL(policy || reference), [tokens]. It cannot be negative either."""
        if self.mean_gap is None:
            return None
        return (self.mean_gap - self.policy.value + self.reference.value).clamp_min(0)


@torch.no_grad()
def score_tokens(
    policy: Projected,
    reference: Projected,
    targets: Tensor,
    *,
    lambdas: Sequence[float] = (),
    divergence: bool = False,
    tile: Tile | None = None,
) -> TokenScores:
    """Log-probabilities of ``targets`` [tokens] under both models, and what goes beyond them."""
    tokens, device = len(targets), targets.device
    tile = tile or Tile.on(device)
    carried = _Reduction(tokens, lambdas, divergence=divergence, device=device)
    buffers = [_buffer(policy, tile, tokens) for _ in range(3)]
    for rows, columns, (first, second, scratch) in _tiles(policy, tile, buffers):
        policy.head.logits(policy.hidden[rows], columns, out=first)
        reference.head.logits(reference.hidden[rows], columns, out=second)
        carried.add(first, second, rows, scratch=scratch)
    return TokenScores(
        policy=policy.head.logits_at(policy.hidden, targets) - carried.policy.value,
        reference=reference.head.logits_at(reference.hidden, targets) - carried.reference.value,
        log_z=carried.log_z(),
        divergence=carried.divergence(),
    )


@torch.no_grad()
def score_tokens_alone(policy: Projected, targets: Tensor, *, tile: Tile | None = None) -> Tensor:
    """Log-probabilities of ``targets`` [tokens] under one model, float64."""
    tile = tile or Tile.on(targets.device)
    normaliser = _Normaliser(len(targets), targets.device)
    buffers = [_buffer(policy, tile, len(targets)) for _ in range(2)]
    for rows, columns, (logits, scratch) in _tiles(policy, tile, buffers):
        policy.head.logits(policy.hidden[rows], columns, out=logits)
        normaliser.add(logits, rows, scratch=scratch)
    return policy.head.logits_at(policy.hidden, targets) - normaliser.value


def _buffer(of: Projected, tile: Tile, tokens: int) -> Tensor:
    # Made once: fresh memory for every tile costs more in page faults than the arithmetic does.
    columns = min(tile.columns, len(of.head.weight))
    return torch.empty(min(tile.tokens, tokens) * columns, dtype=of.hidden.dtype, device=of.hidden.device)


def _tiles(
    of: Projected, tile: Tile, buffers: Sequence[Tensor]
) -> Iterator[tuple[slice, slice, list[Tensor]]]:
    """Every tile's tokens and columns, with a view of its shape into each of the buffers."""
    tokens, vocabulary = len(of.hidden), len(of.head.weight)
    for column in range(0, vocabulary, tile.columns):
        width = min(tile.columns, vocabulary - column)
        for token in range(0, tokens, tile.tokens):
            height = min(tile.tokens, tokens - token)
            views = [buffer[: height * width].view(height, width) for buffer in buffers]
            yield slice(token, token + height), slice(column, column + width), views
