r"""The nuclear norm in the place of the penalty: H(W) = (1/P) sum_mu l(y_mu, s_mu.W) + nu0 ||W||_*.

The layer with factorised weights W = W_K^T W_Q and weight decay (nu0/2)(|W_K|^2 + |W_Q|^2) minimises this, because
||W||_* is the least of (|A|^2 + |B|^2)/2 over A^T B = W. The scaled strength is nu = D nu0. Square or not, with or
without last row.

The proximal point lowers every singular value by the step times nu0, to zero at the least. One step serves all weights
(the norm does not separate), so FISTA has no metric here, but the rest is that of `composite` and `minimise`, the
certificate too: (V - W+)/d is nu0 times a subgradient of the norm at W+ exactly.
"""

from __future__ import annotations

import math

import numpy as np

from iclglass.numerics.arguments import FloatArray, check_real
from iclglass.numerics.instance.data import Instance, check_instance
from iclglass.numerics.running.blas import one_blas_thread
from iclglass.validation.minimisers.composite import Composite, Smooth, curvature_of_features
from iclglass.validation.minimisers.functions import Loss
from iclglass.validation.minimisers.minimise import (
    CONVERGED,
    NOT_CONVERGED,
    Minimum,
    multipliers_of,
    smooth_part,
    subgradient_at_zero,
)

__all__ = ["minimise_nuclear", "singular_threshold"]

_MOST = 40_000
"""Proximal steps at the most."""
_SIGMA, _GROWTH, _STIFFEST, _ROUNDS = 1.0, 2.0, 30.0, 200


def singular_threshold(matrix: FloatArray, threshold: float) -> FloatArray:
    """SVT: every singular value lowered by the threshold, to zero at the least.

    >>> singular_threshold(np.diag([3.0, 1.0]), 2.0).tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    kept = values > threshold
    result: FloatArray = (left[:, kept] * (values[kept] - threshold)) @ right[kept]
    return result


def minimise_nuclear(
    data: Instance, loss: Loss, nuclear0: float, *, tolerance: float = 1e-8, start: FloatArray | None = None
) -> Minimum:
    """Minimise the loss of one data set plus nuclear0 times the nuclear norm of W.

    loss : convex.    nuclear0 : unscaled, nu/D.    tolerance, start and result : as for `minimise`.

    >>> from iclglass.validation.minimisers.losses import SQUARED_ERROR
    >>> from iclglass.validation.prompts import draw_prompts
    >>> data = draw_prompts(dimension=8, context=16, prompts=64, last_row=False, rng=np.random.default_rng(1))
    >>> found = minimise_nuclear(data, SQUARED_ERROR, 0.1)
    >>> found.status, int(np.linalg.matrix_rank(found.weights, tol=1e-12)) < 8
    ('converged', True)
    """
    check_instance(data)
    nuclear0 = check_real("nuclear0", nuclear0, minimum=0.0)
    tolerance = check_real("tolerance", tolerance, minimum=0.0, above=True)
    shape, label = data.features.weight_shape, data.label

    def prox(point: FloatArray, step: FloatArray) -> tuple[FloatArray, FloatArray]:
        return singular_threshold(point, nuclear0 * float(step.flat[0])), step

    def norm(weights: FloatArray) -> FloatArray:
        values = np.linalg.svd(weights, compute_uv=False)
        return np.asarray(nuclear0 * values, dtype=np.float64)

    with one_blas_thread():
        steps = np.full(shape, 1 / curvature_of_features(data, np.ones(shape)))

        def problem(smooth: Smooth) -> Composite:
            return Composite(data, smooth, prox, norm, steps)

        smooth = math.isfinite(loss.curvature_bound)
        composite = problem(smooth_part(loss, label))
        slope = composite.smooth.slope(np.zeros_like(label)) if smooth else subgradient_at_zero(loss, label)
        unit = float(np.max(np.abs(composite.adjoint(slope)))) or 1.0
        weights = np.zeros(shape) if start is None else np.asarray(start, dtype=np.float64)
        if smooth:
            weights, residual, used = _descend(composite, weights, tolerance * unit)
            residual /= unit
        else:
            multiplier, sigma, residual, used = np.zeros_like(label), _SIGMA, math.inf, 0
            size = max(1.0, float(np.max(np.abs(label))))
            for _ in range(_ROUNDS):
                composite = problem(multipliers_of(loss, label, multiplier, sigma))
                aim = max(tolerance / 2, min(1e-2, 0.1 * residual)) * unit
                weights, left, more = _descend(composite, weights, aim)
                new, used = composite.smooth.slope(composite.predict(weights)), used + more
                residual = max(float(np.max(np.abs(new - multiplier))) / (sigma * size), left / unit)
                multiplier, sigma = new, min(_GROWTH * sigma, _STIFFEST)
                if residual <= tolerance or used > _MOST:
                    break
        energy = float(np.mean(loss.value(label, composite.predict(weights))) + np.sum(norm(weights)))
    return Minimum(weights, energy, residual, used, CONVERGED if residual <= tolerance else NOT_CONVERGED)


def _descend(problem: Composite, weights: FloatArray, tolerance: float) -> tuple[FloatArray, float, int]:
    """Weights, the largest entry of their subgradient, and the steps."""
    used, aim = 0, tolerance
    while True:
        weights, steps = problem.fista(weights, _MOST, aim)
        point, residual = problem.stepped(problem.at(weights))
        used += steps
        if residual <= tolerance or used >= _MOST:
            return point.weights, residual, used
        weights, aim = point.weights, aim / 4
