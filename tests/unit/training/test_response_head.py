"""The head of a training step on CPUs gives the log-probabilities and gradients of the whole softmax."""

from types import MethodType, SimpleNamespace
from typing import Any

import pytest
import torch

from selfie.training.trainer.response_head import COLUMNS, ROWS, ResponseLogProbs, use_response_head

HIDDEN = 8


def problem(positions: int, vocabulary: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(positions, HIDDEN, generator=generator)
    weight = torch.randn(vocabulary, HIDDEN, generator=generator)
    targets = torch.randint(0, vocabulary, (positions,), generator=generator)
    gradient = torch.randn(positions, generator=generator, dtype=torch.float64)
    return hidden, weight, targets, gradient


@pytest.mark.parametrize(
    ("positions", "vocabulary"), [(1, 3), (7, 50), (5, COLUMNS + 37), (ROWS + 9, 60)], ids=str
)
def test_values_and_gradients_are_those_of_the_whole_softmax(positions: int, vocabulary: int) -> None:
    hidden, weight, targets, gradient = problem(positions, vocabulary)
    ours = [hidden.requires_grad_(), weight.requires_grad_()]
    found = ResponseLogProbs.apply(*ours, targets)
    found.backward(gradient.float())
    exact = [tensor.detach().double().requires_grad_() for tensor in ours]
    expected = (exact[0] @ exact[1].T).log_softmax(-1).gather(1, targets[:, None])[:, 0]
    expected.backward(gradient)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=2e-5)
    for own, whole in zip(ours, exact, strict=True):
        torch.testing.assert_close(own.grad.double(), whole.grad, rtol=0, atol=2e-5)


def test_a_head_that_does_not_learn_gets_no_gradient() -> None:
    hidden, weight, targets, gradient = problem(7, 50)
    ResponseLogProbs.apply(hidden.requires_grad_(), weight, targets).backward(gradient.float())
    assert hidden.grad is not None
    assert weight.grad is None


def test_a_batch_without_responses_is_a_zero_to_learn_from() -> None:
    hidden, weight, targets, _ = problem(7, 50)
    weight.requires_grad_()
    ResponseLogProbs.apply(hidden[:0].requires_grad_(), weight, targets[:0]).sum().backward()
    assert not weight.grad.any()


class Model:
    """As much of a causal language model as the head touches."""

    def __init__(self, *, bias: torch.Tensor | None = None, **settings: Any) -> None:
        self.hidden, self.weight, self.targets, _ = problem(10, 50)
        self.head = SimpleNamespace(weight=self.weight, bias=bias)
        self.config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(**settings))
        self.forward: Any = MethodType(lambda *_, **given: given, self)

    def get_output_embeddings(self) -> Any:
        return self.head

    def base_model(self, **_: Any) -> Any:
        return SimpleNamespace(last_hidden_state=self.hidden.view(2, 5, HIDDEN))


def test_only_positions_with_a_label_are_scored() -> None:
    model = Model()
    use_response_head(model)
    labels = torch.tensor([[-100, -100, 7, 8, -100], [-100, 9, -100, -100, -100]])
    log_probs = model.forward(labels=labels, fused_lm_head=True).log_probs
    whole = (model.hidden @ model.weight.T).log_softmax(-1).view(2, 5, -1)
    expected = torch.zeros(2, 4)
    expected[0, 1], expected[0, 2], expected[1, 0] = whole[0, 1, 7], whole[0, 2, 8], whole[1, 0, 9]
    torch.testing.assert_close(log_probs, expected)


def test_every_other_call_and_lower_precision_are_left_to_the_model() -> None:
    model = Model()
    use_response_head(model)
    labels = torch.zeros(2, 5, dtype=torch.long)
    assert model.forward(labels=labels) == {"labels": labels, "fused_lm_head": False}
    with torch.autocast("cpu", torch.bfloat16):
        assert model.forward(labels=labels, fused_lm_head=True) == {"labels": labels, "fused_lm_head": True}


@pytest.mark.parametrize(
    "settings",
    [{"bias": torch.zeros(50)}, {"logit_scale": 0.5}, {"final_logit_softcapping": 30.0}],
    ids=["bias", "scale", "softcap"],
)
def test_an_unusual_head_is_left_as_it_is(settings: dict[str, Any]) -> None:
    model = Model(**settings)
    before = model.forward
    use_response_head(model)
    assert model.forward is before
