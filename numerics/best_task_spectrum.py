"""best_task_spectrum(...): the pretraining spectrum with the least error on tasks of a given one, certified."""

from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.arguments import check_count
from iclglass.numerics.error_shares import OF_SPECTRA
from iclglass.numerics.errors import ConvergenceError, ParameterError
from iclglass.numerics.keywords import takes
from iclglass.numerics.parameters import PARAMETERS, Given, Parameters
from iclglass.numerics.pool import balance_and_error, effective_ridge
from iclglass.numerics.task_spectrum import TaskSpectrum

__all__ = ["BestTaskSpectrum", "best_task_spectrum"]

Array = NDArray[np.float64]

_STEP = 1e-30
"""Of complex-step derivatives, in units of the mean eigenvalue: nothing is subtracted, so it may be this small."""
_GAP = 1e-6
"""Largest gap of what is called a minimum, relative to e_icl."""
_EMPTY = 1e-9
"""Share of the variance below which a direction is tried without any."""
_APART = 1e-3
"""Largest difference of the variances' shares from which two minima are two."""
_ITERATIONS = 200


@dataclass(frozen=True, eq=False)
class BestTaskSpectrum:
    """The best pretraining spectrum, and what certifies it.

    Attributes
    ----------
    tasks
        with the best pretraining eigenvalues; test eigenvalues and weights are those that were given.
    e_icl
        the error there.
    slope
        d e_icl/d variance along each direction, where variance is weight times pretraining eigenvalue. At a minimum it
        is the same in all directions that have some, and not less where there is none.
    gap
        trace times (the slope averaged over the variance less the least slope) >= 0: 0 where these conditions hold. If
        e_icl is convex in the spectrum, no spectrum of this trace is better by more.
    minima
        e_icl at the distinct minima that were found from all starts, ascending; the first is this one.
    """

    tasks: TaskSpectrum
    e_icl: float
    slope: Array
    gap: float
    minima: Array


@takes(*OF_SPECTRA)
def best_task_spectrum(*, starts: int = 8, **given: Unpack[Given]) -> BestTaskSpectrum:
    """The spectrum of pretraining tasks with the least e_icl, among those of the same trace.

    Minimises e_icl over eigenvalues c >= 0 with a given mean, by sequential quadratic programming (scipy's SLSQP) with
    derivatives that are exact to rounding, from several starts, and checks the conditions of Karush, Kuhn and Tucker.
    Source of the error: Letey et al., arXiv:2509.26551, and stage ``pool`` of `iclglass derive`; the optimum: this
    project, notes/pools.md.

    Parameters
    ----------
    starts
        spectra to start from, >= 1: that of the test, flat, that given as ``tasks.pretraining``, then random ones, the
        same in every call.
    tasks
        test eigenvalues and weights, kept; of ``pretraining`` only the mean is, and it is a start.
    task_diversity, context_length, distinct_tasks, label_noise, ridge, test_context_length
        of one point, as in `numerics.parameters.Parameters`; as D -> infinity.

    Returns
    -------
    BestTaskSpectrum

    Raises
    ------
    ParameterError, ParameterTypeError
        as `solve`; more than one point; task_diversity 1 without ridge, where every error is infinite.
    ConvergenceError
        no start ended where the conditions hold.

    Examples
    --------
    >>> tasks = TaskSpectrum.from_eigenvalues([1.0, 1.0, 1.0], test=[2.5, 0.4, 0.1])
    >>> best = best_task_spectrum(task_diversity=2, context_length=2, distinct_tasks=4, tasks=tasks)
    >>> best.tasks.pretraining.round(3).tolist(), best.minima.size
    ([2.764, 0.236, 0.0], 1)
    """
    from scipy.optimize import minimize

    starts = check_count("starts", starts, minimum=1)
    parameters = Parameters.of(given)
    if parameters.shape:
        raise ParameterError(f"the parameters are of {parameters.task_diversity.size} points: give those of one")
    if parameters.task_diversity == 1 and parameters.ridge == 0:
        raise ParameterError(
            "task_diversity = 1 with ridge = 0 has an infinite error for every spectrum: take ridge > 0"
        )
    error = _Error(parameters)
    scale = error(error.given)[0]

    def scaled(share: Array) -> Any:
        value, slope = error(share)
        return value / scale, slope / scale

    found: list[tuple[float, Array, Array, float]] = []
    options: dict[str, Any] = {
        "jac": True,
        "method": "SLSQP",
        "bounds": [(0, 1)] * error.test.size,
        "constraints": {"type": "eq", "fun": lambda share: share.sum() - 1, "jac": np.ones_like},
        "options": {"ftol": 1e-14, "maxiter": _ITERATIONS},
    }
    for start in _starts(error, starts):
        ended = minimize(scaled, start, **options)
        share = np.clip(ended.x, 0, None)
        share = np.where(share < _EMPTY, 0, share)
        share /= share.sum()
        value, slope = error(share)
        gap = max(float(share @ slope - slope.min()), 0.0)
        if gap <= _GAP * value:
            found.append((value, share, slope, gap))
    if not found:
        raise ConvergenceError(
            f"none of {starts} starts ended at a minimum over spectra: take more starts, fewer directions or a ridge"
        )
    found.sort(key=lambda each: each[0])
    distinct: list[tuple[float, Array, Array, float]] = []
    for each in found:
        if all(np.abs(each[1] - other[1]).max() > _APART for other in distinct):
            distinct.append(each)
    value, share, slope, gap = distinct[0]
    return BestTaskSpectrum(
        tasks=TaskSpectrum(error.eigenvalues(share), error.test, error.weights),
        e_icl=value,
        slope=slope / error.trace,
        gap=gap,
        minima=np.array([each[0] for each in distinct]),
    )


