"""Points of the validation suite, fixed before any of them was simulated, and its two scales."""

import csv
import math
from dataclasses import dataclass
from functools import cache
from importlib import resources

__all__ = ["SCALES", "RegisteredPoint", "Scale", "points"]


@dataclass(frozen=True)
class RegisteredPoint:
    """Scaled parameters of one comparison, as in `numerics.saddle_point.solve`."""

    task_diversity: float
    context_length: float
    distinct_tasks: float
    label_noise: float
    ridge: float
    temperature: float
    norm: str

    @property
    def label(self) -> str:
        """The parameters in a line."""
        pool = "" if math.isinf(self.distinct_tasks) else f", kappa {self.distinct_tasks:g}"
        return (
            f"tau {self.task_diversity:g}, alpha {self.context_length:g}{pool}, rho {self.label_noise:g}, "
            f"lam {self.ridge:g}, T {self.temperature:g}, norm {self.norm}"
        )


@dataclass(frozen=True)
class Scale:
    """How much is simulated.

    dimensions, samples: of every point.    replicates: independent repetitions of a mean over ``group`` data sets, for
    the coverage of error bars.    digits: random points of the closed form.    draws: of every sampler and chain.
    """

    dimensions: tuple[int, ...]
    samples: int
    replicates: int
    group: int
    digits: int
    draws: int


SCALES = {
    "standard": Scale((8, 12, 16, 24), 32, 1000, 16, 200, 2000),
    "full": Scale((12, 16, 24, 32), 128, 4000, 16, 400, 10000),
}


@cache
def points() -> tuple[RegisteredPoint, ...]:
    """All points, in the order of points.csv.

    Examples
    --------
    >>> len(points()), sum(math.isfinite(point.distinct_tasks) for point in points())
    (36, 12)
    """
    text = resources.files("iclglass.validation.suite").joinpath("points.csv").read_text(encoding="utf-8")
    return tuple(
        RegisteredPoint(**{name: float(value) for name, value in row.items() if name != "norm"}, norm=row["norm"])
        for row in csv.DictReader(text.splitlines())
    )
