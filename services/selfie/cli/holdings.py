"""What a run's store holds, as lines for people and as plain data for programs."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from selfie.artifacts.checks import Finding
from selfie.artifacts.garbage import Garbage
from selfie.artifacts.inventory import AttemptPlace, Inventory
from selfie.artifacts.manifests import Manifest
from selfie.runs.steps import step_at

HEADINGS: Final = ("step", "round", "attempt", "groups", "rows", "bytes", "age", "weights")
_DIGITS = 12
"""Enough of a digest to tell a run's checkpoints apart; the JSON has all of it."""


def lines_of(inventory: Inventory, now: datetime) -> list[str]:
    """A row for each step that is published and each attempt that is not, then the totals."""
    rows = [_row(inventory, manifest, now) for manifest in inventory.manifests.values()]
    rows += [_other_row(inventory, place, state) for place, state in _others(inventory)]
    unreadable = [f"{step}: {problem}" for step, problem in inventory.unreadable.items()]
    files, size = unnamed_total(inventory)
    total = f"{_counted(len(inventory.sizes), 'file')}, {size_in_words(sum(inventory.sizes.values()))}"
    return [
        *columns([HEADINGS, *rows]),
        *unreadable,
        f"{_counted(len(inventory.published), 'step')} published; {total}",
        f"named by no manifest: {_counted(files, 'file')}, {size_in_words(size)}",
    ]


def object_of_holdings(inventory: Inventory, now: datetime) -> dict[str, Any]:
    """The same as plain data, with whole digests and bytes as numbers."""
    files, size = unnamed_total(inventory)
    return {
        "steps": [_step(inventory, manifest, now) for manifest in inventory.manifests.values()],
        "attempts": [
            {
                "step": place.step,
                "attempt": place.number,
                "state": state,
                "files": len(inventory.attempts[place]),
                "bytes": _bytes(inventory, place),
            }
            for place, state in _others(inventory)
        ],
        "unreadable": dict(inventory.unreadable),
        "unnamed": {"files": files, "bytes": size},
        "files": len(inventory.sizes),
        "bytes": sum(inventory.sizes.values()),
    }


def lines_of_findings(findings: Sequence[Finding], steps: Collection[str]) -> list[str]:
    """Each finding on one line, then how many there are of what kind."""
    kinds = Counter(finding.kind for finding in findings)
    verdict = f"{kinds['damaged']} damaged" if kinds["damaged"] else "all is as its manifests say"
    others = f"{kinds['removed']} removed by retention, {_counted(kinds['remark'], 'remark')}"
    return [*(str(finding) for finding in findings), f"{_counted(len(steps), 'step')}: {verdict}, {others}"]


def object_of_findings(findings: Sequence[Finding], steps: Collection[str]) -> dict[str, Any]:
    """The same as plain data; ``ok`` is whether nothing is damaged."""
    return {
        "ok": not any(finding.kind == "damaged" for finding in findings),
        "steps": sorted(steps),
        "findings": [
            {
                "kind": finding.kind,
                "step": finding.step,
                "path": finding.path,
                "problem": finding.problem,
                "remedy": finding.remedy,
            }
            for finding in findings
        ],
    }


def lines_of_garbage(garbage: Sequence[Garbage], *, dry_run: bool) -> list[str]:
    """Each file with its bytes and the reason, then the total."""
    rows = [(file.path, str(file.bytes), file.reason) for file in garbage]
    total = size_in_words(sum(file.bytes for file in garbage))
    done = "to be removed; nothing was" if dry_run else "removed"
    return [*columns(rows), f"{_counted(len(garbage), 'file')}, {total} {done}"]


def unnamed_total(inventory: Inventory) -> tuple[int, int]:
    """Files that no manifest names, beside the records of attempts that published, and their bytes."""
    paths = [
        path
        for place, files in inventory.attempts.items()
        for path in (inventory.unnamed(place) if _published(inventory, place) else files)
        if path not in inventory.names
    ]
    return len(paths), sum(inventory.sizes[path] for path in paths)


def size_in_words(size: float) -> str:
    """``541.6 MB``; decimal, as disks and object stores are sold."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def age_in_words(seconds: float) -> str:
    """``54 min``, in the largest unit of which there are two."""
    for limit, length, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{max(seconds, 0) // length:.0f} {unit}"
    return f"{seconds // 86_400:.0f} d"


def columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The rows with their cells under each other; not cut to the terminal, so that paths stay whole."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _counted(count: int, name: str) -> str:
    return f"{count} {name}" if count == 1 else f"{count} {name}s"


def _row(inventory: Inventory, manifest: Manifest, now: datetime) -> tuple[str, ...]:
    told = _step(inventory, manifest, now)
    groups = ", ".join(
        f"{name} (retired)" if group["retired"] else name for name, group in told["groups"].items()
    )
    return (
        manifest.step,
        str(manifest.round),
        f"a{manifest.attempt}",
        groups,
        str(told["rows"] or ""),
        size_in_words(told["bytes"]),
        age_in_words(told["ageSeconds"]),
        (manifest.weights_digest or "")[:_DIGITS],
    )


def _other_row(inventory: Inventory, place: AttemptPlace, state: str) -> tuple[str, ...]:
    step = step_at(place.step)
    number = str(step.round) if step else ""
    size = size_in_words(_bytes(inventory, place))
    return (place.step, number, f"a{place.number}", state, "", size, "", "")


def _step(inventory: Inventory, manifest: Manifest, now: datetime) -> dict[str, Any]:
    groups = {entry.group: _group(inventory, manifest, entry.group) for entry in manifest.files}
    return {
        "step": manifest.step,
        "round": manifest.round,
        "attempt": manifest.attempt,
        "groups": groups,
        "rows": sum(group["rows"] for group in groups.values()),
        "bytes": sum(group["bytes"] for group in groups.values()),
        "ageSeconds": (now - manifest.finished_at).total_seconds(),
        "finishedAt": manifest.finished_at.isoformat(),
        "weightsDigest": manifest.weights_digest,
    }


def _group(inventory: Inventory, manifest: Manifest, name: str) -> Mapping[str, Any]:
    entries = manifest.group(name)
    retired = inventory.is_retired(manifest.step, name)
    return {
        "files": len(entries),
        "rows": sum(entry.rows or 0 for entry in entries),
        "bytes": 0 if retired else sum(entry.bytes for entry in entries),
        "retired": retired,
    }


def _others(inventory: Inventory) -> Iterator[tuple[AttemptPlace, str]]:
    """Attempts that have published nothing: ``lost`` where another one did, else ``unpublished``."""
    for place in inventory.attempts:
        if not _published(inventory, place):
            yield place, "lost" if place.step in inventory.published else "unpublished"


def _published(inventory: Inventory, place: AttemptPlace) -> bool:
    manifest = inventory.manifests.get(place.step)
    return manifest is not None and manifest.attempt == place.number


def _bytes(inventory: Inventory, place: AttemptPlace) -> int:
    return sum(inventory.sizes[path] for path in inventory.attempts[place])
