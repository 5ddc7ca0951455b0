r"""Gradient flow and gradient descent on the energy of one data set, exactly.

The flow dW/ds = -dH/dW = h - A W with A = S^T S/P + lambda0, in time t = s/D. From one singular value decomposition
S/sqrt(P) = U diag(sigma) V^T, with mu = sigma^2 + lambda0 along the right singular vectors and mu = lambda0 across:

    W(t) = exp(-A D t) W0 + A^{-1} (1 - exp(-A D t)) h

It is the ground truth for `numerics.learning_curve.learning_curve` at finite D, last row of W included.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from iclglass.numerics.arguments import check_count, check_real, doubles
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.instance.features import FeatureOperator
from iclglass.numerics.running.blas import own_threads
from iclglass.validation.prompts import Prompts

__all__ = ["gradient_descent", "gradient_flow", "initial_weights"]

FloatArray = NDArray[np.float64]


def initial_weights(*, dimension: int, overlap: float, last_row: bool = True, rng: np.random.Generator) -> FloatArray:
    """Gaussian W0, shape (D+1, D), with |W0|^2 = D q0 exactly on the D x D block; the last row starts at 0.

    Without last row (D, D).

    >>> start = initial_weights(dimension=3, overlap=2.0, rng=np.random.default_rng(1))
    >>> start.shape, round(float(np.sum(start**2)), 12)
    ((4, 3), 6.0)
    """
    size = check_count("dimension", dimension, minimum=2)
    overlap = check_real("overlap", overlap, minimum=0.0)
    weights = np.zeros((size + last_row, size))
    weights[:size] = rng.standard_normal((size, size))
    weights *= np.sqrt(overlap * size / np.sum(weights**2))
    return weights


def gradient_flow(prompts: Prompts, ridge0: float, times: ArrayLike, *, start: FloatArray | None = None) -> FloatArray:
    """Weights at each time, shape (times, D+1, D), by singular value decomposition; O(P n min(P, n)) work.

    ridge0 is lambda0, unscaled; times >= 0 are in units of D, infinity allowed; start (D+1, D), default 0. At
    infinite time these are the weights of least energy, without ridge those nearest to the start.

    >>> from iclglass.numerics.instance.linear_response import ground_state
    >>> from iclglass.validation.prompts import draw_prompts
    >>> data = draw_prompts(dimension=3, context=6, prompts=30, rng=np.random.default_rng(1))
    >>> early, late = gradient_flow(data, 0.1, [0, np.inf])
    >>> bool(np.all(early == 0)), bool(np.allclose(late, ground_state(data, 0.1), rtol=0, atol=1e-12))
    (True, True)
    """
    ridge0 = check_real("ridge0", ridge0, minimum=0.0)
    moments = np.atleast_1d(doubles("times", times))
    if not np.all(moments >= 0):
        raise ParameterError(f"times = {times!r} must be >= 0: the flow starts at time 0")
    features = FeatureOperator(prompts.context, prompts.query)
    initial = _start(features, start)
    dense = features.dense() / np.sqrt(prompts.prompts)
    left, singular, right = scipy.linalg.svd(dense, full_matrices=False, overwrite_a=True, check_finite=False)
    field = singular * (left.T @ prompts.label) / np.sqrt(prompts.prompts)
    along = right @ initial.ravel()
    across = initial.ravel() - right.T @ along
    # Rounded zeros of the spectrum would drift at infinite time; their field is rounding too.
    singular = np.where(singular > 1e-12 * singular[0], singular, 0.0)
    result = np.empty((moments.size, *features.weight_shape))
    for number, time in enumerate(moments * prompts.dimension):
        rates = singular**2 + ridge0
        positive = rates > 0
        exponent = np.where(positive, rates, 1.0) * time
        decay = np.where(positive, np.exp(-exponent), 1.0)
        gain = np.where(positive, -np.expm1(-exponent) / np.where(positive, rates, 1.0), 0.0)
        kept = np.exp(-ridge0 * time) if ridge0 > 0 else 1.0
        spins = right.T @ (decay * along + gain * field) + kept * across
        result[number] = spins.reshape(features.weight_shape)
    return result


@own_threads()
def gradient_descent(
    prompts: Prompts, ridge0: float, *, time: float, steps: int, start: FloatArray | None = None
) -> FloatArray:
    """Weights (D+1, D) after ``steps`` explicit Euler steps W <- W - (D time/steps) dH/dW; matrix free.

    It converges to `gradient_flow` at first order in the step; a step above 2/(largest eigenvalue of A) diverges.

    >>> from iclglass.validation.prompts import draw_prompts
    >>> data = draw_prompts(dimension=3, context=6, prompts=30, rng=np.random.default_rng(1))
    >>> step = gradient_descent(data, 0.1, time=0.01, steps=1)
    >>> features = FeatureOperator(data.context, data.query)
    >>> bool(np.allclose(step, 0.03 * features.adjoint(data.label) / 30))
    True
    """
    ridge0 = check_real("ridge0", ridge0, minimum=0.0)
    time = check_real("time", time, minimum=0.0)
    steps = check_count("steps", steps, minimum=1)
    features = FeatureOperator(prompts.context, prompts.query)
    weights = _start(features, start).copy()
    rate = prompts.dimension * time / steps
    for _ in range(steps):
        residual = prompts.label - features.predict(weights)
        weights += rate * (features.adjoint(residual) / prompts.prompts - ridge0 * weights)
    return weights


def _start(features: FeatureOperator, start: FloatArray | None) -> FloatArray:
    if start is None:
        return np.zeros(features.weight_shape)
    weights = doubles("start", start)
    if weights.shape != features.weight_shape:
        raise ParameterError(f"start must have shape {features.weight_shape}, got {weights.shape}")
    return weights