@dataclass(frozen=True, eq=False)
class _Varied:
    """A spectrum for each point, moved into the complex plane: what `numerics.pool.Spectrum` needs."""

    pretraining: Array
    test: Array
    weights: Array
    test_strength: float

    @property
    def strength(self) -> Array:
        return self.pretraining @ self.weights


class _Error:
    """e_icl of one point as a function of each direction's share of the variance, with its derivative."""

    def __init__(self, parameters: Parameters) -> None:
        spectrum = parameters.tasks
        self.test, self.weights, self.trace = spectrum.test, spectrum.weights, spectrum.strength
        self.test_strength = spectrum.test_strength
        self.given = self.weights * spectrum.pretraining / self.trace
        self.point = {name: parameters.scaled[name].reshape(1) for name in PARAMETERS}

    def eigenvalues(self, share: Array) -> Array:
        return share * self.trace / self.weights

    def __call__(self, share: Array) -> tuple[float, Array]:
        """e_icl and its derivative; the effective ridge nu is differentiated implicitly, F(nu, c) = 0."""
        spectrum = TaskSpectrum(self.eigenvalues(np.clip(share, 0, None)), self.test, self.weights)
        tau, alpha, rho, lam = (
            self.point[name] for name in ("task_diversity", "context_length", "label_noise", "ridge")
        )
        kappa = self.point["distinct_tasks"]
        nu = effective_ridge(tau, lam, (spectrum.strength + rho) / alpha, kappa, spectrum)
        # One row for each direction that moves, and one for nu; their functions are analytic.
        size = share.size
        moved = np.concatenate([np.diag(self.eigenvalues(np.ones(size))), np.zeros((1, size))])
        pretraining: Any = spectrum.pretraining + 1j * _STEP * moved
        moving_nu: Any = nu * (1 + 1j * _STEP * np.append(np.zeros(size), 1.0))
        with np.errstate(all="ignore"):
            balance, error = balance_and_error(
                moving_nu,
                tau,
                alpha,
                self.point["test_context_length"],
                rho,
                lam,
                kappa,
                above=(tau > 2) | (nu == 0),
                spectrum=_Varied(pretraining, self.test, self.weights, self.test_strength),
            )
        slopes, balances = np.imag(error) / _STEP, np.imag(balance) / _STEP
        slope = slopes[:-1]
        if nu[0] > 0:
            slope = slope - slopes[-1] * balances[:-1] / balances[-1]
        return float(np.real(error[0])), slope


def _starts(error: _Error, count: int) -> list[Array]:
    size = error.test.size
    flat = np.array(error.weights / error.weights.sum())
    tested = error.weights * error.test
    first = [tested / tested.sum()] if tested.any() else []
    rng = np.random.default_rng(0)
    drawn = rng.dirichlet(np.full(size, 0.5), size=count)
    return [*first, flat, error.given, *drawn][:count]
