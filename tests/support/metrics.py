"""What a server tells Prometheus, read by Prometheus' own parser."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from .wire import Client

Labels = frozenset[tuple[str, str]]


class Figures:
    """One look at `/metrics`."""

    def __init__(self, text: str) -> None:
        self.families: dict[str, Metric] = {}
        self.samples: dict[tuple[str, Labels], float] = {}
        for family in text_string_to_metric_families(text):
            assert family.name not in self.families, f"told twice: {family.name}"
            assert family.type in ("counter", "gauge", "histogram"), family
            assert family.documentation, family
            self.families[family.name] = family
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                assert key not in self.samples, f"told twice: {sample}"
                self.samples[key] = sample.value

    def sum(self, name: str, **labels: str) -> float:
        """All samples of that name which have these labels, added up."""
        wanted = labels.items()
        return sum(value for (found, of), value in self.samples.items() if found == name and of >= wanted)

    def each(self, name: str, label: str) -> dict[str, float]:
        """The samples of that name, by a label."""
        return {dict(of)[label]: value for (found, of), value in self.samples.items() if found == name}

    def counters(self) -> dict[tuple[str, Labels], float]:
        """Everything that may never fall."""
        ends = ("_total", "_bucket", "_count", "_sum")
        return {key: value for key, value in self.samples.items() if key[0].endswith(ends)}


class Admin:
    """The operations plane of a server, on a Unix socket."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def option(self) -> str:
        """The value of `--admin`."""
        return f"unix:{self.path}"

    def figures(self) -> Figures:
        """The figures as they are now."""
        with Client(str(self.path)) as client:
            answer = client.ask("/metrics")
        assert answer.status == 200
        assert answer.get("Content-Type") == "text/plain; version=0.0.4; charset=utf-8"
        return Figures(answer.text)
