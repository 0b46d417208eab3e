"""Statistics of the measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median, quantiles


@dataclass(frozen=True)
class Spread:
    """The median and the quartiles of samples."""

    median: float
    low: float
    high: float
    samples: int

    @classmethod
    def of(cls, samples: Sequence[float]) -> Spread:
        """Compute the spread of samples."""
        low, middle, high = quantiles(samples, n=4, method="inclusive") if len(samples) > 1 else [*samples] * 3
        return cls(round(middle, 6), round(low, 6), round(high, 6), len(samples))

    def as_dict(self) -> dict[str, float]:
        """Return the spread as stored in `results.json`."""
        return asdict(self)


def ratios(pairs: Sequence[tuple[float, float]], less: float = 0.0) -> Spread:
    """Return the spread of the ratios of first to second.

    Args:
        pairs: The pairs of samples.
        less: A constant that is subtracted from each sample.
    """
    return Spread.of([(one - less) / (other - less) for one, other in pairs])


def middle(samples: Sequence[float]) -> float:
    """Return the median, rounded to microseconds."""
    return round(median(samples), 6)
