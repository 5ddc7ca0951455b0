"""error_shares(...): what the error on new tasks is made of, one direction of their covariance at a time."""

from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.keywords import takes
from iclglass.numerics.parameters import Given, Parameters
from iclglass.numerics.pool import direction_costs
from iclglass.numerics.saddle_point import solve_points
from iclglass.numerics.solution import Arrays

__all__ = ["OF_SPECTRA", "ErrorShares", "error_shares"]

Array = NDArray[np.float64]

OF_SPECTRA = (
    *("task_diversity", "context_length", "distinct_tasks", "label_noise", "ridge"),
    *("test_context_length", "tasks"),
)


@dataclass(frozen=True, eq=False)
class ErrorShares(Arrays):
    """e_icl = noise + the sum of share over directions; of share, pretrained is what a longer test context leaves.

    Arrays of the broadcast shape of the parameters, those along directions with one more axis, the last, in the order
    of ``tasks``. A point that failed is NaN and its status says why.

    Attributes
    ----------
    e_icl, noise
        squared error on a new task, and the part of it that is there without any task, from label noise.
    share, pretrained
        part of e_icl that each direction costs, and the part of it that pretraining fixes.
    cost
        d pretrained/d variance, where variance is weight times test eigenvalue: what pretraining makes a unit of test
        variance cost along each direction, also where there is none.
    status
        codes of `numerics.status.Status`.
    """

    e_icl: Array
    noise: Array
    share: Array
    pretrained: Array
    cost: Array
    status: NDArray[np.int8]


@takes(*OF_SPECTRA)
def error_shares(**given: Unpack[Given]) -> ErrorShares:
    """The share of e_icl that each test direction costs, and what of it pretraining fixes; arrays broadcast.

    Equation: with eigenvalues c_* of the test covariance, mean t_*, in directions of weight p,

        e_icl = rho + sum_i p_i c_*i (k_i + q/alpha_*) + rho q/alpha_*

    where the k_i > 0 depend on pretraining alone (stage ``pool`` of `iclglass derive`, averaged over pools): what the
    weights do not predict of a task in direction i, and their fluctuations. q/alpha_* is the noise of the test prompt's
    finite context, alike for all directions. Source: Letey et al., arXiv:2509.26551 (linear in the test covariance),
    here with ridge and any context length of the test.

    Parameters
    ----------
    task_diversity, context_length, distinct_tasks, label_noise, ridge, test_context_length, tasks
        as in `numerics.parameters.Parameters`; as D -> infinity.

    Returns
    -------
    ErrorShares

    Raises
    ------
    ParameterError, ParameterTypeError
        as `solve`, and DataArrays.

    Examples
    --------
    >>> from iclglass import TaskSpectrum
    >>> tasks = TaskSpectrum.from_eigenvalues([1.9, 0.1], test=[1.0, 1.0])
    >>> found = error_shares(task_diversity=2, context_length=2, distinct_tasks=4, tasks=tasks)
    >>> found.share.round(3).tolist(), bool(np.isclose(found.noise + found.share.sum(), found.e_icl))
    ([0.18, 0.584], True)
    """
    parameters = Parameters.of(given)
    solution = solve_points(parameters)
    spectrum, scaled = parameters.tasks, parameters.scaled
    names = ("task_diversity", "context_length", "label_noise", "ridge", "distinct_tasks")
    rho, alpha_test = (scaled[name].reshape(-1) for name in ("label_noise", "test_context_length"))
    variance = spectrum.weights * spectrum.test
    with np.errstate(all="ignore"):
        cost, q = direction_costs(*(scaled[name].reshape(-1) for name in names), spectrum=spectrum)
        arrays: dict[str, Any] = {
            "noise": rho * (1 + q / alpha_test),
            "share": variance * (cost + (q / alpha_test)[:, None]),
            "pretrained": variance * cost,
            "cost": cost,
        }
    failed = ~np.reshape(solution.solved, -1)
    for name, array in arrays.items():
        array[failed] = np.nan
        arrays[name] = array.reshape(parameters.shape + array.shape[1:])[()]
    return ErrorShares(e_icl=solution.e_icl, status=solution.status, **arrays)
