r"""Finite pools of tasks: the saddle point of `replica.pool`, elementwise over grids.

The pool's matrix R = (1/K) sum w w^T of K = kappa D tasks with covariance C has averages in closed form of one number,
xi(x) = 1/(1 + <c/(x + xi c)>/kappa), with <c_*/(r + x)> = <c_*/(x + xi c)>: no matrix is sampled; kappa = infinity is
xi = 1. For isotropic tasks xi solves a quadratic (R is then Marchenko-Pastur). With x = c0 + nu, c0 = (t + rho)/alpha,
the effective ridge nu is the only unknown,

    F(nu) = tau - 1 + nu <1/(r + c0 + nu)> - tau lam/nu = 0,

which rises in nu: one root, bracketed. nu = 0 solves the ridgeless limit only above tau = 1; taking it below is a known
mistake. All averages are written as sums of positive terms, so none loses digits. Source: LU, arXiv:2405.11751 for
isotropic pools; temperature: this project, notes/derivation.md; structured tasks: this project, notes/pools.md.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics import generated_numpy
from iclglass.numerics.fixed_point import bracketed_root
from iclglass.numerics.task_spectrum import ISOTROPIC, TaskSpectrum

__all__ = ["Spectrum", "balance_and_error", "direction_costs", "effective_ridge", "pool_saddle_point"]

Array = NDArray[np.float64]

_NEWTON_STEPS = 200


class Spectrum(Protocol):
    """What is needed of a `TaskSpectrum`; for derivatives, pretraining may be complex and have a row for each point."""

    @property
    def pretraining(self) -> Array: ...
    @property
    def test(self) -> Array: ...
    @property
    def weights(self) -> Array: ...
    @property
    def strength(self) -> float | Array: ...
    @property
    def test_strength(self) -> float: ...


@dataclass(frozen=True, eq=False)
class _Averages:
    """Averages over the pool at x, elementwise: <f> over its spectrum.

    inverse <1/(r+x)>, inverse2 <1/(r+x)^2>, linear <r/(r+x)>, linear2 <r/(r+x)^2>, square2 <r^2/(r+x)^2>,
    log <ln(r+x)>; along each direction of the covariance, with one more axis, inverse2_along and linear2_along; and
    tested_inverse, weighted by the test covariance.
    """

    inverse: Array
    inverse2: Array
    linear: Array
    linear2: Array
    square2: Array
    log: Array
    tested_inverse: Array
    inverse2_along: Array
    linear2_along: Array


def pool_saddle_point(
    tau: Array,
    alpha: Array,
    alpha_test: Array,
    rho: Array,
    lam: Array,
    temperature: Array,
    kappa: Array,
    *,
    spectrum: TaskSpectrum,
) -> dict[str, Array]:
    """Saddle point and observables of pools, for one-dimensional arrays of one length.

    Equation: stage ``pool`` of `iclglass derive`. Source: this project, notes/derivation.md.

    Parameters
    ----------
    tau, alpha, alpha_test, rho, lam, temperature
        As in `numerics.saddle_point.solve`, validated.
    kappa
        Distinct tasks K/D > 0, infinity included.
    spectrum
        Covariance of the tasks.

    Returns
    -------
    dict[str, Array]
        name -> array: the observables of `Solution`, residual and error_bound.
    """
    c0 = (spectrum.strength + rho) / alpha
    nu = effective_ridge(tau, lam, c0, kappa, spectrum)
    average = _averages(c0 + nu, kappa, spectrum)
    ridgeless_above = nu == 0
    omega = _omega(nu, average.inverse, tau, lam, above=ridgeless_above)
    values = _observables(nu, omega, average, tau, alpha, alpha_test, rho, spectrum)
    spread, response = values.pop("spread"), values.pop("gibbs_response")
    del values["costs"]
    volume = average.linear + c0 * average.inverse - average.log
    volume = np.log(2 * np.pi * temperature) + volume + (tau - 1) * np.log(omega)
    ground_state = (values["e_train"] + lam * values["q"]) / 2
    state = (ground_state, values["q"], values["chi"], values["e_icl"], response, volume, 1.0, temperature)
    values |= zip(generated_numpy.OUTPUTS["thermodynamics"], generated_numpy.thermodynamics(*state), strict=True)

    last = tau * lam / np.where(ridgeless_above, 1.0, nu)
    terms = np.abs(tau - 1) + nu * average.inverse + last
    residual = np.where(ridgeless_above, 0.0, np.abs(_balance(nu, average.inverse, tau, lam)) / terms)
    slope = nu * spread + last
    # |d ln(anything)/d ln(nu)| is at most 2/replicon: measured, tests/numerics/test_error_bounds.py.
    amplified = 2 * (1 + terms / np.where(slope > 0, slope, 1.0)) / values["replicon"]
    error_bound = (residual + 32 * np.finfo(np.float64).eps) * amplified
    return {**values, "contrast": values["m"] / np.sqrt(values["q"]), "residual": residual, "error_bound": error_bound}


def balance_and_error(
    nu: Array,
    tau: Array,
    alpha: Array,
    alpha_test: Array,
    rho: Array,
    lam: Array,
    kappa: Array,
    *,
    above: NDArray[np.bool_],
    spectrum: Spectrum = ISOTROPIC,
) -> tuple[Array, Array]:
    """F(nu) and e_icl as explicit functions of nu and the parameters; smooth on relative scales.

    On the saddle point F = 0. For derivatives: nu is held fixed while a parameter moves, so nothing is as steep as the
    peak at the interpolation threshold, which comes in through dnu alone. ``above`` (tau well above 1) chooses one
    of two functions that agree on F = 0; it stays the same while a derivative is taken.
    """
    average = _averages((spectrum.strength + rho) / alpha + nu, kappa, spectrum)
    omega = _omega(nu, average.inverse, tau, lam, above=above)
    error = _observables(nu, omega, average, tau, alpha, alpha_test, rho, spectrum)["e_icl"]
    return _balance(nu, average.inverse, tau, lam), error


def direction_costs(
    tau: Array, alpha: Array, rho: Array, lam: Array, kappa: Array, *, spectrum: TaskSpectrum
) -> tuple[Array, Array]:
    """k_* of `replica.pool` along each direction of the spectrum, shape (points, directions), and q.

    e_icl = rho + <c_* k_*> + (t_* + rho) q/alpha_*.
    """
    c0 = (spectrum.strength + rho) / alpha
    nu = effective_ridge(tau, lam, c0, kappa, spectrum)
    average = _averages(c0 + nu, kappa, spectrum)
    omega = _omega(nu, average.inverse, tau, lam, above=nu == 0)
    found = _observables(nu, omega, average, tau, alpha, alpha, rho, spectrum)
    return found["costs"], found["q"]


def _omega(nu: Array, inverse: Array, tau: Array, lam: Array, *, above: NDArray[np.bool_]) -> Array:
    """1 - <b/(b + nu)>/tau, which suits tau well above 1 and nu = 0, or lam/nu: equal where F = 0."""
    return np.where(above, (tau - 1 + nu * inverse) / tau, lam / np.where(nu > 0, nu, 1.0))


def _observables(
    nu: Array,
    omega: Array,
    average: _Averages,
    tau: Array,
    alpha: Array,
    alpha_test: Array,
    rho: Array,
    spectrum: Spectrum,
) -> dict[str, Array]:
    """Observables of the mean weights, costs, spread <b/(b + nu)^2> and gibbs_response d e_icl_gibbs/dT.

    The equations of `replica.pool` as sums of positive terms, with a test covariance; tests hold them against the
    derived integrals over a density, and against matrices.
    """
    c0 = (spectrum.strength + rho) / alpha
    x = c0 + nu
    spread = average.linear2 + c0 * average.inverse2
    replicon = omega + nu * spread / tau
    e_idg = (rho + x**2 * average.linear2 + c0 * average.square2) / replicon
    q = average.square2 + e_idg / tau * spread
    noise = (spectrum.test_strength + rho) / alpha_test
    costs = _costs(x, c0, e_idg / tau, average)
    return {
        "m": average.linear,
        "q": q,
        "chi": average.inverse / omega,
        "e_icl": rho + (spectrum.test * costs) @ spectrum.weights + noise * q,
        "costs": costs,
        "e_idg": e_idg,
        "e_train": e_idg * omega**2,
        "replicon": replicon,
        "spread": spread,
        "gibbs_response": (average.tested_inverse + noise * average.inverse) / omega,
    }


def _costs(x: Array, c0: Array, variance: Array, average: _Averages) -> Array:
    """What pretraining makes a unit of test variance cost along each direction, shape (points, directions).

    k_* of `replica.pool` averaged over pools: (1 - r/(r + x))^2 is x^2/(r + x)^2, and b = r + c0.
    """
    spread = average.linear2_along + c0[:, None] * average.inverse2_along
    return x[:, None] ** 2 * average.inverse2_along + variance[:, None] * spread


def _xi(x: Array, kappa: Array, spectrum: Spectrum) -> Array:
    """xi(x) = 1/(1 + <c/(x + xi c)>/kappa), its positive root, at x > 0."""
    c, weights = spectrum.pretraining, spectrum.weights
    if c.size == 1:
        b = x / c[0] + 1 / kappa - 1
        root = np.sqrt(b**2 + 4 * x / c[0])
        return np.where(b >= 0, 2 * x / c[0] / (b + root), (root - b) / 2)
    # In s = x/xi the equation is s - <c s/(s + c)>/kappa = x: convex, so Newton from the right cannot overshoot.
    s = x + spectrum.strength / kappa
    for _ in range(_NEWTON_STEPS):
        share = c / (s[:, None] + c)
        step = (s - s * (share @ weights) / kappa - x) / (1 - (share**2) @ weights / kappa)
        s = s - step
        # A few times the rounding of one step, below which the steps do not shrink any more.
        if np.all(np.abs(step) <= 64 * np.finfo(np.float64).eps * s):
            break
    return x / s


def _averages(x: Array, kappa: Array, spectrum: Spectrum) -> _Averages:
    xi = _xi(x, kappa, spectrum)
    c, tested, weights = spectrum.pretraining, spectrum.test, spectrum.weights
    pole = 1 / (x[:, None] + xi[:, None] * c)
    pole2 = pole**2
    first, second = (c * pole2) @ weights, (c**2 * pole2) @ weights
    # d xi/dx, by differentiating the equation for xi.
    slope = xi**2 * first / kappa / (1 - xi**2 * second / kappa)
    # ln xi + 1 - xi vanishes as 1/kappa^2; with u = 1/xi - 1 it is computed without cancellation in the leading term.
    u = (c * pole) @ weights / kappa
    surplus = np.where(np.isinf(kappa), 0.0, np.where(np.isinf(kappa), 1.0, kappa) * (np.log1p(u) - u / (1 + u)))
    inverse2 = (1 + slope[:, None] * c) * pole2
    linear2 = c * (xi - x * slope)[:, None] * pole2
    return _Averages(
        inverse=pole @ weights,
        inverse2=inverse2 @ weights,
        linear=xi * ((c * pole) @ weights),
        linear2=linear2 @ weights,
        square2=((xi[:, None] ** 2 * c**2 + (x**2 * slope)[:, None] * c) * pole2) @ weights,
        log=-np.log(pole) @ weights + surplus,
        tested_inverse=(tested * pole) @ weights,
        inverse2_along=inverse2,
        linear2_along=linear2,
    )


def _balance(nu: Array, inverse: Array, tau: Array, lam: Array) -> Array:
    """F(nu) of the module's docstring."""
    return tau - 1 + nu * inverse - tau * lam / nu


