"""`docs/results.md`: what the runs of the studies say, and what of it is noise."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from studies import Study

from selfie.cli.comparing import compare_places
from selfie.compare.shape import ComparedRuns, GroupEntry, LabelsEntry
from selfie.method.seeds import over_seeds
from selfie.method.statistics import Difference, Proportion, wilson_interval


def tables(study: Study, artifacts: Path) -> list[str]:
    """The study's tables as lines of Markdown, from the runs that are there; none without runs."""
    runs = {variant: study.found(artifacts, variant) for variant in study.variants}
    places = [str(place) for variant in runs.values() for place in variant]
    if not places:
        return []
    found = compare_places(places, None, str(artifacts))
    names = {place.name: study.variants[variant] for variant, there in runs.items() for place in there}
    return [
        *_head(study, runs),
        *_accuracy(found, names),
        *_labels(found, names),
        *wins(found, names),
        *_each(found, names),
    ]


def _head(study: Study, runs: dict[str, list[Path]]) -> list[str]:
    rows = [(f"{study.variants[name]} (`{name}`)", _seeds(there)) for name, there in runs.items() if there]
    return [study.shape, "", *_table(("variant", "random seeds"), rows)]


def _seeds(places: Iterable[Path]) -> str:
    return ", ".join(place.name.rpartition("-s")[2] for place in places)


def _accuracy(found: ComparedRuns, names: dict[str, str]) -> list[str]:
    columns = ("variant", "round", "reading", "accuracy", "over π_0, points", "p after Holm", "verdict")
    rows = [
        (
            names[group.seeds[0].run],
            group.round,
            group.reading,
            _percent(mean.accuracy),
            "–" if mean.difference is None else _points(mean.difference),
            "–" if mean.adjusted_p is None else f"{mean.adjusted_p:.3f}",
            _verdict(group),
        )
        for group in found.groups
        if (mean := group.mean) is not None
    ]
    return ["### The judge: accuracy on held-out pairs, mean over seeds", "", *_table(columns, rows)]


def _verdict(group: GroupEntry) -> str:
    if group.verdict is None:
        return "–"
    return "noise" if group.verdict == "no difference established" else group.verdict


def _labels(found: ComparedRuns, names: dict[str, str]) -> list[str]:
    """What the labels were, over all seeds: pairs of one variant and round are counted together."""
    columns = ("variant", "round", "right, by the evaluator", "for the longer response")
    together: dict[tuple[str, int], list[LabelsEntry]] = {}
    for entry in found.labels:
        together.setdefault((names[entry.run], entry.round), []).append(entry)
    rows = [
        (
            *place,
            _together(entry.right for entry in entries),
            _together(entry.longer for entry in entries),
        )
        for place, entries in together.items()
    ]
    title = "### The labels that the rounds learned from, pairs of all seeds together"
    return [title, "", *_table(columns, rows)]


def _together(shares: Iterable[Proportion | None]) -> str:
    known = [each for each in shares if each is not None]
    if not known:
        return "–"
    whole = wilson_interval(sum(each.value * each.n for each in known), sum(each.n for each in known))
    return f"{_percent(whole)} of {whole.n}"


def wins(found: ComparedRuns, names: dict[str, str]) -> list[str]:
    """Win rates over seeds, and by how much the method's own are higher, seed by seed."""
    columns = (
        "variant",
        "round",
        "against",
        "mean over seeds",
        "Selfie's less this one's, points",
        "p",
        "each seed",
    )
    rows = []
    rates = _rates(found, names)
    for (variant, number, against), by_seed in rates.items():
        own = rates.get((next(iter(names.values())), number, against), {})
        gaps = [own[seed].value - rate.value for seed, rate in by_seed.items() if seed in own]
        values = [rate.value for rate in by_seed.values()]
        told = ", ".join(f"{100 * value:.1f}" for value in values)
        rows.append((variant, number, against, _mean(values), *_gap(gaps), told))
    title = "### The responses: win rate by the evaluator at equal length, on unused prompts"
    return [title, "", *_table(columns, rows)]


def _rates(found: ComparedRuns, names: dict[str, str]) -> dict[tuple[str, int, str], dict[int, Proportion]]:
    """Of each variant and round the rate of each seed, against the run's own seed and initial model."""
    seeds = {run.name: run.random_seed for run in found.runs}
    rates: dict[tuple[str, int, str], dict[int, Proportion]] = {}
    for entry in found.wins:
        # To the run that the baseline is of, its seed goes by that name.
        is_seed = entry.against == "seed" or (
            entry.against == "baseline" and (entry.run, 0) == (found.baseline.run, found.baseline.round)
        )
        model = "π_0" if is_seed else {"initial": "π_init"}.get(entry.against)
        if model and entry.round and entry.wins.controlled:
            of_seeds = rates.setdefault((names[entry.run], entry.round, model), {})
            of_seeds[seeds[entry.run]] = entry.wins.controlled
    return rates


def _mean(values: Sequence[float]) -> str:
    if len(values) < 2:
        return "–"
    mean = over_seeds(values).mean
    return f"{100 * mean.value:.1f} [{100 * mean.low:.1f}, {100 * mean.high:.1f}]"


def _gap(gaps: Sequence[float]) -> tuple[str, str]:
    """The mean of differences, and Student's p."""
    if len(gaps) < 2 or not any(gaps):
        return "–", "–"
    found = over_seeds(gaps)
    return _points(found.mean), f"{found.p_value:.3f}"


def _each(found: ComparedRuns, names: dict[str, str]) -> list[str]:
    columns = (
        "variant",
        "seed",
        "round",
        "accuracy, summed",
        "per token",
        "KL per token",
        "tokens",
        "finished",
    )
    rows = []
    seeds = {run.name: run.random_seed for run in found.runs}
    for entry in found.rounds:
        shares = [f"{100 * reading.accuracy['all'].value:.1f}" for reading in entry.readings]
        behaviour = (
            "–" if entry.divergence is None else f"{entry.divergence:.4f}",
            "–" if entry.mean_tokens is None else f"{entry.mean_tokens:.1f}",
            "–" if entry.finished_share is None else f"{100 * entry.finished_share:.0f} %",
        )
        rows.append((names[entry.run], seeds[entry.run], entry.round, *shares, *behaviour))
    return ["### Every run", "", *_table(columns, rows)]


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """A table's lines, with the empty one that ends it."""
    cells = (columns, ["---"] * len(columns), *rows)
    return [*(f"| {' | '.join(map(str, row))} |" for row in cells), ""]


def _percent(value: Difference | Proportion) -> str:
    return f"{100 * value.value:.1f} [{100 * value.low:.1f}, {100 * value.high:.1f}]"


def _points(value: Difference) -> str:
    return f"{100 * value.value:+.1f} [{100 * value.low:+.1f}, {100 * value.high:+.1f}]"
