"""Laws of the extrapolated model and of the exact divergence."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from selfie.errors import InvalidInput
from selfie.method.divergence import kl_per_token
from selfie.method.extrapolation import extrapolated_logprob, extrapolated_margin, log_partition
from selfie.method.logspace import log_softmax

quick = settings(deadline=None, max_examples=60)
TOKENS, VOCABULARY = 4, 6
logits = arrays(np.float64, (TOKENS, VOCABULARY), elements=st.floats(-12, 12))
strengths = st.floats(0, 4)


def response_sums(rows: np.ndarray, ids: list[int]) -> float:
    return float(log_softmax(rows)[np.arange(len(ids)), ids].sum())


def ids_of(seed: int) -> list[int]:
    return [int(token) for token in np.random.default_rng(seed).integers(VOCABULARY, size=TOKENS)]


@quick
@given(policy=logits, reference=logits, lam=strengths, seed=st.integers(0, 2**32))
def test_the_identity_gives_the_softmax_of_the_added_logits(
    policy: np.ndarray, reference: np.ndarray, lam: float, seed: int
) -> None:
    ids = ids_of(seed)
    direct = response_sums((1 + lam) * policy - lam * reference, ids)
    by_identity = extrapolated_logprob(
        response_sums(policy, ids),
        response_sums(reference, ids),
        log_partition(policy, reference, lam).sum(),
        lam,
    )
    assert float(by_identity) == pytest.approx(direct, rel=1e-10, abs=1e-9)


@quick
@given(chosen=st.tuples(logits, logits), rejected=st.tuples(logits, logits), lam=strengths)
def test_the_margin_follows_from_the_plain_margin_and_the_normalisers(
    chosen: tuple[np.ndarray, np.ndarray], rejected: tuple[np.ndarray, np.ndarray], lam: float
) -> None:
    beta, ids = 0.1, ids_of(3)
    plain, ahead, normalisers = [], [], []
    for policy, reference in (chosen, rejected):
        base = response_sums(reference, ids)
        plain.append(beta * (response_sums(policy, ids) - base))
        ahead.append(beta * (response_sums((1 + lam) * policy - lam * reference, ids) - base))
        normalisers.append(log_partition(policy, reference, lam).sum())
    found = extrapolated_margin(plain[0] - plain[1], *normalisers, beta=beta, lam=lam)
    assert float(found) == pytest.approx(ahead[0] - ahead[1], rel=1e-9, abs=1e-9)


@quick
@given(policy=logits, reference=logits)
def test_without_extrapolation_everything_is_as_the_policy_says(
    policy: np.ndarray, reference: np.ndarray
) -> None:
    log_z = log_partition(policy, reference, 0.0)
    assert log_z == pytest.approx(np.zeros(TOKENS), abs=1e-12)
    assert extrapolated_logprob(-7.0, -9.0, log_z.sum(), 0.0) == pytest.approx(-7.0, abs=1e-11)
    assert extrapolated_margin(0.3, log_z.sum(), 0.0, beta=0.1, lam=0.0) == pytest.approx(0.3, abs=1e-11)


@quick
@given(policy=logits, reference=logits, lam=st.floats(0.01, 4))
def test_the_normaliser_is_lambda_times_the_renyi_divergence_and_never_negative(
    policy: np.ndarray, reference: np.ndarray, lam: float
) -> None:
    p, r = np.exp(log_softmax(policy)), np.exp(log_softmax(reference))
    order = 1 + lam
    renyi = np.log((r * (p / r) ** order).sum(axis=-1)) / (order - 1)
    log_z = log_partition(policy, reference, lam)
    assert log_z == pytest.approx(lam * renyi, rel=1e-9, abs=1e-9)
    assert (log_z >= -1e-12).all()


@quick
@given(policy=logits, reference=logits, lam=strengths, shifts=arrays(np.float64, (TOKENS, 2)))
def test_a_constant_added_to_a_position_s_logits_changes_nothing(
    policy: np.ndarray, reference: np.ndarray, lam: float, shifts: np.ndarray
) -> None:
    bounded = np.nan_to_num(shifts, posinf=0.0, neginf=0.0) % 50
    moved = policy + bounded[:, :1], reference + bounded[:, 1:]
    assert log_partition(*moved, lam) == pytest.approx(log_partition(policy, reference, lam), abs=1e-9)
    assert kl_per_token(*moved) == pytest.approx(kl_per_token(policy, reference), abs=1e-9)


@quick
@given(policy=logits, reference=logits)
def test_the_divergence_is_the_mean_log_ratio_under_the_policy(
    policy: np.ndarray, reference: np.ndarray
) -> None:
    found = kl_per_token(policy, reference)
    p, r = np.exp(log_softmax(policy)), np.exp(log_softmax(reference))
    expected = [sum(a * np.log(a / b) for a, b in zip(*rows, strict=True)) for rows in zip(p, r, strict=True)]
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert (found >= -1e-12).all()


def test_the_divergence_is_zero_for_equal_distributions_and_only_for_them() -> None:
    policy = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    assert kl_per_token(policy, policy + 5.0) == pytest.approx([0.0, 0.0], abs=1e-15)
    nudged = policy + np.array([[0.0, 0.0, 0.01], [0.01, 0.0, 0.0]])
    assert (kl_per_token(policy, nudged) > 1e-6).all()
    assert kl_per_token(policy, nudged)[0] != pytest.approx(kl_per_token(nudged, policy)[0], rel=1e-6)


def test_a_small_strength_approaches_the_divergence() -> None:
    rng = np.random.default_rng(0)
    policy, reference = rng.normal(size=(5, 9)), rng.normal(size=(5, 9))
    ratio = log_partition(policy, reference, 1e-6) / 1e-6
    assert ratio == pytest.approx(kl_per_token(policy, reference), rel=1e-4)


@pytest.mark.parametrize("lam", [-0.5, float("nan")])
def test_a_negative_strength_is_refused_by_name(lam: float) -> None:
    with pytest.raises(InvalidInput, match="lambda"):
        log_partition([[0.0, 1.0]], [[0.0, 1.0]], lam)
    with pytest.raises(InvalidInput, match="lambda"):
        extrapolated_logprob(-1.0, -1.0, 0.0, lam)


def test_rows_of_unlike_shapes_are_refused_rather_than_broadcast() -> None:
    with pytest.raises(InvalidInput, match="reference_logits"):
        log_partition(np.zeros((4, 6)), np.zeros((1, 6)), 0.5)
    with pytest.raises(InvalidInput, match="reference_logits"):
        kl_per_token(np.zeros((4, 6)), np.zeros((1, 6)))
