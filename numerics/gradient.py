"""d e_icl / d parameter, for lines of minima and for the best ridge.

With one isotropic task per prompt the derivative is symbolic (`numerics.codegen`). With a pool the effective ridge nu
is differentiated implicitly, F(nu, p) = 0:

    d e/dp = de/dp at fixed nu - (de/dnu) (dF/dp)/(dF/dnu)

and each of the four derivatives is a central difference of fourth order. At fixed nu everything is smooth on relative
scales, however steep the peak at the interpolation threshold is: a relative step of 5e-4 leaves an error of order 1e-11
of e_icl over the parameter.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics import generated_numpy
from iclglass.numerics.pool import balance_and_error, effective_ridge
from iclglass.numerics.task_spectrum import ISOTROPIC

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
_STEP = 5e-4


def gradient(axis: str, *, tied: bool) -> Callable[[Mapping[str, Array]], Array]:
    """A function of a point (name -> array) that gives d e_icl / d axis.

    axis : a name of `GRADIENT_AXES`.
    tied : whether the test context length follows the pretraining one and moves with it.
    """
    letter = GRADIENT_AXES[axis]

    def function(point: Mapping[str, Array]) -> Array:
        point = {name: np.asarray(value, dtype=np.float64) for name, value in point.items()}
        pooled = np.isfinite(point["distinct_tasks"])
        if letter is None or pooled.any():
            return _implicit(point, axis, tied=tied)
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


def _implicit(point: Mapping[str, Array], axis: str, *, tied: bool) -> Array:
    names = ("task_diversity", "context_length", "test_context_length", "label_noise", "ridge", "distinct_tasks")
    given = {**point, "test_context_length": point.get("test_context_length", point["context_length"])}
    shape = np.broadcast_shapes(*(given[name].shape for name in names))
    values = {name: np.broadcast_to(given[name], shape).ravel() for name in names}
    noise, ridge, kappa = values["label_noise"], values["ridge"], values["distinct_tasks"]
    nu = effective_ridge(
        values["task_diversity"], ridge, (1 + noise) / values["context_length"], kappa, spectrum=ISOTROPIC
    )
    # Where omega is of order one and lam/nu would carry a large derivative that cancels.
    above = values["task_diversity"] > 2
    # Ridge and noise enter linearly, as lam/nu and 1 + rho: their steps are on the scale of what they are added to.
    scales = {**values, "label_noise": 1 + noise, "ridge": ridge + nu}

    def explicit(shift: float, moved: str) -> Array:
        here = dict(values)
        if moved != "nu":
            here[moved] = values[moved] + shift * _STEP * scales[moved]
            if tied and moved == "context_length":
                here["test_context_length"] = here[moved]
        effective = nu * (1 + shift * _STEP) if moved == "nu" else nu
        return np.stack(balance_and_error(effective, *(here[name] for name in names), above=above))

    def slope(moved: str) -> Array:
        scale = nu if moved == "nu" else scales[moved]
        difference = explicit(-2, moved) - 8 * explicit(-1, moved) + 8 * explicit(1, moved) - explicit(2, moved)
        return difference / (12 * _STEP * scale)

    with np.errstate(all="ignore"):
        (balance_p, error_p), (balance_nu, error_nu) = slope(axis), slope("nu")
        total = error_p - error_nu * balance_p / balance_nu
    return np.asarray(total.reshape(shape))
