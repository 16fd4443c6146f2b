"""The noise-aware trainer against stock TRL, and against the formula in float64 on full logits."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AutoTokenizer
from trl import DPOConfig, DPOTrainer

from selfie.errors import FailedPrecondition
from selfie.method.noise import OnlineThreshold, ParityThreshold
from selfie.models.loading import load_policy
from selfie.training.trainer.dataset import PairCollator, training_set
from selfie.training.trainer.noise_aware import NoiseAwareDPOTrainer, NoiseAwareness

# TRL 1.16 asks transformers by a name that is about to go.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

PAIRS, BATCH, BETA = 24, 8, 0.1
NO_DOUBT = NoiseAwareness("none")
MakeTrainer = Callable[..., NoiseAwareDPOTrainer]


def pairs(count: int = PAIRS, *, seed: int = 0, **columns: list[float]) -> Dataset:
    """Chosen responses have small ids and rejected ones large ids, mostly: something to learn."""
    rng = np.random.default_rng(seed)

    def ids(tokens: int, low: int, high: int) -> list[int]:
        return [int(token) for token in rng.integers(low, high, rng.integers(1, tokens))]

    rows = [
        {
            "pair_id": str(number),
            "prompt_ids": ids(12, 3, 300),
            "chosen_ids": [*ids(20, 3, 200), 2],
            "rejected_ids": [*ids(20, 100, 300), 2],
        }
        for number in range(count)
    ]
    for name, values in columns.items():
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    return training_set(rows, max_tokens=512, vocabulary=400)


def settings(directory: Path, *, micro: int = 4, **changes: Any) -> DPOConfig:
    plain = {
        "output_dir": str(directory),
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": BATCH // micro,
        "beta": BETA,
        "learning_rate": 1e-3,
        "max_length": None,
        "bf16": False,
        "use_cpu": True,
        "activation_checkpointing": False,
        "save_strategy": "no",
        "num_train_epochs": 1,
        "logging_steps": 1,
        "report_to": "none",
        "disable_tqdm": True,
        "seed": 3,
    }
    return DPOConfig(**(plain | changes))


@pytest.fixture
def make_trainer(tiny_checkpoint: Path, tmp_path: Path) -> MakeTrainer:
    def make(
        noise: NoiseAwareness = NO_DOUBT, *, dataset: Dataset | None = None, model: Any = None, **changes: Any
    ) -> NoiseAwareDPOTrainer:
        tokenizer = AutoTokenizer.from_pretrained(tiny_checkpoint)
        return NoiseAwareDPOTrainer(
            noise=noise,
            batch=BATCH,
            model=model or load_policy(tiny_checkpoint),
            ref_model=load_policy(tiny_checkpoint),
            args=settings(tmp_path / "ours", **changes),
            data_collator=PairCollator(pad_token_id=tokenizer.pad_token_id),
            train_dataset=dataset or pairs(),
            processing_class=tokenizer,
        )

    return make


class Stock(DPOTrainer):  # type: ignore[misc]
    """TRL's trainer on ids, which it would otherwise make again from text."""

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset


def stock_losses(checkpoint: Path, directory: Path, dataset: Dataset, **changes: Any) -> list[float]:
    trainer = Stock(
        model=load_policy(checkpoint),
        ref_model=load_policy(checkpoint),
        args=settings(directory, train_sampling_strategy="sequential", **changes),
        train_dataset=dataset,
        processing_class=AutoTokenizer.from_pretrained(checkpoint),
    )
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("changes", [{}, {"precompute_ref_log_probs": True}, {"micro": 8}], ids=str)
def test_without_doubt_every_loss_is_that_of_the_stock_trainer(
    make_trainer: MakeTrainer, tiny_checkpoint: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    changes = changes | {"learning_rate": 5e-3}
    ours = make_trainer(
        NoiseAwareness("online", smoothing=0.0, threshold=eager()), dataset=pairs(48), **changes
    )
    ours.train()
    order = [row for step in range(6) for row in ours.order.step(step)]
    stock = stock_losses(tiny_checkpoint, tmp_path / "stock", pairs(48).select(order), **changes)
    assert len(stock) == 6
    assert np.abs(np.diff(stock)).max() > 0.02
    np.testing.assert_allclose([step.loss for step in ours.steps], stock, rtol=0, atol=1e-5)


def eager(noisy_percent: float = 30) -> OnlineThreshold:
    """A threshold that is in force from the second step on."""
    return OnlineThreshold(noisy_percent=noisy_percent, window=BATCH, warmup_steps=1)


class Told(OnlineThreshold):
    """A threshold whose value is given, and that keeps what it was asked and told."""

    def __init__(self, value: float | None) -> None:
        super().__init__(noisy_percent=10, window=1, warmup_steps=0)
        self.threshold = value
        self.asked: list[np.ndarray] = []
        self.told: list[np.ndarray] = []

    def decide(self, margins: Any) -> Any:
        self.asked.append(np.asarray(margins))
        return super().decide(margins)

    def push(self, margins: Any) -> None:
        self.told.append(np.asarray(margins))


def perturbed(checkpoint: Path) -> Any:
    model = load_policy(checkpoint)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.02)
    return model


