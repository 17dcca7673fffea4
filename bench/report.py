"""From bursts to tables: medians, ratios of the same run, the figures that stdserve must reach."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

from load import Burst
from servers import Server
from workloads import Workload


@dataclass
class Outcome:
    """All that one server showed under one workload."""

    bursts: list[Burst] = field(default_factory=list)
    memory: dict[str, float] = field(default_factory=dict)
    """MiB after the last burst, from the tree of processes."""
    failed: str | None = None

    def values(self, measure: str) -> list[float]:
        """Return the figure of each round."""
        if measure == "pss":
            return [self.memory["pss"]] if "pss" in self.memory else []
        return [float(getattr(burst, measure)) for burst in self.bursts]

    def value(self, measure: str) -> float | None:
        """Return the median of the rounds; None where the server failed."""
        values = self.values(measure)
        return median(values) if values and not self.failed else None


Outcomes = dict[str, dict[str, Outcome]]
"""By workload, by server."""

UNITS = {"cpu": "µs CPU", "rate": "req/s", "p99": "p99 ms", "pss": "PSS MiB", "timeouts": "> 2 s"}


def judge(workload: Workload, outcomes: dict[str, Outcome]) -> None:
    """Mark as failed what answered wrongly, or at a rate that tells of requests held up."""
    for outcome in outcomes.values():
        errors = sum(burst.errors for burst in outcome.bursts)
        requests = sum(burst.requests for burst in outcome.bursts)
        if not outcome.failed and outcome.bursts and errors > requests / 1000:
            outcome.failed = f"{errors} errors in {requests} requests"
        rate = outcome.value("rate")
        if rate is not None and rate <= workload.least:
            outcome.failed = f"{rate:.0f} req/s" if rate else "no response"


def ratio(outcome: Outcome, reference: Outcome, measure: str) -> float | None:
    """Return the median of the rounds' ratios: both ran within seconds of each other in each round."""
    pairs = zip(outcome.values(measure), reference.values(measure), strict=False)
    ratios = [one / other for one, other in pairs if other]
    return median(ratios) if ratios and not outcome.failed and not reference.failed else None


def best(outcomes: dict[str, Outcome], names: Iterable[str], measure: str) -> str | None:
    """Return the name of the best among `names` that did not fail."""
    values = {name: outcomes[name].value(measure) for name in names if name in outcomes}
    known = {name: value for name, value in values.items() if value is not None}
    if not known:
        return None
    return max(known, key=known.__getitem__) if measure == "rate" else min(known, key=known.__getitem__)


def workload_table(workload: Workload, outcomes: dict[str, Outcome]) -> str:
    """Return the absolute figures of one workload: a line for each server."""
    head = ("µs/req", "req/s", "p50 ms", "p99 ms", "waits/req", "preempt/req", "PSS MiB")
    lines = [f"\n{workload.name}: {workload.says}", " " * 18 + "".join(f"{word:>12}" for word in head)]
    for name, outcome in outcomes.items():
        if not outcome.bursts:
            lines.append(f"  {name:<16}  fails: {outcome.failed}")
            continue
        places = {"cpu": 1, "rate": 0, "p50": 2, "p99": 2, "voluntary": 3, "involuntary": 3}
        cells = [f"{median(outcome.values(key)):12,.{digits}f}" for key, digits in places.items()]
        cells.append(f"{outcome.memory['pss']:12.1f}" if outcome.memory else " " * 12)
        lines.append(
            f"  {name:<16}" + "".join(cells) + (f"  fails: {outcome.failed}" if outcome.failed else "")
        )
    return "\n".join(lines)


def ratio_table(workloads: Iterable[Workload], servers: list[Server], results: Outcomes) -> str:
    """Return the table of ratios: each server against the best peer of the row."""
    peers = [server.name for server in servers if server.role == "peer"]
    names = [server.name for server in servers]
    widths = [max(9, len(name) + 2) for name in names]
    head = f"{'':<16}{'':<9}{'best peer':<20}" + "".join(
        f"{n:>{w}}" for n, w in zip(names, widths, strict=True)
    )
    lines = ["\nRatio to the best peer of the row (CPU, p99, PSS: lower is better; req/s: higher)", head]
    for workload in workloads:
        outcomes = results[workload.name]
        for measure in workload.measures:
            reference = best(outcomes, peers, measure)
            if reference is None:
                lines.append(f"{workload.name:<16}{UNITS[measure]:<9}no peer")
                continue
            value = outcomes[reference].value(measure) or 0
            best_peer = f"{reference} {_number(value)}"
            row = f"{workload.name:<16}{UNITS[measure]:<9}{best_peer:<20}"
            for name, width in zip(names, widths, strict=True):
                cell = "-"
                if name in outcomes:
                    found = ratio(outcomes[name], outcomes[reference], measure)
                    cell = "fails" if outcomes[name].failed else f"{found:.2f}" if found else "-"
                row += f"{cell:>{width}}"
            lines.append(row)
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.{0 if value > 999 else 1 if value >= 10 else 2}f}"
