"""Gauges that are worked out when Prometheus asks for them, so that a series ends with its subject."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

Sample: TypeAlias = tuple[str, Mapping[str, str], float]
"""The family's name, the labels and the value."""


class Gauges(Collector):
    """Families of gauges, by name with what each tells; one without samples is left out."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts

    @abstractmethod
    def samples(self) -> Iterator[Sample]:
        """What there is to be told now."""

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The families without samples, so that registering collects nothing."""
        return (GaugeMetricFamily(name, text) for name, text in self._texts.items())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Every family that has samples."""
        families: dict[str, GaugeMetricFamily] = {}
        for name, labels, value in self.samples():
            family = families.setdefault(name, GaugeMetricFamily(name, self._texts[name]))
            family.add_sample(name, dict(labels), value)
        return iter(families.values())
