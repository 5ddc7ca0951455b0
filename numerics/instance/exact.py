"""The exact measure of one data set: dense Cholesky when n or P is small, conjugate gradients when not.

With A = S^T S/P + lambda0 the measure is Gaussian: mean A^{-1} h, covariance A^{-1}/beta (SG section II). By

    primal   Cholesky of A, n x n             means, variances, ln Z to rounding
    dual     Cholesky of S S^T + P lambda0    the same, P x P
    cg       no matrix, O(P D) memory         means to the tolerance; variances estimated; no ln Z

Estimated variances ("cg"). For z of independent signs, z_i (A^{-1} z)_i is an unbiased estimate of (A^{-1})_ii
(Hutchinson); its noise comes from the entries of A^{-1} off the diagonal. Those are correlated with the entries of A
off the diagonal, whose diagonal is known: with B = d^{-1/2} A d^{-1/2}, d = diag A, and G = B^{-1},

    G_ii = E[ z_i (G z)_i - c (z_i (B z)_i - 1) ]    for any number c,      (A^{-1})_ii = G_ii/d_i

c is the regression coefficient over the *other* probes, for the block and the last row apart, so that it is independent
of z and the estimate stays unbiased. The standard error is that of the mean over the probes.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.arguments import check_choice, check_count, check_generator, check_solver
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.instance.data import Instance
from iclglass.numerics.instance.features import zero_modes
from iclglass.numerics.instance.krylov import (
    KrylovSolution,
    KrylovState,
    Progress,
    ResponseFeatures,
    dots,
    relative_residual,
    response_solve,
)
from iclglass.numerics.instance.linear_response import cheapest, linear_response
from iclglass.numerics.instance.solution import InstanceSolution, pack_solution
from iclglass.numerics.instance.spin_glass import energy
from iclglass.numerics.memory import chunks

__all__ = ["MAX_ITERATIONS", "PROBES", "check_probes", "dense_road", "exact", "krylov_measure"]

FloatArray = NDArray[np.float64]

PROBES = 16
"""Probes of the variances by "cg" where none are asked for: standard errors of a few per cent of a variance."""

_DENSE = 4000
"""Side of the largest matrix that road "auto" factorises: 128 MB, seconds."""

_PROBE_TOLERANCE = 1e-6
"""Relative residual of the probes' solves: their noise is 1e-2 of a variance, so a bias of 1e-6 cannot be seen."""

_BATCH_ELEMENTS = 1 << 21
"""Spins of probes solved for together: more share each pass over the data, but a few such stacks are in memory."""

MAX_ITERATIONS = 10_000
"""Steps of conjugate gradients at the most where no limit is given."""

_DIRECT_RESIDUAL = 1e-8
"""Relative residual above which a Cholesky solve has lost too many digits to be called a solution."""


def exact(
    instance: Instance,
    *,
    ridge0: float,
    beta: float,
    road: str = "auto",
    probes: int | None = None,
    tolerance: float = 1e-12,
    max_iterations: int = MAX_ITERATIONS,
    rng: np.random.Generator | None = None,
) -> InstanceSolution:
    """Means and variances of one data set by linear algebra; ridge0 and beta are SG's, unscaled.

    road : "primal", "dual" or "cg", see the module; "auto" takes the cheaper dense one if its matrix is at most 4000 x
        4000, else "cg".
    probes : for "cg", right-hand sides spent on the variances, 0 (variances NaN) or at least 2, default 16. Their
        standard error is in `variance_error` and falls as probes^(-1/2).
    tolerance : for "cg", |h - A mean| <= tolerance |h|, certified in double precision; else the status is
        NOT_CONVERGED, with a RuntimeWarning if rounding, not max_iterations (default 10000), is what stopped it.
    rng : for the probes; a fresh generator by default.

    ridge0 = 0 with P < n (SG's overparametrised side): the measure cannot be normalised. The mean is the limit
    ridge0 -> 0, the minimum of H of least norm; the variance is inf for every spin that a zero mode reaches ("cg" takes
    it to reach all of them); ln Z is inf.

    >>> rng = np.random.default_rng(1)
    >>> data = Instance(rng.normal(size=(30, 4)), rng.normal(size=(30, 3)), rng.normal(size=30))
    >>> dense, krylov = (exact(data, ridge0=0.1, beta=2.0, road=road, rng=rng) for road in ("primal", "cg"))
    >>> bool(np.allclose(dense.mean, krylov.mean, rtol=0, atol=1e-10)), krylov.status.name
    (True, 'CONVERGED')
    """
    ridge0, beta, tolerance, limit = check_solver(ridge0, beta, tolerance, max_iterations)
    road = check_choice("road", road, ("auto", "primal", "dual", "cg"))
    count = check_probes(PROBES if probes is None else probes, rng)
    if road == "auto":
        road = dense_road(instance, ridge0) or "cg"
    if road != "cg":
        return _dense(instance, ridge0, beta, road)
    return krylov_measure(
        instance.features,
        instance.fields,
        ridge0=ridge0,
        beta=beta,
        probes=count,
        tolerance=tolerance,
        max_iterations=limit,
        rng=np.random.default_rng(rng),
    )


