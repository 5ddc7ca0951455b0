r"""Generalised approximate message passing on one data set: messages on the P prompts, not on the pairs of spins.

The measure exp(-beta H) is a factor graph: every prompt mu is a Gaussian factor for y - s.W of variance P/beta, every
spin has a Gaussian prior of precision beta lambda0. Belief propagation between prompts and spins, relaxed for features
of which each is small (Kabashima 2003; Rangan, arXiv:1010.5141; for these features this project,
notes/message_passing.md), with v_i = beta Var(sigma_i), (S*S)_{mu i} = s_{mu i}^2 and everything divided by beta:

    c = S*S v/P                      response of a prompt's prediction to its own label
    b = (S*S)^T (1/(1 + c))/P        precision a spin receives from the prompts
    v = 1/(lambda0 + b)
    z = (y - S m + c z)/(1 + c)      residual of the prompt; c z is the reaction term (Onsager)
    m = v (b m + S^T z/P)

- Fixed point: z = y - S m, hence lambda0 m = S^T (y - S m)/P: the mean is A^{-1} h, exactly, for any features.
- beta has dropped out: it divides the variances v/beta at the end and nothing else, so beta -> infinity is harmless.
- v is of order 1/D accurate. The map v -> v increases and is scalable, so its iteration converges to its only positive
  fixed point from anywhere, undamped.
- Features here are rank-one tensors with fluctuating norms: c and b are kept for each prompt and each spin.
- S*S = (U*U) x (X*X) row by row: the cost is that of two or three operator pairs a step, the memory O(P D).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.arguments import check_real, check_solver
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.instance.data import Instance
from iclglass.numerics.instance.features import zero_modes
from iclglass.numerics.instance.solution import InstanceSolution, diverged_solution, pack_solution
from iclglass.numerics.instance.spin_glass import energy
from iclglass.numerics.instance.stability import gamp_radius, reactions
from iclglass.numerics.running.blas import own_threads

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["gamp"]

FloatArray = NDArray[np.float64]

_BLOCK = 25
"""Steps, at damping 0, whose largest residual is compared: complex eigenvalues make single ones swing by decades."""
_GROWTH = 10.0
"""A block's largest residual may rise to this many times the least one before damping is raised."""
_DAMPING_STEP = 0.15
"""Each rise closes this fraction of the distance to damping 1."""
_SETTLED = 1e-2
"""Largest relative change of a variance, over the tolerance, from which on they are kept."""
_LOST = 1e6
"""Relative residual at which an iteration has diverged."""


