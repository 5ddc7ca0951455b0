"""The closed form in double precision against itself with 50 digits: its rounding, at random points and edges.

That it solves the equations is proved symbolically (`replica.closed_form`) and certified by residuals in `solve`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from iclglass.numerics.precision import solve_digits
from iclglass.numerics.saddle_point import solve
from iclglass.numerics.solution import OBSERVABLES

__all__ = ["WorstDigits", "worst_digits"]


@dataclass(frozen=True)
class WorstDigits:
    """error: largest relative error over points and quantities; where, and of what."""

    error: float
    quantity: str
    parameters: dict[str, float]
    points: int


def worst_digits(count: int, *, seed: int) -> WorstDigits:
    """Random points with tau 1e-3..1e3, alpha 1e-2..1e4, lam 1e-12..1e3 and 0, rho 0..10, T 0 and 1e-3..1e3.

    >>> worst_digits(5, seed=1).error < 1e-10
    True
    """
    rng = np.random.default_rng(seed)
    worst = WorstDigits(0.0, "", {}, count)
    for index in range(count):
        point: dict[str, Any] = {
            "task_diversity": 10 ** rng.uniform(-3, 3),
            "context_length": 10 ** rng.uniform(-2, 4),
            "label_noise": 0.0 if index % 3 == 0 else rng.uniform(0, 10),
            "ridge": 0.0 if index % 5 == 0 else 10 ** rng.uniform(-12, 3),
            "temperature": 0.0 if index % 2 == 0 else 10 ** rng.uniform(-3, 3),
        }
        found = solve(**point)
        exact = solve_digits(digits=50, **point)
        for name in OBSERVABLES:
            text, value = exact.values[name], float(getattr(found, name))
            if text is None:  # infinite, or does not exist
                continue
            reference = float(text)
            # Entropy and free energy pass through zero: relative to their terms, which are of order T and one.
            scale = max(abs(reference), max(1.0, point["temperature"]) if name in _THROUGH_ZERO else 0.0)
            error = abs(value - reference) / scale if scale > 0 else abs(value)
            # a number that is not one, where there should be one, is the worst of all
            error = error if np.isfinite(error) else np.inf
            if error > worst.error:
                worst = WorstDigits(error, name, point, count)
    return worst


_THROUGH_ZERO = ("free_energy", "entropy")
