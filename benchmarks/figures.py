"""Arithmetic of the measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median, quantiles


@dataclass(frozen=True)
class Spread:
    """The median of some samples, and the quartiles around it."""

    median: float
    low: float
    high: float
    samples: int

    @classmethod
    def of(cls, samples: Sequence[float]) -> Spread:
        low, middle, high = quantiles(samples, n=4, method="inclusive") if len(samples) > 1 else [*samples] * 3
        return cls(round(middle, 6), round(low, 6), round(high, 6), len(samples))

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def ratios(pairs: Sequence[tuple[float, float]], less: float = 0.0) -> Spread:
    """The ratio of each pair, first to second, with `less` taken off both; their median."""
    return Spread.of([(one - less) / (other - less) for one, other in pairs])


def middle(samples: Sequence[float]) -> float:
    """The median, to the microsecond."""
    return round(median(samples), 6)
