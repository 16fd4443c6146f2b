"""The studies: which examples each runs, what its runs are called, and how their data are found."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from selfie.runs.documents import write_document

ROOT = Path(__file__).resolve().parents[2]
FIRST = "main"

CONTROLS = {
    "main": "Selfie",
    "judge-random": "control: labels by chance",
    "judge-longest": "control: labels prefer the longer",
    "seed-again": "control: the seed's pairs again",
}


@dataclass(frozen=True)
class Study:
    """Variants of one run over several random seeds.

    ``variants``: files of ``folder`` by name, and what the tables call them. ``shape`` tells people
    how large the runs are. ``may_be_kept``: all that its runs read and write is the project's own.
    """

    name: str
    title: str
    shape: str
    folder: Path
    prefix: str
    variants: Mapping[str, str]
    seeds: tuple[int, ...]
    may_be_kept: bool = False

    def run_name(self, variant: str, seed: int) -> str:
        """Name of a variant's run with one random seed."""
        return f"{self.prefix}-{variant}-s{seed}"

    def missing_data(self) -> list[Path]:
        """Files that its runs read and that are not here."""
        spec = yaml.safe_load((self.folder / f"{FIRST}.yaml").read_text())["spec"]
        named = {
            entry[field] for entry in _entries(spec) for field in ("dataset", "heldout") if field in entry
        }
        return sorted(path for name in named if not (path := (self.folder / name).resolve()).is_file())

    def specification(self, artifacts: Path, variant: str, seed: int) -> Path:
        """The variant's file for one seed, beside the runs; all but `main` take over from it."""
        document = yaml.safe_load((self.folder / f"{variant}.yaml").read_text())
        spec = document["spec"]
        document["metadata"]["name"] = self.run_name(variant, seed)
        spec["randomSeed"] = seed
        if variant != FIRST:
            spec["resumeFrom"] = (artifacts / self.run_name(FIRST, seed)).resolve().as_uri()
        for entry in _entries(spec):
            for field in ("dataset", "heldout"):
                if field in entry:
                    entry[field] = (self.folder / entry[field]).resolve().as_uri()
        file = artifacts / "specs" / f"{self.run_name(variant, seed)}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(write_document(document))
        return file

    def found(self, artifacts: Path, variant: str) -> list[Path]:
        """Roots of the variant's runs that have judged anything, by random seed."""
        judged = "rounds/00/evaluate-heldout/manifest.json"
        places = (path.parents[3] for path in artifacts.glob(f"{self.prefix}-{variant}-s*/{judged}"))
        return sorted(places, key=lambda path: int(path.name.rpartition("-s")[2]))


def _entries(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts of a specification that name data sets, relative to the example's own folder."""
    return [spec["seed"], *(entry["prompts"] for entry in spec["rounds"]), spec["evaluation"]["prompts"]]


STUDIES = {
    study.name: study
    for study in (
        Study(
            name="quickstart",
            title="Plain English, with an oracle",
            shape=(
                "SmolLM2-135M-Instruct, 48 seed pairs, two rounds of 32 prompts with 4 responses each, "
                "128 held-out pairs, 64 unused prompts and the oracle of `examples/quickstart`."
            ),
            folder=ROOT / "examples/paper",
            prefix="paper",
            variants={
                **CONTROLS,
                "cut-winners": "ablation: cut responses may lose",
                "lower-rate": "ablation: rounds learn at 2e-6",
                "more-samples": "ablation: eight responses a prompt",
                "judge-normalized": "Selfie, judged per token",
                "expansion": "ablation: no refinement",
                "refinement": "ablation: refinement, not extrapolated",
                "reference-previous": "judge's reference: the round before",
                "reference-none": "judge's reference: none",
            },
            seeds=(1, 2, 3, 4, 5, 6),
            may_be_kept=True,
        ),
        Study(
            name="human",
            title="People's preferences",
            shape=(
                "SmolLM2-135M-Instruct, 128 labelled pairs of HH (helpful), one round of 128 prompts with "
                "4 responses each, 1,000 held-out pairs, 64 unused prompts and a Bradley–Terry model "
                "of 384 other labelled pairs."
            ),
            folder=ROOT / "examples/paper/human",
            prefix="human",
            variants=CONTROLS,
            seeds=(1, 2, 3),
        ),
    )
}
