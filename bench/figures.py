"""What is measured, how often, and how it is printed."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One measured thing: every round's figure, in `unit`."""

    work: str
    unit: str
    figures: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.figures)


def repeat(rounds: int, figure: Callable[[], float]) -> tuple[float, ...]:
    """One warm-up, then the rounds."""
    figure()
    return tuple(figure() for _ in range(rounds))


def in_turn(rounds: int, figures: Sequence[Callable[[], float]]) -> list[tuple[float, ...]]:
    """Several figures to be held against each other: one warm-up, then each once a round, so that what else the
    machine does meets all of them."""
    for figure in figures:
        figure()
    measured = [[figure() for figure in figures] for _ in range(rounds)]
    return list(zip(*measured, strict=True))


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    lines = ["| work | unit | median | least | most |", "|---|---|---:|---:|---:|"]
    for row in rows:
        shown = " | ".join(map(_shown, (row.median, min(row.figures), max(row.figures))))
        lines.append(f"| {row.work} | {row.unit} | {shown} |")
    return "\n".join(lines)


def _shown(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.2f}"
