"""The figures that stdserve sets itself, and whether a run reached them."""

from dataclasses import dataclass
from typing import Any

from report import UNITS, Outcomes, best, ratio
from servers import Server

OURS = "stdserve"


@dataclass(frozen=True)
class Figure:
    """One figure: a ratio to others in the same run, or, without `against`, a bound on the value itself."""

    workload: str
    measure: str
    must: float | None
    aim: float | None
    against: tuple[str, ...] = ()
    """Servers, of which the better counts; `peers` stands for all of them, `hello` for our own hello."""
    ours: str = OURS
    """The name of our own server."""


_PEERS = ("peers",)
FIGURES = (
    Figure("hello", "cpu", 0.95, 0.80, ("fastwsgi", "bjoern")),
    Figure("hello", "cpu", None, 1.25, ("floor",)),
    *(Figure(name, "cpu", 0.95, 0.80, _PEERS) for name in ("headers", "json", "echo")),
    *(Figure(name, "cpu", 0.95, 0.80, ("bjoern",)) for name in ("flask", "django")),
    Figure("sleep", "cpu", 0.85, 0.65, ("uwsgi",)),
    Figure("sleep", "rate", 5900, 6100),
    Figure("sleep", "p99", 15, 12),
    Figure("beside-sleep", "rate", 1.0, None, _PEERS),
    Figure("beside-sleep", "rate", None, 0.95, ("hello",)),
    Figure("beside-sleep", "p99", 1.0, None, _PEERS),
    Figure("beside-sleep", "p99", None, 2),
    Figure("beside-compute", "p99", 30, 12),
    Figure("beside-compute", "timeouts", 0, 0),
    *(Figure(name, "cpu", 1.0, 0.8, _PEERS) for name in ("stream", "file", "close")),
    Figure("files-1k", "cpu", 1.10, 0.80, ("nginx",), "stdserve-files"),
    Figure("files-1m", "cpu", 1.05, 1.00, ("nginx",), "stdserve-files"),
    Figure("memory", "pss", 40, 25),
)


def judged(servers: list[Server], results: Outcomes) -> list[dict[str, Any]]:
    """Return each figure that the run can say something about, with what was reached."""
    peers = tuple(server.name for server in servers if server.role == "peer")
    rows: list[dict[str, Any]] = []
    for figure in FIGURES:
        outcomes = results.get(figure.workload, {})
        ours = outcomes.get(figure.ours)
        if ours is None:
            continue
        reference: str | None = None
        reached = ours.value(figure.measure)
        if figure.measure == "timeouts" and reached is not None:
            reached = sum(ours.values("timeouts"))  # the median of the rounds would hide some
        if figure.against == ("hello",):
            hello = results.get("hello", {}).get(OURS)
            reference, reached = "own hello", ratio(ours, hello, figure.measure) if hello else None
        elif figure.against:
            reference = best(outcomes, peers if figure.against == _PEERS else figure.against, figure.measure)
            reached = ratio(ours, outcomes[reference], figure.measure) if reference else None
        rows.append(
            {
                "workload": figure.workload,
                "measure": UNITS[figure.measure],
                "against": reference or ("missing" if figure.against else None),
                "reached": reached,
                "must": figure.must,
                "aim": figure.aim,
                "verdict": _verdict(figure, reached, ours.failed),
            }
        )
    return rows


def _verdict(figure: Figure, reached: float | None, failed: str | None) -> str:
    if failed:
        return f"fails: {failed}"
    if reached is None:
        return "not measured"
    sign = -1 if figure.measure == "rate" else 1

    def within(bound: float | None) -> bool:
        return bound is not None and sign * reached <= sign * bound

    if within(figure.aim):
        return "aim"
    if within(figure.must):
        return "must"
    return "MISSED" if figure.must is not None else "aim missed"


def table(rows: list[dict[str, Any]]) -> str:
    """Return the figures as lines for the terminal; empty where there are none."""
    if not rows:
        return ""
    lines = ["\nFigures of stdserve", f"{'':<16}{'':<9}{'against':<12}{'reached':>9}{'must':>9}{'aim':>9}"]
    for row in rows:
        cells = "".join(f"{_number(row[key]):>9}" for key in ("reached", "must", "aim"))
        lines.append(
            f"{row['workload']:<16}{row['measure']:<9}{row['against'] or '':<12}{cells}  {row['verdict']}"
        )
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
