"""`selfie serve scoring --run`: the scorer with the weights of a run's best round."""

from dataclasses import dataclass
from pathlib import Path

from selfie.artifacts.manifests import read_manifest
from selfie.artifacts.run_files import read_run, read_status
from selfie.artifacts.store import Store
from selfie.artifacts.weights import pull, weights_digest
from selfie.cli.calibrating import calibration_file
from selfie.errors import FailedPrecondition, InvalidInput
from selfie.runs.lineage import Source, initial_model, published_policy


@dataclass(frozen=True)
class Pulled:
    """Weights on this machine, verified against their digest."""

    directory: Path
    digest: str


def scorer_arguments(store: Store, number: int | None, cache: Path) -> list[str]:
    """Flags for the scoring service: a round's policy, by default the best one's, and the initial model.

    Raises `FailedPrecondition` for a run that has no such round yet, and `InvalidInput` for one that
    it will never have.
    """
    run = read_run(store)
    chosen = _round(store, number, len(run.spec.rounds))
    policy = _pulled(store, published_policy(chosen), cache)
    reference = _pulled(store, initial_model(run.spec), cache)
    arguments: list[str] = []
    for role, weights in (("policy", policy), ("reference", reference)):
        arguments += [f"--{role}", str(weights.directory), f"--{role}-digest", weights.digest]
    fit = calibration_file(
        store, chosen, policy_digest=policy.digest, reference_digest=reference.digest, cache=cache
    )
    if fit is not None:
        arguments += ["--calibration", str(fit)]
    # They were verified when they were fetched, a moment ago.
    return [*arguments, "--no-verify-weights"]


def _round(store: Store, number: int | None, rounds: int) -> int:
    if number is None:
        best = read_status(store).best
        if best is None:
            raise FailedPrecondition(
                "NoBestRound",
                f"{store.uri} has no best round: none is measured on held-out pairs; name one with --round",
            )
        return best.round
    if not 0 <= number <= rounds:
        raise InvalidInput("--round", f"is {number}", f"use a number from 0, the seed, to {rounds}")
    return number


def _pulled(store: Store, source: Source, cache: Path) -> Pulled:
    manifest = read_manifest(store, source.step)
    if manifest is None:
        raise FailedPrecondition(
            "NotPublished", f"{store.uri} has not published {source.step} yet; wait, or name another --round"
        )
    entries = manifest.group(source.group)
    return Pulled(pull(store, entries, cache / "weights"), weights_digest(entries))
