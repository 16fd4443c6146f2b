"""Floating-point operations of a decoder, by what is useful of them; a multiply-add is two.

Per token, forward: twice the parameters of the layers' matrices, 4 x layers x query size x context for
attention, and 2 x hidden x vocabulary for the head, where there is one. The mean context of T causal
tokens is T / 2, and of a response of R tokens after P it is P + R / 2. Norms, rotations, softmax and
sampling are not counted: they are in the measured rates.
"""

from typing import Literal, TypeAlias

from selfie.runs.estimates.shapes import ModelShape

LearningKind: TypeAlias = Literal["full", "checkpointed", "adapters"]

_PASSES: dict[LearningKind, tuple[int, int]] = {"full": (3, 4), "checkpointed": (4, 4), "adapters": (2, 3)}
"""Passes of the layers and of the head in one forward and backward, a forward being one."""


def blocks(shape: ModelShape, tokens: float) -> float:
    """The layers' matrices on so many tokens."""
    return 2.0 * shape.layers * shape.layer_matrix_parameters * tokens


def attention(shape: ModelShape, tokens: float, context: float) -> float:
    """Attention of so many tokens to ``context`` tokens each."""
    return 4.0 * shape.layers * shape.attention_size * tokens * context


def head(shape: ModelShape, positions: float) -> float:
    """The language-model head at so many positions."""
    return 2.0 * shape.hidden * shape.vocabulary * positions


def forward(shape: ModelShape, rows: float, tokens: float) -> float:
    """``rows`` causal sequences of ``tokens`` each, without head."""
    return blocks(shape, rows * tokens) + attention(shape, rows * tokens, tokens / 2)


def scored(shape: ModelShape, prompt: float, response: float, responses: float) -> float:
    """One prompt and its responses by one model.

    The prompt is computed once where the architecture allows it, and a response's last token not at
    all, since nothing is predicted from it; the head is put on response positions alone.
    """
    heads = head(shape, responses * response)
    if not shape.shares_prompts:
        return forward(shape, responses, prompt + response) + heads
    continued = responses * max(response - 1, 0)
    tokens = blocks(shape, prompt + continued)
    seen = attention(shape, prompt, prompt / 2) + attention(shape, continued, prompt + response / 2)
    return tokens + seen + heads


def sampled(shape: ModelShape, prompt: float, response: float, responses: float) -> tuple[float, float]:
    """(prefill, decoding) of one prompt and its responses: the prompt once, then a token at a time."""
    prefill = forward(shape, 1, prompt) + head(shape, 1)
    continued = responses * max(response - 1, 0)
    passes = blocks(shape, continued) + attention(shape, continued, prompt + response / 2)
    return prefill, passes + head(shape, continued)


def learned(shape: ModelShape, rows: float, tokens: float, positions: float, *, kind: LearningKind) -> float:
    """Forward and backward of ``rows`` sequences of ``tokens``, with ``positions`` under the head in all.

    A backward is two forwards, and the head's computes its logits again. ``checkpointed`` activations
    are computed again too; with ``adapters`` the weights themselves need no gradient.
    """
    passes, heads = _PASSES[kind]
    return passes * forward(shape, rows, tokens) + heads * head(shape, positions)
