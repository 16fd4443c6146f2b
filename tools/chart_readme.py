"""Writes the chart's README from its values and the comments beside them, or checks the one that is there.

    python tools/chart_readme.py generate     write charts/selfie/README.md
    python tools/chart_readme.py check        fail when it is not that of the values

A comment that begins with `# --` tells of the value below it. One that is told of in one part, such as
`generation.podLabels`, is the same in the others.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

CHART = Path(__file__).resolve().parents[1] / "charts/selfie"
VALUES, README = CHART / "values.yaml", CHART / "README.md"
HEAD = """# The chart

Installs the operator, the services that all runs of a namespace share, and, where it is asked for, a run's
judge as a public scorer. [Installing](../../docs/install.md) goes through it step by step.

    helm install selfie charts/selfie -n team --create-namespace -f charts/selfie/values-local.yaml

| file | for |
|---|---|
| `values-local.yaml` | one node with a volume: kind, minikube, k3s |
| `values-gpu.yaml` | scoring and training on accelerators, artifacts in an object store |

`artifacts.kind` has no default: without one of these files, or your own choice, nothing is installed. A
volume that the chart is to make needs `artifacts.volume.accessMode` and `artifacts.volume.storageClass`;
neither has one. A key that the chart does not know is refused.

This page is made from `values.yaml` by `make chart-readme`.

| value | default | what it does |
|---|---|---|
"""
BAR = "\\|"
WHOLE = frozenset({"trial.spec", "networkPolicy.egress", "networkPolicy.prometheus", "networkPolicy.scorer"})
"""Values that are told of in one piece, whatever is in them."""


@dataclass(frozen=True)
class Value:
    """A value with its path, and what its comment says; empty without one."""

    path: str
    default: str
    told: str


def values() -> list[Value]:
    """Every value of the chart, in order; what its comment lacks is taken from its like elsewhere."""
    lines = VALUES.read_text().splitlines()
    root = yaml.compose(VALUES.read_text())
    assert isinstance(root, yaml.MappingNode)
    found = [*_of(root, lines, ())]
    known = {value.path.rpartition(".")[2]: value.told for value in reversed(found) if value.told}
    known |= {".".join(value.path.split(".")[-2:]): value.told for value in reversed(found) if value.told}
    return [
        value
        if value.told
        else Value(
            value.path,
            value.default,
            known.get(".".join(value.path.split(".")[-2:])) or known.get(value.path.rpartition(".")[2], ""),
        )
        for value in found
    ]


def _of(node: yaml.MappingNode, lines: Sequence[str], above: tuple[str, ...]) -> Iterator[Value]:
    for key, value in node.value:
        path = (*above, str(key.value))
        name = ".".join(path)
        if isinstance(value, yaml.MappingNode) and value.value and not value.flow_style and name not in WHOLE:
            yield from _of(value, lines, path)
        else:
            plain = yaml.safe_load(yaml.serialize(value))
            default = "see values.yaml" if name in WHOLE else json.dumps(plain)
            yield Value(name, default, _comment(lines, key.start_mark.line))


def _comment(lines: Sequence[str], line: int) -> str:
    above: list[str] = []
    for text in reversed(lines[:line]):
        stripped = text.strip()
        if not stripped.startswith("#"):
            break
        above.insert(0, stripped.removeprefix("#").strip())
        if stripped.startswith("# --"):
            return " ".join(above).removeprefix("--").strip()
    return ""


def text() -> str:
    """The README."""
    rows = [f"| `{value.path}` | `{value.default}` | {value.told.replace('|', BAR)} |" for value in values()]
    return HEAD + "\n".join(rows) + "\n"


def main(arguments: list[str]) -> int:
    """Does what is asked; 1 if the file is out of date."""
    if arguments == ["generate"]:
        README.write_text(text())
        return 0
    if arguments != ["check"]:
        print(__doc__, file=sys.stderr)
        return 2
    if not README.exists() or README.read_text() != text():
        print(f"{README} is out of date; run: make chart-readme", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
