"""The paper's variants differ from its method in what they are named for, and in nothing else."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from selfie.runs.load import parse_run

EXAMPLES = Path(__file__).resolve().parents[2] / "examples/paper"
HUMAN = EXAMPLES / "human"
CONTROLS = ("judge-random", "judge-longest", "seed-again")
DIFFER = {
    "judge-random": {"scoring.judge": "random"},
    "judge-longest": {"scoring.judge": "longest"},
    "seed-again": {"training.pairs": "seed"},
    "cut-winners": {"filter.cut": "dropCutWinners"},
    "lower-rate": {"training.learningRate": "2e-6"},
    "more-samples": {"generation.samplesPerPrompt": 8},
    "judge-normalized": {"scoring.lengthNormalization": "mean"},
    "expansion": {"training.refinement": "none"},
    "refinement": {"rounds.0.lambda": "0", "rounds.1.lambda": "0"},
    "reference-previous": {"scoring.reference": "previous"},
    "reference-none": {"scoring.reference": "none"},
}
# Many of main's prompts give no pair, as their responses are cut; the control takes steps for all of its own.
AS_MANY_STEPS = {"human/seed-again": {"rounds.0.prompts.count": 64}}


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Every value in nested mappings and lists by its dotted path."""
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list):
        parts = enumerate(value)
    else:
        return {path: value}
    return {
        name: leaf for key, part in parts for name, leaf in leaves(part, f"{path}.{key}".strip(".")).items()
    }


def spec_of(file: Path) -> dict[str, Any]:
    run = parse_run(file.read_text())
    return leaves(run.model_dump(mode="json", by_alias=True)["spec"])


def test_every_variant_is_known():
    assert {path.stem for path in EXAMPLES.glob("*.yaml")} == {"main", *DIFFER}
    assert {path.stem for path in HUMAN.glob("*.yaml")} == {"main", *CONTROLS}


@pytest.mark.parametrize(
    "file",
    [*(EXAMPLES / f"{name}.yaml" for name in DIFFER), *(HUMAN / f"{name}.yaml" for name in CONTROLS)],
    ids=lambda file: f"{file.parent.name}/{file.stem}",
)
def test_a_variant_differs_in_what_it_is_named_for(file: Path):
    main, variant = spec_of(file.with_stem("main")), spec_of(file)
    changed = {path: value for path, value in variant.items() if main.get(path) != value}
    assert changed == DIFFER[file.stem] | AS_MANY_STEPS.get(f"{file.parent.name}/{file.stem}", {})


@pytest.mark.parametrize("name", ["main", *DIFFER])
def test_a_variant_is_short_and_its_data_are_there(name: str):
    text = (EXAMPLES / f"{name}.yaml").read_text()
    assert len(text.splitlines()) < 30
    named = [
        value for path, value in leaves(yaml.safe_load(text)).items() if path.endswith(("dataset", "heldout"))
    ]
    assert len(named) == 5
    # Here they are relative to the file, on a cluster to the examples in the image.
    assert all((root / path).is_file() for path in named for root in (EXAMPLES, EXAMPLES.parent))
    assert not any(".." in path for path in named)
