"""How much memory does everybody take at most who scores `fixed`?

    python bench/scorer_memory.py [--output bench/scoring.json]

Each loads both models and scores once, in a process of its own and one after the other; the figures are put
beside those of bench/scoring.py. Whoever is not there is left out here, and named there.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from scoring import MAKERS


def peak_memory(who: str, folder: Path) -> dict[str, float]:
    """MiB by name; none where it is not there."""
    file = folder / f"{who}.json"
    command = [sys.executable, str(Path(__file__).with_name("scoring.py")), "--only", who]
    command += ["--workload", "fixed", "--rounds", "1", "--output", str(file)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    found = json.loads(file.read_text())
    return {} if who in found["missing"] else dict(found["peak_memory_mib"])


def main() -> None:
    """Measures and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("bench/scoring.json"))
    options = parser.parse_args()
    before = json.loads(options.output.read_text()) if options.output.exists() else {}
    memory: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for who in MAKERS:
            memory |= peak_memory(who, Path(folder))
    options.output.write_text(json.dumps(before | {"peak_memory_mib": memory}, indent=2) + "\n")
    sys.stdout.write(json.dumps(memory, indent=2) + "\n")


if __name__ == "__main__":
    main()
