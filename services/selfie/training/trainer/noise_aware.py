"""Noise-aware preference optimisation (arXiv 2406.04412) as a small extension of TRL's trainer.

TRL's own loss and metrics stay as they are. For a pair whose label is doubted by a share w, w * m
is added to its loss: ``-log sigmoid(m) + w * m = -(1 - w) log sigmoid(m) - w log sigmoid(-m)``. What
decides is the margin of a model extrapolated beyond the learner, which follows from the learner's
margin and one log-sum-exp per position (`selfie.training.trainer.log_partition`).

Written against TRL 1.16.0, whose loss has no hook per pair: forward passes are recorded from outside.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PrinterCallback
from trl.trainer.dpo_trainer import DPOTrainer

from selfie.method.extrapolation import extrapolated_margin
from selfie.method.noise import OnlineThreshold, ParityThreshold
from selfie.runs.method_fields import RefinementName
from selfie.training.trainer.atomic import write_last
from selfie.training.trainer.dataset import COLUMNS, lengths
from selfie.training.trainer.limits import refuse_unsupported
from selfie.training.trainer.log_partition import Head, log_partition
from selfie.training.trainer.order import PairOrder
from selfie.training.trainer.peers import is_main, meet
from selfie.training.trainer.recording import Recording, causal_model, recorded
from selfie.training.trainer.response_head import use_response_head
from selfie.training.trainer.shares import Share, finite, weighted
from selfie.training.trainer.steps import Measured, StepRecord

STATE_FILE = "selfie.json"
"""Written last into a checkpoint: a checkpoint without it is not whole."""


@dataclass(frozen=True)
class NoiseAwareness:
    """How labels are doubted during training.

    ``online``: by ``threshold``, on margins extrapolated by ``lam``; a noisy pair has w = ``smoothing``.
    ``offline``: by the rows' own soft labels, w = 1 - soft label. ``none``: not at all.
    """

    refinement: RefinementName
    smoothing: float = 0.0
    lam: float = 0.0
    threshold: OnlineThreshold | ParityThreshold | None = None


class NoiseAwareDPOTrainer(DPOTrainer):  # type: ignore[misc]
    """`DPOTrainer` whose labels can be doubted; ``batch`` pairs make one optimizer step, on all ranks.

    ``model`` learns; ``ref_model``, a distinct object, is the policy that the round started from.
    """

    def __init__(self, *, noise: NoiseAwareness, batch: int, **arguments: Any) -> None:
        refuse_unsupported(arguments["args"], arguments["model"], arguments["ref_model"], lam=noise.lam)
        super().__init__(**arguments)
        for each in (self.model, self.ref_model):
            use_response_head(causal_model(self.accelerator.unwrap_model(each)))
        self.remove_callback(PrinterCallback)
        self.noise = noise
        self.order = PairOrder(
            lengths(self.train_dataset),
            batch=batch,
            seed=self.args.seed,
            steps_done=lambda: self.state.global_step,
        )
        self.steps: list[StepRecord] = []
        self.first_step = 0
        """Number of steps that earlier starts have done."""
        self._parts: list[Tensor] = []
        self._measured: Measured | None = None
        self._tokens_before = 0
        self._step_batches = 1

    # What TRL would do to the data: tokenise it again, drop our columns, draw its own order.
    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset

    def _set_signature_columns_if_needed(self) -> None:
        self._signature_columns = [*COLUMNS, "ref_chosen_logps", "ref_rejected_logps"]

    def _get_train_sampler(self, *_: Any) -> PairOrder:
        return self.order

    # No call leaves for the network, and the model card is written when the weights are published.
    def _send_telemetry(self) -> None:
        return

    def create_model_card(self, *_: Any, **__: Any) -> None:
        return

    def get_batch_samples(self, epoch_iterator: Iterator[Any], num_batches: int, device: Any) -> Any:
        samples, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        self._step_batches = len(samples)
        return samples, items

    def compute_ref_log_probs(self, model: Any, inputs: dict[str, Any]) -> Any:
        return super().compute_ref_log_probs(model, _without_columns(inputs))

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        plain = _without_columns(inputs)
        if not self.model.training:
            return super()._compute_loss(model, plain, return_outputs)
        hidden = self.noise.lam > 0
        with (
            recorded(self.model, hidden=hidden) as policy,
            recorded(self.ref_model, hidden=hidden) as reference,
        ):
            loss = super()._compute_loss(model, plain, return_outputs=False)
        margins = self._margins(policy, reference, inputs)
        extrapolated = self._extrapolated(margins, policy, reference, inputs)
        noisy, doubt = self._doubt(extrapolated, inputs)
        if bool(noisy.any()):
            loss = loss + (doubt.to(margins.dtype) * margins).mean()
        loss = weighted(loss, margins, doubt, self._share())
        columns = (inputs["row"].double(), margins.detach().double(), extrapolated, noisy.double())
        self._parts.append(torch.stack(columns, dim=1))
        self._end_micro_batch(extrapolated)
        return loss

    def _margins(self, policy: Recording, reference: Recording, inputs: dict[str, Any]) -> Tensor:
        """Training margins, beta-scaled, [pairs], with gradient."""
        chosen, rejected = policy.sums().chunk(2)
        if self.precompute_ref_logps:
            chosen_before, rejected_before = inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]
        else:
            chosen_before, rejected_before = reference.sums().chunk(2)
        ahead: Tensor = (chosen - chosen_before) - (rejected - rejected_before)
        return ahead * float(self.beta)

    def _extrapolated(
        self, margins: Tensor, policy: Recording, reference: Recording, inputs: dict[str, Any]
    ) -> Tensor:
        """Margins of the extrapolated model, [pairs], float64, without gradient."""
        values = margins.detach().double()
        if policy.hidden is None:
            return values
        mask = inputs["completion_mask"][:, 1:].bool()
        with self.accelerator.autocast():
            per_token = log_partition(
                policy.response_states(mask),
                reference.response_states(mask),
                self.noise.lam,
                policy_head=Head.of(causal_model(self.accelerator.unwrap_model(self.model))),
                reference_head=Head.of(causal_model(self.accelerator.unwrap_model(self.ref_model))),
            )
        sums = per_token.new_zeros(len(mask)).index_add_(0, mask.nonzero()[:, 0], per_token)
        chosen, rejected = (part.cpu().numpy() for part in sums.chunk(2))
        drifted = extrapolated_margin(
            values.cpu().numpy(), chosen, rejected, beta=self.beta, lam=self.noise.lam
        )
        return torch.from_numpy(drifted).to(values.device)

    def _doubt(self, extrapolated: Tensor, inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Which pairs are taken to be noisy, and the share by which each label is doubted, [pairs]."""
        if self.noise.refinement == "offline":
            doubt = 1.0 - inputs["soft_label"]
            return doubt > 0, doubt
        noisy = torch.zeros_like(extrapolated, dtype=torch.bool)
        if self.noise.refinement == "online" and self.noise.threshold is not None:
            decided = self.noise.threshold.decide(finite(extrapolated, self.state.global_step).cpu().numpy())
            noisy = torch.from_numpy(decided).to(noisy.device)
        return noisy, self.noise.smoothing * noisy

    def _share(self) -> Share:
        return Share(
            step=len(self.order.step(self.state.global_step)),
            size=self.args.per_device_train_batch_size,
            batches=self._step_batches,
            index=len(self._parts),
            rank=self.accelerator.process_index,
            ranks=self.accelerator.num_processes,
        )

    def _end_micro_batch(self, extrapolated: Tensor) -> None:
        threshold = self.noise.threshold
        value = None if threshold is None else threshold.threshold
        if isinstance(threshold, ParityThreshold):
            threshold.push(extrapolated.cpu().numpy())
        if self.accelerator.sync_gradients:
            self._end_step(value)

    def _end_step(self, threshold: float | None) -> None:
        """Closes the optimizer step: the only place where ranks exchange their margins."""
        gathered = self.accelerator.gather(torch.cat(self._parts)).cpu().numpy()
        self._parts = []
        first = {int(row): values for row, *values in reversed(gathered.tolist())}
        # A rank that runs out of pairs is given some of an earlier step again: those do not count.
        values = {row: first[row] for row in self.order.step(self.state.global_step)}
        self._measured = Measured.of(values, threshold=threshold, tokens=self._new_tokens())
        if isinstance(self.noise.threshold, ParityThreshold):
            self.noise.threshold.end_step()
        elif self.noise.threshold is not None:
            self.noise.threshold.push([extrapolated for _, extrapolated, _ in values.values()])

    def _new_tokens(self) -> int:
        before, self._tokens_before = self._tokens_before, int(self._total_train_tokens)
        return self._tokens_before - before

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if self._measured is not None and "loss" in logs:
            self.steps.append(StepRecord.of_step(self._measured, step=self.state.global_step, logs=logs))
            self._measured = None
        super().log(logs, start_time)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        threshold = self.noise.threshold
        state = {
            "threshold": None if threshold is None else threshold.state_dict(),
            "steps": [record.as_json() for record in self.steps],
        }
        directory = Path(self._get_output_dir(trial), f"checkpoint-{self.state.global_step}")
        # The first rank's state says that all is there: it is written after everyone else's.
        if is_main():
            meet()
        write_last(directory / self._state_file(), json.dumps(state))
        if not is_main():
            meet()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        own, main = (Path(resume_from_checkpoint, name) for name in (self._state_file(), STATE_FILE))
        # Where there are more ranks than before, the new ones begin as the first one goes on.
        state = json.loads((own if own.exists() else main).read_text())
        self.steps = [StepRecord.from_json(record) for record in state["steps"]]
        self.first_step = len(self.steps)
        if self.noise.threshold is not None:
            self.noise.threshold.load_state_dict(state["threshold"])

    def _state_file(self) -> str:
        # In the parity reading every rank has its own threshold.
        rank = self.accelerator.process_index
        return STATE_FILE if rank == 0 else f"rank-{rank}-{STATE_FILE}"


def _without_columns(inputs: dict[str, Any]) -> dict[str, Any]:
    # TRL hands every other key to the model's forward.
    return {name: value for name, value in inputs.items() if name not in ("row", "soft_label")}
