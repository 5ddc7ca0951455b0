"""Coverage: how often the nominal 95 % interval of a mean over independent data sets contains the truth."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from iclglass.numerics.errors import ParameterError
from iclglass.validation.statistics import mean_and_error

__all__ = ["NOMINAL", "Coverage", "interval_coverage"]

NOMINAL = 0.95


@dataclass(frozen=True)
class Coverage:
    """quantity: what was averaged.    rate: fraction of intervals that contain the truth, of ``replicates``."""

    quantity: str
    rate: float
    replicates: int
    group: int

    @property
    def standard_error(self) -> float:
        """Binomial, at the nominal rate."""
        return float(np.sqrt(NOMINAL * (1 - NOMINAL) / self.replicates))

    @property
    def honest(self) -> bool:
        """Whether it lies in 93 to 97 %."""
        return 0.93 <= self.rate <= 0.97


def interval_coverage(quantity: str, samples: ArrayLike, *, group: int, truth: float | None = None) -> Coverage:
    """Coverage of mean +- t s/sqrt(group), Student t with group - 1 degrees of freedom.

    samples: independent values, cut into groups of that size. truth: what the intervals should contain; by default the
    mean of all samples, whose own error is that of one group divided by the root of their number.

    >>> found = interval_coverage("normal", np.random.default_rng(1).standard_normal(160_000), group=16, truth=0.0)
    >>> found.replicates, found.honest
    (10000, True)
    """
    values = np.asarray(samples, dtype=np.float64)
    replicates = values.size // group
    if group < 2 or replicates < 2:
        raise ParameterError(f"{values.size} samples in groups of {group}: at least two groups of at least two needed")
    cut = values[: replicates * group].reshape(replicates, group)
    mean, error = mean_and_error(cut)
    centre = float(values.mean()) if truth is None else truth
    covered = np.abs(mean - centre) <= stats.t.ppf((1 + NOMINAL) / 2, group - 1) * error
    return Coverage(quantity, float(covered.mean()), replicates, group)
