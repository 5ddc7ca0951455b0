r"""The minimum of the energy of one data set, for any convex loss and penalty.

A loss of bounded curvature is minimised as it is (`composite`). Any other, with kinks or without a bound, by the method
of multipliers on f = S W: the loss of a prompt with multiplier z is replaced by the smooth

    l_k(f) = min_u l(y, u) + z (f - u) + (sigma/2) (f - u)^2,      slope  z + sigma (f - u),

u = the proximal point of l at f + z/sigma with V = 1/sigma; then z becomes that slope, and z is a subgradient of l at u
exactly. At the end two conditions are left, and both are in `Minimum.residual`: f = u, relative to the labels, and the
subgradient of the energy, relative to the gradient at W = 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from iclglass.numerics.arguments import FloatArray, check_real
from iclglass.numerics.instance.data import Instance, check_instance
from iclglass.numerics.running.blas import one_blas_thread
from iclglass.validation.minimisers.composite import Composite, Smooth, curvature_of_features, descend
from iclglass.validation.minimisers.functions import Loss, OneBodyFunctions, Penalty

__all__ = ["CONVERGED", "NOT_CONVERGED", "Minimum", "minimise", "multipliers_of", "smooth_part", "subgradient_at_zero"]

CONVERGED = "converged"
NOT_CONVERGED = "not converged"

_SIGMA, _GROWTH, _STIFFEST = 1.0, 3.0, 100.0
"""Stiffness of the method of multipliers at first, its factor from one to the next, and the largest."""
_INERTIA = 0.02
"""Weight of the term that holds each round near the last, at stiffness one, relative to the curvature of the spins."""
_ROUNDS = 500


@dataclass(frozen=True, eq=False)
class Minimum:
    """Weights of least energy.

    weights : (D+1, D), or (D, D) without last row.    energy : H(W).
    residual : what is left of the optimality conditions, relative; at most the tolerance if status is "converged".
    iterations : proximal and Newton steps.
    """

    weights: FloatArray
    energy: float
    residual: float
    iterations: int
    status: str

    @property
    def converged(self) -> bool:
        return self.status == CONVERGED


def minimise(
    data: Instance, functions: OneBodyFunctions, *, tolerance: float = 1e-8, start: FloatArray | None = None
) -> Minimum:
    """Minimise the energy of one data set.

    Parameters
    ----------
    data : Instance
    functions : OneBodyFunctions
        Convex loss and penalty, the latter unscaled.
    tolerance : float
        Of the optimality conditions, relative (`Minimum.residual`).
    start : array, optional
        Weights to start from, by default zero.

    Returns
    -------
    Minimum

    Examples
    --------
    >>> from iclglass.validation.minimisers.losses import SQUARED_ERROR
    >>> from iclglass.validation.minimisers.penalties import scaled_elastic_net
    >>> from iclglass.validation.prompts import draw_prompts
    >>> data = draw_prompts(dimension=8, context=16, prompts=64, rng=np.random.default_rng(1))
    >>> found = minimise(data, OneBodyFunctions(SQUARED_ERROR, scaled_elastic_net(8, l1=0.5)))
    >>> found.status, bool(np.mean(found.weights == 0) > 0.3)
    ('converged', True)
    """
    check_instance(data)
    tolerance = check_real("tolerance", tolerance, minimum=0.0, above=True)
    loss, penalty = functions.loss, functions.penalty
    weights = np.zeros(data.features.weight_shape) if start is None else np.asarray(start, dtype=np.float64)
    with one_blas_thread():
        scale = data.features.diagonal()
        scale = 1 / np.sqrt(np.where(scale > 0, scale, 1.0))
        steps = scale**2 / curvature_of_features(data, scale)

        def problem(smooth: Smooth, pull: Penalty = penalty) -> Composite:
            return Composite(data, smooth, pull.prox, pull.value, steps)

        if math.isfinite(loss.curvature_bound):
            composite = problem(smooth_part(loss, data.label))
            unit = _unit(composite, composite.smooth.slope(np.zeros(data.prompts)))
            point, residual, used = descend(composite, weights, tolerance * unit)
            return _minimum(point.weights, point.energy, residual / unit, used, tolerance)

        multiplier = np.zeros(data.prompts)
        sigma, used, residual = _SIGMA, 0, math.inf
        size = max(1.0, float(np.max(np.abs(data.label))))
        unit = _unit(problem(smooth_part(loss, data.label)), subgradient_at_zero(loss, data.label))
        for _ in range(_ROUNDS):
            inertia = _INERTIA / (sigma * steps)
            composite = problem(multipliers_of(loss, data.label, multiplier, sigma), near(penalty, weights, inertia))
            aim = max(tolerance / 2, min(1e-2, 0.1 * residual)) * unit
            point, left, steps_used = descend(composite, weights, aim, warm=used > 0, most=5000)
            used += steps_used
            left += float(np.max(inertia * np.abs(point.weights - weights)))
            weights, new = point.weights, composite.smooth.slope(point.prediction)
            apart = float(np.max(np.abs(new - multiplier))) / sigma
            residual, multiplier = max(apart / size, left / unit), new
            if residual <= tolerance:
                break
            sigma = min(_GROWTH * sigma, _STIFFEST)
        energy = float(np.mean(loss.value(data.label, point.prediction)) + np.sum(penalty.value(weights)))
        return _minimum(weights, energy, residual, used, tolerance)


def smooth_part(loss: Loss, label: FloatArray) -> Smooth:
    """A loss with a slope as a function of the predictions of a data set."""
    slope, curvature = loss.slope, loss.curvature
    if slope is None or curvature is None:
        return multipliers_of(loss, label, np.zeros_like(label), 1.0)
    return Smooth(
        lambda f: loss.value(label, f), lambda f: slope(label, f), lambda f: curvature(label, f), loss.curvature_bound
    )


def multipliers_of(loss: Loss, label: FloatArray, multiplier: FloatArray, sigma: float) -> Smooth:
    """The smooth l_k of the module's docstring."""
    step = np.full_like(label, 1 / sigma)

    def value(f: FloatArray) -> FloatArray:
        u, _ = loss.prox(label, f + multiplier / sigma, step)
        return loss.value(label, u) + (f - u) * (multiplier + sigma / 2 * (f - u))

    def slope(f: FloatArray) -> FloatArray:
        centre = f + multiplier / sigma
        return sigma * (centre - loss.prox(label, centre, step)[0])

    def curvature(f: FloatArray) -> FloatArray:
        return sigma * (1 - loss.prox(label, f + multiplier / sigma, step)[1])

    return Smooth(value, slope, curvature, sigma)


