"""Combinations that are refused because they could only fail later, or mean nothing."""

import pytest

from selfie.runs.load import parse_run
from selfie.runs.violations import InvalidRun

HEAD = "apiVersion: selfie.dev/v1alpha1\nkind: SelfieRun\nmetadata: {name: toy}\nspec:\n"
MODEL = "model: {uri: hf://org/model}"
SEED = "seed: {dataset: seed.jsonl}"
HELDOUT = "seed: {dataset: seed.jsonl, heldout: heldout.jsonl}"
SIZED = "seed: {dataset: seed.jsonl, heldout: heldout.jsonl, size: 8}"
PROMPTS = "prompts: {dataset: e.jsonl}"
FITTED = "evaluator: bradleyTerry"


def run_of(*lines):
    head = [MODEL, "rounds: [{prompts: {dataset: a.jsonl}}]"]
    return parse_run(HEAD + "".join(f"  {line}\n" for line in [*head, *lines]))


@pytest.mark.parametrize(
    ("lines", "field", "words"),
    [
        pytest.param(
            ["referenceModel: {uri: hf://org/base}", "training: {pairs: seed}"],
            "spec.training.pairs",
            "there is no spec.seed",
            id="the seed's pairs without a seed",
        ),
        pytest.param(
            [SEED, "training: {pairs: seed}"],
            "spec.rounds[0].prompts.count",
            "how many pairs a round trains on",
            id="the seed's pairs without a number of steps",
        ),
        pytest.param(
            [], "spec.seed", "and so is spec.referenceModel", id="neither a seed nor a reference model"
        ),
        pytest.param(
            ["referenceModel: {uri: hf://org/model}"],
            "spec.referenceModel",
            "is spec.model itself",
            id="no seed, and the model as its own reference",
        ),
        pytest.param(
            ["seed: {dataset: seed.jsonl, heldoutSize: 64}"],
            "spec.seed.heldoutSize",
            "has no effect",
            id="a number of held-out pairs that are not given",
        ),
        pytest.param(
            [SEED, "evaluation: {samples: 4}"],
            "spec.evaluation.samples",
            "has no effect",
            id="samples of no prompts",
        ),
        pytest.param(
            [SEED, "scoring: {reference: none, lambda: '0.5'}"],
            "spec.scoring.lambda",
            "extrapolates away from a reference",
            id="extrapolation without a reference",
        ),
        pytest.param(
            [SEED, "training: {threshold: parity}", "filter: {window: 64}"],
            "spec.filter.window",
            "has no effect",
            id="a window for a threshold that has its own",
        ),
        pytest.param(
            [SEED, "nodes: 3", "training: {batch: 32}"],
            "spec.training.batch",
            "32 pairs cannot be shared evenly by 3 devices",
            id="a batch that its devices cannot share",
        ),
        pytest.param(
            [SEED, "evaluation: {evaluator: readingEase}"],
            "spec.evaluation.evaluator",
            "has no responses to judge",
            id="an evaluator without responses",
        ),
        pytest.param(
            [SIZED, f"evaluation: {{{PROMPTS}, evaluator: readingEase, evaluatorPairs: 100}}"],
            "spec.evaluation.evaluatorPairs",
            "has no effect, because spec.evaluation.evaluator is readingEase",
            id="pairs for an evaluator that is fitted on none",
        ),
        pytest.param(
            ["referenceModel: {uri: hf://org/base}", f"evaluation: {{{PROMPTS}, {FITTED}}}"],
            "spec.evaluation.evaluator",
            "there is no spec.seed",
            id="an evaluator that is fitted, without labelled pairs",
        ),
        pytest.param(
            ["seed: {dataset: seed.jsonl, size: 8}", f"evaluation: {{{PROMPTS}, {FITTED}}}"],
            "spec.evaluation.evaluator",
            "spec.seed.heldout is missing",
            id="an evaluator whose worth nobody measures",
        ),
        pytest.param(
            [HELDOUT, f"evaluation: {{{PROMPTS}, {FITTED}}}"],
            "spec.seed.size",
            "is 0, which trains on every pair",
            id="an evaluator that has no pairs left",
        ),
        pytest.param(
            [SIZED, f"evaluation: {{{FITTED}}}"],
            "spec.evaluation.evaluator",
            "has no responses to judge",
            id="an evaluator that is fitted, without responses",
        ),
        pytest.param(
            [SEED, "evaluation: {gates: {maxDivergence: '1'}}"],
            "spec.evaluation.gates.maxDivergence",
            "is never measured",
            id="a bound on responses that nobody samples",
        ),
        pytest.param(
            [SEED, "evaluation: {gates: {maxAccuracyDrop: '0.1'}}"],
            "spec.evaluation.gates.maxAccuracyDrop",
            "is never measured",
            id="a bound on an accuracy that nobody measures",
        ),
        pytest.param(
            [SEED, "evaluation: {gates: {onBreach: stop}}"],
            "spec.evaluation.gates.onBreach",
            "stop never happens",
            id="a stop without a bound",
        ),
        pytest.param(
            [SEED, f"evaluation: {{{PROMPTS}, gates: {{onBreach: fallBack, maxDivergence: '1'}}}}"],
            "spec.evaluation.gates.onBreach",
            "needs a best round",
            id="falling back to a best round that cannot be found",
        ),
        pytest.param(
            [SEED, "placement: {tolerations: [{key: gpu, operator: Exists, value: a}]}"],
            "spec.placement.tolerations[0].value",
            "is not compared",
            id="a value for a toleration that compares none",
        ),
        pytest.param(
            [SEED, "placement: {tolerations: [{value: a}]}"],
            "spec.placement.tolerations[0].key",
            "is needed",
            id="a toleration that compares the value of no key",
        ),
    ],
)
def test_is_refused(lines, field, words):
    with pytest.raises(InvalidRun) as caught:
        run_of(*lines)
    [violation] = caught.value.violations
    assert violation.field == field
    assert words in violation.problem


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(["referenceModel: {uri: hf://org/base}"], id="an instruct model against its base"),
        pytest.param(
            ["referenceModel: {uri: hf://org/model, revision: older}"],
            id="a model against an older revision of itself",
        ),
        pytest.param(
            [SEED, "referenceModel: {uri: hf://org/model}"], id="a reference that is the model, with a seed"
        ),
        pytest.param(
            [SEED, "scoring: {reference: none, lambda: '0'}"], id="no extrapolation without a reference"
        ),
        pytest.param(
            [SEED, "scoring: {reference: none}"], id="the default extrapolation without a reference"
        ),
        pytest.param([SEED, "nodes: 2", "gpusPerNode: 8"], id="a batch that its devices share"),
        pytest.param([SEED, "microBatch: 1024"], id="a micro-batch larger than the batch"),
        pytest.param(
            [HELDOUT, f"evaluation: {{{PROMPTS}, gates: {{onBreach: fallBack, maxDivergence: '1'}}}}"],
            id="falling back by held-out accuracy on a divergence",
        ),
    ],
)
def test_is_possible(lines):
    assert run_of(*lines).spec.model.uri == "hf://org/model"


def test_all_impossible_combinations_are_told_at_once():
    with pytest.raises(InvalidRun) as caught:
        run_of("nodes: 5", "evaluation: {gates: {onBreach: stop}}")
    assert [entry.field for entry in caught.value.violations] == [
        "spec.seed",
        "spec.training.batch",
        "spec.evaluation.gates.onBreach",
    ]
