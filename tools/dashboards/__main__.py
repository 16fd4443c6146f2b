"""Writes Grafana's dashboards into the chart, or checks those that are committed.

python tools/dashboards generate     write charts/selfie/dashboards/*.json
python tools/dashboards check        fail when one of them is not what the code makes
"""

import sys
from pathlib import Path

import alignment
import operating
import runs
import serving
from boards import Board, text_of

TARGET = Path(__file__).resolve().parents[2] / "charts/selfie/dashboards"
BOARDS: tuple[Board, ...] = (runs.BOARD, alignment.BOARD, serving.BOARD, operating.BOARD)


def main(arguments: list[str]) -> int:
    """Does what is asked; 1 if a file is out of date."""
    if arguments not in (["generate"], ["check"]):
        print(__doc__, file=sys.stderr)
        return 2
    made = {TARGET / f"{board.name}.json": text_of(board) for board in BOARDS}
    if arguments == ["generate"]:
        for path, text in made.items():
            path.write_text(text)
        return 0
    there = set(TARGET.glob("*.json"))
    wrong = sorted(there ^ set(made) | {path for path in there & set(made) if path.read_text() != made[path]})
    for path in wrong:
        print(f"{path} is out of date; run: make dashboards", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