def check_probes(probes: object, rng: object) -> int:
    """The number of probes, 0 or at least 2, and the kind of the generator they are drawn with, checked.

    >>> check_probes(16, None)
    16
    """
    count = check_count("probes", probes, minimum=0)
    if count == 1:
        raise ParameterError("probes must be 0 or at least 2, got 1: one probe has no standard error")
    check_generator(rng)
    return count


def dense_road(instance: Instance, ridge0: float) -> str | None:
    """The cheaper of "primal" and "dual", or None where its matrix is larger than 4000 x 4000."""
    road = cheapest(instance.dimension, instance.prompts, ridge0, last_row=instance.last_row)
    size = instance.spins if road == "primal" else instance.prompts
    return road if size <= _DENSE else None


def _dense(instance: Instance, ridge0: float, beta: float, road: str) -> InstanceSolution:
    response = linear_response(instance, ridge0, road, diagonal=True)
    assert response.diagonal is not None  # asked for
    volume = instance.spins * math.log(2 * math.pi / beta) - response.log_determinant
    matrix = "A" if road == "primal" else "S S^T + P ridge0"
    residual = relative_residual(instance, response.weights, ridge0)
    good = residual <= _DIRECT_RESIDUAL
    reason = f"direct: Cholesky of {matrix}" if good else f"{matrix} is too ill-conditioned for Cholesky: raise ridge0"
    return pack_solution(
        "exact",
        ridge0=ridge0,
        beta=beta,
        mean=response.weights,
        variance=response.diagonal / beta,
        log_partition=volume / 2 - beta * energy(instance, response.weights, ridge0),
        residual=residual,
        converged=good,
        reason=reason + _zero_modes(instance.features, ridge0),
    )


def krylov_measure(
    features: ResponseFeatures,
    fields: FloatArray,
    *,
    ridge0: float,
    beta: float,
    probes: int,
    tolerance: float,
    max_iterations: int,
    rng: np.random.Generator,
    initial: FloatArray | None = None,
    resumed: KrylovState | None = None,
    keep: Callable[[KrylovState], None] | None = None,
    progress: Progress | None = None,
) -> InstanceSolution:
    """Road "cg" of `exact` for features that need not be in memory, and fields h = S^T y/P, (D+1, D).

    initial : weights (D+1, D) to start from.    progress : see `krylov.response_solve`; of every solve in turn.
    resumed, keep : see there; of the means, not of the probes.
    """
    singular = bool(zero_modes(features.shape, ridge0))
    found = response_solve(
        features,
        fields[None],
        ridge0,
        tolerance=tolerance,
        max_iterations=max_iterations,
        minimum_norm=singular,
        initial=None if initial is None else initial[None],
        resumed=resumed,
        keep=keep,
        progress=progress,
    )
    if singular or probes == 0:
        diagonal = np.full(fields.shape, math.inf if singular else math.nan)
        error = np.zeros(fields.shape) if singular else diagonal
    else:
        diagonal, error = _estimated_diagonal(features, ridge0, probes, max_iterations, rng, progress)
    residual = float(found.residual[0])
    reason = _reason(found, residual, tolerance, features.arithmetic.name) + _zero_modes(features, ridge0)
    return pack_solution(
        "exact",
        ridge0=ridge0,
        beta=beta,
        mean=found.weights[0],
        variance=diagonal / beta,
        variance_error=error / beta,
        log_partition=math.inf if singular else math.nan,
        residual=residual,
        converged=residual <= tolerance,
        reason=reason,
        history=found.history,
    )


