"""Puts a trainer together: TRL's configuration, both models, the noise detector."""

import math
import os
from pathlib import Path

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from trl.trainer.dpo_config import DPOConfig

from selfie.errors import InvalidInput
from selfie.method.noise import OnlineThreshold, ParityThreshold, default_window, warmup_steps
from selfie.models.loading import load_policy
from selfie.training.trainer.dataset import PairCollator
from selfie.training.trainer.noise_aware import NoiseAwareDPOTrainer, NoiseAwareness
from selfie.training.trainer.parameters import TrainingParameters

_DDP_TIMEOUT_S = 7200


def total_steps(parameters: TrainingParameters, pairs: int) -> int:
    """Optimizer steps of the whole training; an epoch's last one may have fewer pairs."""
    return parameters.max_steps or parameters.epochs * math.ceil(pairs / parameters.batch)


def noise_awareness(parameters: TrainingParameters, pairs: int) -> NoiseAwareness:
    """How labels are doubted in a training on so many pairs; only ``online`` has a use for the rest."""
    if parameters.refinement != "online":
        return NoiseAwareness(parameters.refinement)
    return NoiseAwareness(
        "online",
        smoothing=parameters.smoothing,
        lam=parameters.lambda_,
        threshold=_threshold(parameters, pairs),
    )


def _threshold(parameters: TrainingParameters, pairs: int) -> OnlineThreshold | ParityThreshold:
    warmup = warmup_steps(total_steps(parameters, pairs), percent=parameters.warmup_percent)
    if parameters.threshold == "parity":
        return ParityThreshold(noisy_percent=parameters.noisy_percent, warmup_steps=warmup)
    window = parameters.window or default_window(pairs)
    return OnlineThreshold(noisy_percent=parameters.noisy_percent, window=window, warmup_steps=warmup)


def micro_batch(parameters: TrainingParameters, ranks: int) -> int:
    """Pairs that one rank computes at once: the most up to the limit that a step can be cut into.

    `InvalidInput` where the ranks can't share a step evenly.
    """
    if parameters.batch % ranks:
        raise InvalidInput(
            "parameters.batch",
            f"{parameters.batch} pairs can't be shared by {ranks} ranks",
            "use a multiple of them",
        )
    share = parameters.batch // ranks
    return max(size for size in range(1, min(parameters.micro_batch, share) + 1) if share % size == 0)


def rounds_products(parameters: TrainingParameters, *, possible: bool) -> bool:
    """Whether factors of products are rounded to bfloat16; `InvalidInput` where that is not possible."""
    rounds = parameters.precision == "bfloat16"
    if rounds and not possible:
        raise InvalidInput("parameters.precision", "this GPU has no bfloat16", "use float32, or a newer GPU")
    return rounds


def configuration(parameters: TrainingParameters, directory: Path, *, pairs: int) -> DPOConfig:
    """TRL's configuration; ``directory`` receives the checkpoints."""
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    micro = micro_batch(parameters, ranks)
    on_gpu = torch.cuda.is_available()
    # Worth its pass over the data only when pairs are seen again, and possible only for sums.
    seen_again = total_steps(parameters, pairs) > math.ceil(pairs / parameters.batch)
    # What one rank has computed lies in a file of its own node, where no other one finds it.
    precompute = seen_again and noise_awareness(parameters, pairs).lam == 0 and ranks == 1
    return DPOConfig(
        output_dir=str(directory),
        beta=parameters.beta,
        learning_rate=parameters.learning_rate,
        lr_scheduler_type=parameters.scheduler,
        warmup_steps=parameters.warmup_ratio,
        num_train_epochs=parameters.epochs,
        max_steps=parameters.max_steps or -1,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=parameters.batch // ranks // micro,
        precompute_ref_log_probs=precompute,
        max_length=None,
        bf16=rounds_products(parameters, possible=not on_gpu or torch.cuda.is_bf16_supported(False)),
        ddp_backend="gloo" if ranks > 1 and not on_gpu else None,
        # Long enough for the first rank to store a large policy; a rank that is gone is noticed at once.
        ddp_timeout=_DDP_TIMEOUT_S,
        use_cpu=not on_gpu,
        # Memory is what checkpointing saves and a third of the time what it costs.
        activation_checkpointing=on_gpu,
        seed=parameters.random_seed,
        save_strategy="no",
        save_total_limit=2,
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=on_gpu,
    )


def assemble(
    parameters: TrainingParameters, dataset: Dataset, *, start: Path, directory: Path
) -> NoiseAwareDPOTrainer:
    """The trainer on the weights in ``start``, loaded twice: to learn, and to be measured against."""
    tokenizer = _tokenizer(start)
    return NoiseAwareDPOTrainer(
        noise=noise_awareness(parameters, len(dataset)),
        batch=parameters.batch,
        model=load_policy(start),
        ref_model=load_policy(start),
        args=configuration(parameters, directory, pairs=len(dataset)),
        data_collator=PairCollator(pad_token_id=tokenizer.pad_token_id),
        train_dataset=dataset,
        processing_class=tokenizer,
        peft_config=_adapters(parameters),
    )


def _tokenizer(directory: Path) -> PreTrainedTokenizerBase:
    tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _adapters(parameters: TrainingParameters) -> LoraConfig | None:
    if parameters.lora is None:
        return None
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=parameters.lora.rank,
        lora_alpha=parameters.lora.alpha,
        lora_dropout=0.0,
        # The head is left out: its weights are read directly by the loss.
        target_modules="all-linear",
    )
