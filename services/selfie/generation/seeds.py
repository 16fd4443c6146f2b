"""Random seeds of samples, derived and not drawn.

A seed depends on what is sampled alone: not on the order of the prompts, the size of a shard,
or how often the work was interrupted. So a data set made again is the same data set.
"""

import hashlib


def derive_seed(random_seed: int, step: str, prompt_digest: str, sample_index: int) -> int:
    """Seed of one sample, in [0, 2^64).

    ``step`` (``rounds/01/generate``) keeps the same prompt apart in different rounds.
    """
    name = f"selfie.sample.1 {random_seed} {step} {prompt_digest} {sample_index}"
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def derive_seeds(random_seed: int, step: str, prompt_digest: str, samples: int) -> tuple[int, ...]:
    """Seeds of the first ``samples`` samples of a prompt."""
    return tuple(derive_seed(random_seed, step, prompt_digest, index) for index in range(samples))


def renewed_seed(seed: int) -> int:
    """Seed for asking an engine again that failed with this one; a seed's successor is always the same."""
    digest = hashlib.sha256(f"selfie.renewed.1 {seed}".encode()).digest()
    return int.from_bytes(digest[:8], "big")