def exact_logits(model: Any, ids: list[int]) -> torch.Tensor:
    return model(input_ids=torch.tensor([ids])).logits[0].double()


def exact_margins(
    policy: Any, reference: Any, dataset: Dataset, lam: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Plain and extrapolated margins, from whole rows of logits, the extrapolated model written out."""
    plain, extrapolated = [], []
    for pair in dataset:
        sums = []
        for side in ("chosen_ids", "rejected_ids"):
            ids = [*pair["prompt_ids"], *pair[side]]
            rows = slice(len(pair["prompt_ids"]) - 1, -1)
            targets = torch.tensor(pair[side])[:, None]
            own, other = exact_logits(policy, ids)[rows], exact_logits(reference, ids)[rows]
            mixed = (1 + lam) * own - lam * other
            sums.append([logits.log_softmax(-1).gather(1, targets).sum() for logits in (own, other, mixed)])
        (own_w, other_w, mixed_w), (own_l, other_l, mixed_l) = sums
        plain.append(BETA * ((own_w - other_w) - (own_l - other_l)))
        extrapolated.append(BETA * ((mixed_w - other_w) - (mixed_l - other_l)))
    return torch.stack(plain), torch.stack(extrapolated)


@pytest.mark.parametrize("lam", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("micro", [2, 8])
def test_loss_margins_and_gradient_equal_the_formula_in_float64(
    make_trainer: MakeTrainer, tiny_checkpoint: Path, lam: float, micro: int
) -> None:
    dataset, smoothing = pairs(BATCH), 0.2
    policy, reference = perturbed(tiny_checkpoint).double(), load_policy(tiny_checkpoint).double()
    plain, extrapolated = exact_margins(policy, reference, dataset, lam)
    between = extrapolated.detach().sort().values[BATCH // 2 - 1 : BATCH // 2 + 1].mean()
    threshold = Told(float(between))
    noisy = (extrapolated < between).double()
    loss = (-torch.nn.functional.logsigmoid(plain) + smoothing * noisy * plain).mean()
    loss.backward()
    norm = torch.sqrt(sum((p.grad**2).sum() for p in policy.parameters()))

    trainer = make_trainer(
        NoiseAwareness("online", smoothing=smoothing, lam=lam, threshold=threshold),
        dataset=dataset,
        model=perturbed(tiny_checkpoint),
        micro=micro,
    )
    trainer.train()
    step = trainer.steps[0]
    order = trainer.order.step(0)
    assert step.noisy == int(noisy.sum()) == BATCH // 2
    np.testing.assert_allclose(threshold.told[0], extrapolated.detach()[order], rtol=0, atol=2e-5)
    assert step.margin == pytest.approx(plain.mean().item(), abs=1e-5)
    assert step.loss == pytest.approx(loss.item(), abs=1e-5)
    assert step.gradient_norm == pytest.approx(norm.item(), rel=1e-4)
    assert lam == 0 or (plain - extrapolated).abs().max().item() > 0.01


def test_extrapolation_adds_no_forward_pass(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(
        NoiseAwareness("online", smoothing=0.1, lam=0.5, threshold=eager()), dataset=pairs(BATCH), micro=BATCH
    )
    calls = {"policy": 0, "reference": 0}

    def count(name: str) -> Callable[..., None]:
        def counted(*_: Any) -> None:
            calls[name] += 1

        return counted

    trainer.model.base_model.register_forward_hook(count("policy"))
    trainer.ref_model.base_model.register_forward_hook(count("reference"))
    trainer.train()
    assert calls == {"policy": 1, "reference": 1}


@pytest.mark.parametrize("lam", [0.0, 0.5])
def test_what_is_noisy_does_not_depend_on_micro_batch_and_accumulation(
    make_trainer: MakeTrainer, lam: float
) -> None:
    runs = []
    for micro in (1, 2, 8):
        trainer = make_trainer(
            NoiseAwareness("online", smoothing=0.3, lam=lam, threshold=eager()),
            dataset=pairs(28),
            micro=micro,
            num_train_epochs=2,
        )
        trainer.train()
        runs.append(trainer.steps)
    assert [step.pairs for step in runs[0]] == [8, 8, 8, 4] * 2
    assert sum(step.noisy for step in runs[0]) > 5
    for run in runs[1:]:
        assert [step.noisy for step in run] == [step.noisy for step in runs[0]]
        for name in ("loss", "margin", "extrapolated_margin", "gradient_norm"):
            values = [[getattr(step, name) for step in steps] for steps in (run, runs[0])]
            np.testing.assert_allclose(*values, rtol=1e-3, atol=2e-5, err_msg=name)


def test_on_a_steep_training_pairs_are_found_noisy_and_learn_less(make_trainer: MakeTrainer) -> None:
    def train(smoothing: float) -> NoiseAwareDPOTrainer:
        trainer = make_trainer(
            NoiseAwareness("online", smoothing=smoothing, lam=0.5, threshold=eager(10)), num_train_epochs=4
        )
        trainer.train()
        return trainer

    doubting, believing = train(0.5), train(0.0)
    flagged = [step.noisy for step in doubting.steps]
    assert flagged[0] == 0
    assert sum(flagged) == doubting.noise.threshold.flagged > 0  # type: ignore[union-attr]
    assert doubting.steps[-1].margin < believing.steps[-1].margin


def test_nothing_is_noisy_while_the_threshold_warms_up(make_trainer: MakeTrainer) -> None:
    threshold = OnlineThreshold(noisy_percent=90, window=1, warmup_steps=3)
    trainer = make_trainer(NoiseAwareness("online", smoothing=0.1, threshold=threshold), num_train_epochs=2)
    trainer.train()
    assert [step.threshold is None for step in trainer.steps] == [True] * 3 + [False] * 3
    assert [step.noisy for step in trainer.steps[:3]] == [0, 0, 0]
    assert sum(step.noisy for step in trainer.steps) > 0


def test_offline_the_rows_own_labels_are_trained_on(make_trainer: MakeTrainer, tiny_checkpoint: Path) -> None:
    labels = [1.0, 0.7, 1.0, 0.9, 1.0, 0.5, 1.0, 1.0]
    dataset = pairs(BATCH, soft_label=labels)
    plain, _ = exact_margins(perturbed(tiny_checkpoint), load_policy(tiny_checkpoint), dataset, 0.0)
    label = torch.tensor(labels)
    log_sigmoid = torch.nn.functional.logsigmoid
    expected = (-label * log_sigmoid(plain) - (1 - label) * log_sigmoid(-plain)).mean()
    trainer = make_trainer(NoiseAwareness("offline"), dataset=dataset, model=perturbed(tiny_checkpoint))
    trainer.train()
    assert trainer.steps[0].loss == pytest.approx(expected.item(), abs=1e-5)
    assert trainer.steps[0].noisy == 3


def test_the_parity_reading_decides_as_it_goes(make_trainer: MakeTrainer) -> None:
    threshold = ParityThreshold(noisy_percent=10, warmup_steps=2)
    trainer = make_trainer(NoiseAwareness("online", smoothing=0.1, threshold=threshold), micro=2)
    trainer.train()
    assert (threshold.steps, threshold.seen) == (3, PAIRS)
    # Its threshold is 0 until fifty micro-batches were seen: then noisy is what the model has wrong.
    last = trainer.steps[-1]
    assert last.noisy == threshold.flagged == round((1 - last.accuracy) * BATCH)


def test_evaluation_neither_asks_nor_feeds_the_threshold(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(NoiseAwareness("online", smoothing=0.4, lam=0.5, threshold=eager(60)))
    trainer.train()
    before = copy.deepcopy(trainer.noise.threshold.state_dict())  # type: ignore[union-attr]
    doubted = trainer.evaluate(pairs(10, seed=1))["eval_loss"]
    assert trainer.noise.threshold.state_dict() == before  # type: ignore[union-attr]
    trainer.noise = NO_DOUBT
    assert trainer.evaluate(pairs(10, seed=1))["eval_loss"] == doubted


def test_a_training_that_leaves_the_numbers_ends_with_the_remedy(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(NoiseAwareness("online", smoothing=0.1, threshold=eager()), learning_rate=1e18)
    with pytest.raises(FailedPrecondition, match="lower the round's learningRate"):
        trainer.train()