def near(penalty: Penalty, centre: FloatArray, strength: FloatArray) -> Penalty:
    """The penalty plus (strength/2) (W - centre)^2, for weights of the centre's shape."""

    def value(weights: FloatArray) -> FloatArray:
        return penalty.value(weights) + strength / 2 * (weights - centre) ** 2

    def prox(point: FloatArray, step: FloatArray) -> tuple[FloatArray, FloatArray]:
        shrink = 1 / (1 + step * strength)
        found, derivative = penalty.prox(shrink * (point + step * strength * centre), shrink * step)
        return found, derivative * shrink

    return Penalty(name=penalty.name, value=value, prox=prox)


def subgradient_at_zero(loss: Loss, label: FloatArray) -> FloatArray:
    """A subgradient of the loss at f = 0, from a proximal point so close to it that it stays on the same piece."""
    step = np.full_like(label, 1e-6)
    return -loss.prox(label, np.zeros_like(label), step)[0] / step


def _unit(problem: Composite, slope: FloatArray) -> float:
    """The largest entry of the gradient at W = 0, or 1 where it vanishes."""
    return float(np.max(np.abs(problem.adjoint(slope)))) or 1.0


def _minimum(weights: FloatArray, energy: float, residual: float, used: int, tolerance: float) -> Minimum:
    status = CONVERGED if residual <= tolerance else NOT_CONVERGED
    return Minimum(weights, energy, residual, used, status)
