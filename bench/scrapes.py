"""What a process tells Prometheus, as numbers."""

from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True)
class Scrape:
    """Samples by their names and labels."""

    samples: dict[tuple[str, frozenset[tuple[str, str]]], float]

    @classmethod
    def of(cls, text: str) -> "Scrape":
        """Of the text that Prometheus would get."""
        found = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found[sample.name, frozenset(sample.labels.items())] = sample.value
        return cls(found)

    def total(self, name: str, **labels: str) -> float:
        """Sum of the samples of this name that carry these labels."""
        wanted = set(labels.items())
        return sum(value for (found, has), value in self.samples.items() if found == name and wanted <= has)

    def by(self, name: str, *labels: str) -> dict[str, float]:
        """The sums by values of these labels."""
        found: dict[str, float] = {}
        for (sample, has), value in self.samples.items():
            if sample == name:
                key = " ".join(dict(has).get(label, "") for label in labels)
                found[key] = found.get(key, 0.0) + value
        return found