def _reason(found: KrylovSolution, residual: float, tolerance: float, arithmetic: str) -> str:
    if residual <= tolerance:
        return f"conjugate gradients reached a residual of {residual:.1e}, certified in double precision"
    if not found.stalled:
        return f"conjugate gradients stopped at max_iterations = {found.iterations} with a residual of {residual:.1e}"
    reason = f"rounding of {arithmetic} products holds the residual at {residual:.1e}, above the {tolerance:.1e} wanted"
    reason += "; use " + (
        "float64 data or a larger ridge0" if arithmetic == "float32" else "a larger ridge0 or tolerance"
    )
    warnings.warn(reason, RuntimeWarning, stacklevel=4)
    return reason


def _estimated_diagonal(
    features: ResponseFeatures,
    ridge0: float,
    probes: int,
    limit: int,
    rng: np.random.Generator,
    progress: Progress | None,
) -> tuple[FloatArray, FloatArray]:
    """Unbiased estimate of the diagonal of A^{-1}, (D+1, D), and its standard error; the module has the formula."""
    prompts, spins = features.shape
    dimension = features.weight_shape[1]
    scale = np.sqrt(features.diagonal() + ridge0)
    if not np.all(scale > 0):  # with P >= n and no ridge, a feature that is always zero
        return np.full(scale.shape, math.inf), np.zeros(scale.shape)
    plain, control = (np.empty((probes, *scale.shape)) for _ in range(2))
    for part in chunks(probes, _BATCH_ELEMENTS // spins):
        signs = rng.choice([-1.0, 1.0], size=plain[part].shape)
        solved = response_solve(
            features, signs * scale, ridge0, tolerance=_PROBE_TOLERANCE, max_iterations=limit, progress=progress
        )
        if np.any(solved.residual > _PROBE_TOLERANCE):  # a variance from it would have an error not in its error bar
            return np.full(scale.shape, math.nan), np.full(scale.shape, math.nan)
        plain[part] = signs * scale * solved.weights
        image = features.normal(signs / scale) / prompts + ridge0 * signs / scale
        control[part] = signs * image / scale - 1
    for rows in (slice(0, dimension), slice(dimension, None))[: 1 + (scale.shape[0] > dimension)]:
        plain[:, rows] -= _coefficients(plain[:, rows], control[:, rows])[:, None, None] * control[:, rows]
    error = np.std(plain, axis=0, ddof=1) / math.sqrt(probes)
    return np.mean(plain, axis=0) / scale**2, error / scale**2


def _coefficients(plain: FloatArray, control: FloatArray) -> FloatArray:
    """For each probe, the regression coefficient of plain on control over the other probes, (probes,).

    control has mean zero; taking the mean off plain as well only lowers the coefficient's noise.
    """

    def others(left: FloatArray, right: FloatArray) -> FloatArray:
        each = dots(left, right)
        return np.asarray(each.sum() - each)

    ones = np.ones_like(plain)
    products = others(plain, control) - others(plain, ones) * others(control, ones) / others(ones, ones)
    squares = others(control, control)
    return np.divide(products, squares, out=np.zeros_like(squares), where=squares > 0)


def _zero_modes(features: ResponseFeatures, ridge0: float) -> str:
    cause = zero_modes(features.shape, ridge0)
    return (
        cause and f"; {cause} leaves zero modes: the mean is the one of minimum norm, variances along them are infinite"
    )
