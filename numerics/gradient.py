"""d e_icl / d parameter, for lines of minima and for the best ridge.

With one isotropic task per prompt the derivative is symbolic (`numerics.codegen`). With a pool it is a central
difference of fourth order: e_icl is smooth and exact to a few units in the last place, so with a relative step of 2e-3
the difference has a relative error of order 1e-11.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from numerics import generated_numpy
from numerics.saddle_point import solve_points

__all__ = ["GRADIENT_AXES", "gradient"]

Array = NDArray[np.float64]

GRADIENT_AXES = {
    "task_diversity": "tau",
    "context_length": "alpha",
    "test_context_length": "alpha_test",
    "distinct_tasks": None,
    "label_noise": "rho",
    "ridge": "lam",
}
_STEP = 2e-3


def gradient(axis: str, *, tied: bool) -> Callable[[Mapping[str, Array]], Array]:
    """A function of a point (name -> array) that gives d e_icl / d axis.

    Args:
        axis: a name of `GRADIENT_AXES`.
        tied: whether the test context length follows the pretraining one and moves with it.
    """
    letter = GRADIENT_AXES[axis]

    def function(point: Mapping[str, Array]) -> Array:
        point = {name: np.asarray(value, dtype=np.float64) for name, value in point.items()}
        pooled = np.isfinite(point["distinct_tasks"])
        if letter is None or pooled.any():
            return _difference(point, axis)
        return _symbolic(point, letter, tied=tied and axis == "context_length")

    return function


def _symbolic(point: Mapping[str, Array], letter: str, *, tied: bool) -> Array:
    alpha = point["context_length"]
    with np.errstate(all="ignore"):
        outputs = generated_numpy.gradients(
            point["task_diversity"],
            alpha,
            point.get("test_context_length", alpha),
            point["label_noise"],
            point["ridge"],
            point["temperature"],
        )
    gradients = dict(zip(generated_numpy.OUTPUTS["gradients"], outputs, strict=True))
    return np.asarray(gradients[letter] + (gradients["alpha_test"] if tied else 0))


def _difference(point: Mapping[str, Array], axis: str) -> Array:
    value = point[axis]
    # Zero is in the range of ridge and noise: there the step is absolute and the points stay on one side.
    step = _STEP * np.where(value > 0, value, 1e-6)

    def error(shift: float) -> Array:
        moved = {**point, axis: np.abs(value + shift * step)}
        return np.asarray(solve_points(moved).e_icl)

    central = (error(-2) - 8 * error(-1) + 8 * error(1) - error(2)) / (12 * step)
    if np.all(value > 0):
        return np.asarray(central)
    forward = (-25 * error(0) + 48 * error(1) - 36 * error(2) + 16 * error(3) - 3 * error(4)) / (12 * step)
    return np.where(value > 0, central, forward)
