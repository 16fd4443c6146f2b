"""Runs the paper's tables at small scale over several random seeds, and writes `docs/results.md`.

    python tools/results run   [--study quickstart] [--seeds 1 2 3] [--variants main judge-random]
    python tools/results keep
    python tools/results write [--output docs/results.md]

`run` makes every run that is not there yet, main first: the others take over from it, by
`resumeFrom`, whatever they have in common with it, so that all of one seed start from the same
π_0. It may be stopped at any time, and goes on where it was. `keep` copies what the tables are made of into
bench/evidence, of studies whose data may be passed on. `write` reads what there is, and puts the tables of
each study into their place in the page; what stands around them is written by people.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from document import tables
from studies import FIRST, ROOT, STUDIES, Study

from keeping import keep

sys.path.append(str(Path(__file__).resolve().parents[1]))
from pages import with_table

EVIDENCE = ROOT / "bench/evidence"


def main() -> None:
    """Reads the arguments and does what they say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("command", choices=["run", "keep", "write"])
    parser.add_argument("--study", choices=list(STUDIES), default="quickstart")
    parser.add_argument("--seeds", type=int, nargs="+", help="random seeds; without it, those of the study")
    parser.add_argument("--variants", nargs="+", help="without it, all of the study")
    parser.add_argument("--artifacts", type=Path, default=Path("runs/paper"))
    parser.add_argument("--output", type=Path, default=ROOT / "docs/results.md")
    options = parser.parse_args()
    if options.command == "keep":
        keep_all(options.artifacts)
        return
    if options.command == "write":
        write(options.artifacts, options.output)
        return
    study = STUDIES[options.study]
    variants = options.variants or list(study.variants)
    if unknown := sorted(set(variants) - set(study.variants)):
        parser.error(f"--variants: {study.name} has no {', '.join(unknown)}; use {', '.join(study.variants)}")
    if missing := study.missing_data():
        sys.exit(f"{study.name} reads {missing[0]}, which is not here; its runs cannot be made")
    run_all(study, options.artifacts, variants, options.seeds or study.seeds)


def keep_all(artifacts: Path) -> None:
    """Keeps what may be kept of all completed runs."""
    for study in STUDIES.values():
        for place in keep(study, artifacts, EVIDENCE) if study.may_be_kept else ():
            sys.stdout.write(f"{place}\n")


def write(artifacts: Path, output: Path) -> None:
    """Writes the tables of every study that has runs; exits where none has."""
    found = {}
    for name, study in STUDIES.items():
        if rows := tables(study, EVIDENCE if study.may_be_kept else artifacts):
            found[name] = rows
    if not found:
        sys.exit(f"no runs in {artifacts}; make them with: python tools/results run")
    page = output.read_text()
    for name, rows in found.items():
        page = with_table(page, f"tools/results {name}", "\n".join(rows).rstrip())
    output.write_text(page)


def run_all(study: Study, artifacts: Path, variants: Sequence[str], seeds: Sequence[int]) -> None:
    """Seed by seed, so that what is finished is comparable; ends at the first run that fails."""
    for seed in seeds:
        for variant in sorted(variants, key=lambda name: name != FIRST):
            command = ["selfie", "run", str(study.specification(artifacts, variant, seed))]
            subprocess.run([*command, "--artifacts", str(artifacts)], check=True)


if __name__ == "__main__":
    main()