@own_threads()
def gamp(
    instance: Instance,
    *,
    ridge0: float,
    beta: float,
    tolerance: float = 1e-12,
    max_iterations: int = 20_000,
    damping: float | None = None,
    callback: Callable[[int, FloatArray, FloatArray], None] | None = None,
) -> InstanceSolution:
    """Means and variances of the spins by generalised AMP; equations in the module's docstring. Matrix free.

    ridge0, beta : lambda0 >= 0 and beta > 0, unscaled; ridge0 = 0 needs at least as many prompts as spins.
    tolerance : converged when |h - A m|/|h|, computed from m alone, and the change of every variance, relative, are at
        most this.    max_iterations : steps at the most.
    damping : weight of the old state (m, z) in [0, 1), kept fixed; 0 is the plain iteration that state evolution
        describes. Default: start at 0; when the largest residual of a block of steps is ten times that of the best
        block, go back to the best state and raise the damping by 15 % of what is missing to 1. Some damping below 1
        always works (notes/message_passing.md), and at D -> infinity none is needed.
    callback : called as callback(step, mean, scaled_variance) after each step, step = 1, 2, ..; arrays (D+1, D) not to
        be written to; scaled_variance is beta times the variance. The start (step 0) is mean 0, z = 0 and scaled
        variance 1/(lambda0 + mean of s^2). The adaptive damping may repeat steps from an earlier state.

    Of the result, log_partition is Bethe's; history is |S^T z/P - lambda0 m|/|h| at each step, which costs nothing and
    is |h - A m|/|h| with the messages z for y - S m; residual is the true one; spectral_radius is computed when the
    iteration diverges. Raises ParameterError or ParameterTypeError for a value out of range.

    >>> rng = np.random.default_rng(1)
    >>> data = Instance(rng.normal(size=(30, 4)), rng.normal(size=(30, 3)), rng.normal(size=30))
    >>> solution = gamp(data, ridge0=0.1, beta=10.0)
    >>> solution.status.name, solution.residual < 1e-12
    ('CONVERGED', True)
    """
    ridge0, beta, tolerance, limit = check_solver(ridge0, beta, tolerance, max_iterations)
    weight = 0.0 if damping is None else check_real("damping", damping, minimum=0.0, maximum=1.0)
    features, label, count = instance.features.in_double(), instance.label, instance.prompts
    if cause := zero_modes(features.shape, ridge0):
        raise ParameterError(
            f"{cause}: the measure cannot be normalised; use ridge0 > 0, or method 'exact' for the mean of minimum norm"
        )
    squares = features.squares()
    scale = float(np.linalg.norm(instance.fields)) or 1.0
    mean, message, predicted = np.zeros(features.weight_shape), np.zeros(count), np.zeros(count)
    variance = 1 / (ridge0 + features.diagonal())
    response = drag = np.zeros(0)
    # Largest residual of a block of steps, state at its end. The first block may overshoot: little ridge, few prompts.
    best = (_LOST / _GROWTH, mean, message, predicted)
    block = 0
    change = math.inf
    history: list[float] = []

    def true_residual(weights: FloatArray, predictions: FloatArray) -> float:
        return float(np.linalg.norm(features.adjoint(label - predictions) / count - ridge0 * weights)) / scale

    for step in range(1, limit + 1):
        if change > _SETTLED * tolerance:  # the variances do not depend on the means
            response, drag = reactions(squares, variance)
            old_variance, variance = variance, 1 / (ridge0 + drag)
            change = float(np.max(np.abs(variance / old_variance - 1)))
        message = weight * message + (1 - weight) * (label - predicted + response * message) / (1 + response)
        force = features.adjoint(message) / count - ridge0 * mean  # h - A m, but for z in the place of y - S m
        mean = mean + (1 - weight) * variance * force
        predicted = features.predict(mean)
        residual = float(np.linalg.norm(force)) / scale
        history.append(residual)
        if callback is not None:
            callback(step, mean, variance)
        if not math.isfinite(residual):
            break
        if residual <= tolerance and change <= tolerance:
            residual = true_residual(mean, predicted)
            if residual <= tolerance:
                break
        if damping is not None:
            if not residual <= _LOST:
                break
        elif step - block >= _BLOCK / (1 - weight):
            peak = float(np.max(history[block:]))
            block = step
            if peak <= best[0]:
                best = (peak, mean, message, predicted)
            elif not peak <= _GROWTH * best[0]:
                _, mean, message, predicted = best
                weight += _DAMPING_STEP * (1 - weight)
    if residual <= _LOST:
        residual = true_residual(mean, predicted)
    ended = residual <= tolerance and change <= tolerance
    steps = f"residual {residual:.1e} and last change of the variances {change:.1e} after {len(history)} steps"
    steps += f" with damping {weight:.2g}"
    point: dict[str, Any] = {"ridge0": ridge0, "beta": beta, "history": history}
    if ended or residual <= _LOST:
        return pack_solution(
            "gamp",
            mean=mean,
            variance=variance / beta,
            log_partition=_bethe_log_partition(instance, ridge0, beta, mean, variance, response),
            residual=residual,
            converged=ended,
            reason=steps if ended else f"{steps}: allow more steps, or use method 'exact'",
            **point,
        )
    radius, reason = (
        math.nan,
        "numbers beyond floating-point range: rescale the data, whose features are far from order one",
    )
    if math.isfinite(residual) and np.isfinite(variance).all():
        radius = gamp_radius(instance, ridge0=ridge0, scaled_variance=variance, damping=weight)
        reason = f"the linearised iteration has spectral radius {radius:.3f} at damping {weight:.2g}: use damping=None"
    return diverged_solution("gamp", features.weight_shape, reason=reason, radius=radius, **point)


def _bethe_log_partition(
    instance: Instance, ridge0: float, beta: float, mean: FloatArray, variance: FloatArray, response: FloatArray
) -> float:
    """ln Z with ln det A -> -sum_i (ln v_i + 1 - lambda0 v_i) + sum_mu ln(1 + c_mu), stationary in v."""
    determinant = float(np.sum(ridge0 * variance - 1 - np.log(variance)) + np.sum(np.log1p(response)))
    constant = mean.size * math.log(2 * math.pi / beta)
    return (constant - determinant) / 2 - beta * energy(instance, mean, ridge0)
