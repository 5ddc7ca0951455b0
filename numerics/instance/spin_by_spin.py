r"""Message passing on the pairs of spins: with the reaction term (TAP), and without, as SG publish it.

With everything divided by beta (v_i = beta Var(sigma_i), so that beta drops out of the equations) and J, h, lambda_i
of `spin_glass`,

    V_i = sum_{j != i} J_ij^2 v_j,   v_i = 1/(lambda_i - V_i)
    published   m_i = v_i (h_i + sum_{j != i} J_ij m_j)                 (SG, the iteration of the published code)
    tap         m_i = v_i (h_i + sum_{j != i} J_ij m_j - V_i m_i)       (Thouless, Anderson, Palmer 1977)

The fixed point of `tap` is the exact mean A^{-1} h; that of `published` is (A - diag V)^{-1} h, the means at a ridge
that is too small by V_i on every spin. The variances of both are those of couplings with independent entries; J is a
Gram matrix, so they keep a bias at D -> infinity, and below tau = 4/(1 + lam/a)^2 (for lam > a: a/lam) they do not
exist. Derivations: this project, notes/message_passing.md. J^2 (entry by entry) is stored, n x n; J is applied matrix
free.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.arguments import check_generator, check_real, check_solver
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.instance.data import Instance
from iclglass.numerics.instance.krylov import relative_residual
from iclglass.numerics.instance.solution import InstanceSolution, diverged_solution, pack_solution
from iclglass.numerics.instance.spin_glass import energy, hessian
from iclglass.numerics.instance.stability import best_damping, damped_radius, spin_by_spin_edges

__all__ = ["published", "spin_by_spin_variances", "squared_couplings", "tap"]

FloatArray = NDArray[np.float64]

_LARGEST = 5000
"""Spins at the most: the squared couplings are stored, 200 MB there."""
_VARIANCE_STEPS = 20_000
_VARIANCE_CHANGE = 1e-14
_LOST = 1e30
"""Mean squared change at which the published iteration is stopped as diverging."""
_NO_VARIANCES = (
    "v = 1/(lambda - V(v)) has no positive solution, so no damping helps (at large D: tau below 4/(1 + lam/a)^2, "
    "or for lam > a below a/lam): use method 'gamp'"
)


def tap(
    instance: Instance,
    *,
    ridge0: float,
    beta: float,
    tolerance: float = 1e-12,
    max_iterations: int = 20_000,
    damping: float | None = None,
) -> InstanceSolution:
    """Means and variances by spin-by-spin message passing with the reaction term; module's docstring for equations.

    instance : of at most 5000 spins (D <= 70).    ridge0, beta : lambda0 >= 0 and beta > 0, unscaled.
    tolerance : converged when |h - A m|/|h| is at most this.    max_iterations : steps of the means at the most.
    damping : weight of the old means in [0, 1). Default: the one of least spectral radius, from the extreme eigenvalues
        of the iteration; it always converges where the variances exist.

    log_partition is that of Thouless, Anderson and Palmer, to second order in J; spectral_radius is always computed;
    DIVERGES where there are no variances, or the damping given is too small. Raises ParameterError or
    ParameterTypeError for a value out of range or too many spins.

    >>> rng = np.random.default_rng(1)
    >>> data = Instance(rng.normal(size=(200, 4)), rng.normal(size=(200, 3)), rng.normal(size=200))
    >>> solution = tap(data, ridge0=0.1, beta=10.0)
    >>> solution.status.name, solution.residual < 1e-12
    ('CONVERGED', True)
    """
    ridge0, beta, tolerance, limit = check_solver(ridge0, beta, tolerance, max_iterations)
    if damping is not None:
        damping = check_real("damping", damping, minimum=0.0, maximum=1.0)
    squared = squared_couplings(instance)
    features, count = instance.features.in_double(), instance.prompts
    onsite = ridge0 + features.diagonal()
    variance = spin_by_spin_variances(squared, onsite)
    point: dict[str, Any] = {"ridge0": ridge0, "beta": beta}
    if variance is None:
        return diverged_solution("tap", onsite.shape, reason=_NO_VARIANCES, **point)
    low, high = spin_by_spin_edges(instance, ridge0=ridge0, scaled_variance=variance, reaction=True)
    weight = best_damping(low, high) if damping is None else damping
    radius = damped_radius(low, high, weight)
    if radius >= 1:
        reason = f"spectral radius {radius:.4f} at damping {weight:.2g}: use damping=None, or a larger one"
        return diverged_solution("tap", onsite.shape, reason=reason, radius=radius, **point)
    history: list[float] = []
    scale = float(np.linalg.norm(instance.fields)) or 1.0
    mean = np.zeros_like(onsite)
    for _ in range(limit):
        force = features.adjoint(instance.label - features.predict(mean)) / count - ridge0 * mean
        # v (h + J m - V m) - m = v (h - A m): the undamped step is the residual
        mean = mean + (1 - weight) * variance * force
        history.append(float(np.linalg.norm(force)) / scale)
        if history[-1] <= tolerance:
            break
    residual = relative_residual(instance, mean, ridge0)
    ended = residual <= tolerance
    steps = f"residual {residual:.1e} after {len(history)} steps with damping {weight:.2g}"
    pairs = float(np.sum(variance.ravel() * (squared @ variance.ravel())))
    logs = np.sum(np.log(2 * math.pi * variance / beta) + 1 - onsite * variance)
    return pack_solution(
        "tap",
        mean=mean,
        variance=variance / beta,
        log_partition=float(logs) / 2 + pairs / 4 - beta * energy(instance, mean, ridge0),
        residual=residual,
        converged=ended,
        reason=steps if ended else f"{steps}: allow more steps, or use method 'gamp'",
        history=history,
        radius=radius,
        **point,
    )


def published(
    instance: Instance,
    *,
    ridge0: float,
    beta: float,
    damping: float = 0.9,
    tolerance: float = 1e-6,
    max_iterations: int = 100,
    rng: np.random.Generator | None = None,
) -> InstanceSolution:
    """SG's iteration as its published code runs it, without the reaction term: biased, kept to reproduce its numbers.

    Means and variances are updated together, x <- damping x + (1 - damping) f(x), from f of the old state. It stops
    when the mean squared f(m) - m and f(v) - v, over the (D+1)^2 spins and in v unscaled, add up to ``tolerance`` or
    less, or after max_iterations. The masked spins have no couplings: they are returned at their limits, 0 and
    1/(beta lambda0).

    instance : of at most 5000 spins (D <= 70).    ridge0, beta : lambda0 > 0 and beta > 0, unscaled.
    damping : weight of the old state in [0, 1).    Defaults of damping, tolerance and max_iterations are SG's.
    rng : draws the start, all means and variances standard normal as in the published code (variances may start
        negative). Default: means 0, v = 1/lambda_i, and no randomness.

    residual is |h - A m|/|h|, which stays finite at its fixed point: it shows the bias. history is the sum of mean
    squared changes. spectral_radius is that of the means at the variances' fixed point: DIVERGES where it is >= 1 or
    the variances have no fixed point, unless SG's rule stopped it before. Raises as `tap`.

    >>> rng = np.random.default_rng(1)
    >>> data = Instance(rng.normal(size=(300, 4)), rng.normal(size=(300, 3)), rng.normal(size=300))
    >>> solution = published(data, ridge0=0.1, beta=10.0)
    >>> solution.status.name, solution.residual > 1e-3
    ('CONVERGED', True)
    """
    ridge0, beta, tolerance, limit = check_solver(ridge0, beta, tolerance, max_iterations)
    check_real("ridge0", ridge0, minimum=0.0, above=True)
    damping = check_real("damping", damping, minimum=0.0, maximum=1.0)
    check_generator(rng)
    squared = squared_couplings(instance)
    features, count = instance.features.in_double(), instance.prompts
    diagonal = features.diagonal()
    onsite, shape = ridge0 + diagonal, diagonal.shape
    spins = shape[0] * (shape[1] + 1)
    masked = np.array([0.0, 1 / ridge0])[:, None] * np.ones(shape[0])  # targets of the masked spins
    state = np.array([np.zeros(shape), 1 / onsite])  # means, scaled variances
    rest = masked.copy()
    if rng is not None:
        start = rng.standard_normal((2, shape[0], shape[1] + 1)) * np.array([1.0, beta])[:, None, None]
        state, rest = start[:, :, :-1], start[:, :, -1]
    units = np.array([1.0, 1 / beta**2])  # squares of means, of unscaled variances
    history: list[float] = []
    with np.errstate(all="ignore"):
        for _ in range(limit):
            mean, variance = state
            field = features.adjoint(instance.label - features.predict(mean)) / count + diagonal * mean
            new_variance = 1 / (onsite - (squared @ variance.ravel()).reshape(shape))
            change = np.array([new_variance * field, new_variance]) - state
            change_masked = masked - rest
            history.append(float(units @ (np.sum(change**2, axis=(1, 2)) + np.sum(change_masked**2, axis=1))) / spins)
            state, rest = state + (1 - damping) * change, rest + (1 - damping) * change_masked
            if not tolerance < history[-1] < _LOST:
                break
    mean, variance = state
    limit_variance = spin_by_spin_variances(squared, onsite)
    radius, reason = math.nan, _NO_VARIANCES
    if limit_variance is not None:
        low, high = spin_by_spin_edges(instance, ridge0=ridge0, scaled_variance=limit_variance, reaction=False)
        radius = damped_radius(low, high, damping)
        reason = f"spectral radius {radius:.4f} at damping {damping:.2g}"
        reason += ", an eigenvalue above 1 that no damping moves: use method 'gamp'" if high >= 1 else ""
    ended = history[-1] <= tolerance
    sound = bool(np.all(np.isfinite(state)) and np.all(variance > 0))
    point: dict[str, Any] = {"ridge0": ridge0, "beta": beta, "radius": radius, "history": history}
    if not sound or not (ended or radius < 1):
        return diverged_solution("published", onsite.shape, reason=reason, **point)
    return pack_solution(
        "published",
        mean=mean,
        variance=variance / beta,
        residual=relative_residual(instance, mean, ridge0),
        converged=ended,
        reason=f"last mean squared change {history[-1]:.1e} after {len(history)} steps; {reason}",
        **point,
    )


def squared_couplings(instance: Instance) -> FloatArray:
    """J_ij^2, (n, n), zero on the diagonal."""
    spins = instance.spins
    if spins > _LARGEST:
        raise ParameterError(
            f"{spins} spins: the squared couplings would take {8e-9 * spins**2:.1f} GB; at most {_LARGEST} spins, or "
            "use method 'gamp', which stores no couplings"
        )
    couplings = hessian(instance)
    np.square(couplings, out=couplings)
    np.fill_diagonal(couplings, 0.0)
    return couplings


def spin_by_spin_variances(squared: FloatArray, onsite: FloatArray) -> FloatArray | None:
    """The least positive solution v of v_i = 1/(lambda_i - sum_j J_ij^2 v_j), shape of lambda; None if there is none.

    From v = 1/lambda the iteration increases from spin to spin, so it converges to the least solution if there is one,
    and reaches a denominator <= 0 if there is none. (At the threshold itself it does neither: None.)
    """
    variance = 1 / onsite
    for _ in range(_VARIANCE_STEPS):
        precision = onsite - (squared @ variance.ravel()).reshape(onsite.shape)
        if not np.all(precision > 0):
            return None
        change = float(np.max(np.abs(1 / (precision * variance) - 1)))
        variance = 1 / precision
        if change <= _VARIANCE_CHANGE:
            return variance
    return None