def effective_ridge(tau: Array, lam: Array, c0: Array, kappa: Array, spectrum: TaskSpectrum) -> Array:
    """The root nu of F; 0 in the ridgeless limit above tau = 1.

    Bracket: lam <= nu <= lam + <b>/tau, because 0 <= <b/(b + nu)> <= <b>/nu, and nu >= c0 (1 - tau)/tau.
    """
    lower = np.maximum(lam, c0 * (1 - tau) / tau)
    upper = lam + (spectrum.strength + c0) / tau
    open_points = lower > 0
    safe = np.where(open_points, lower, 1.0)

    def in_logarithm(u: Array, *arguments: Array) -> Array:
        tau, lam, c0, kappa = (np.broadcast_to(array, u.shape).ravel() for array in arguments)
        nu = np.exp(u.ravel())
        x = c0 + nu
        pole = 1 / (x[:, None] + _xi(x, kappa, spectrum)[:, None] * spectrum.pretraining)
        return _balance(nu, pole @ spectrum.weights, tau, lam).reshape(u.shape)

    # The bounds are attained in limits; a hair of slack keeps the sign change in spite of rounding.
    start, stop = np.log(safe) - 1e-9, np.log(np.where(open_points, upper, 2.0)) + 1e-9
    u, _ = bracketed_root(in_logarithm, start, stop, arguments=(tau, lam, c0, kappa))
    nu = np.exp(u)
    # One Newton step in nu removes the rounding of the logarithm.
    average = _averages(c0 + nu, kappa, spectrum)
    slope = average.linear2 + c0 * average.inverse2 + tau * lam / nu**2
    return np.where(open_points, nu - _balance(nu, average.inverse, tau, lam) / slope, 0.0)
