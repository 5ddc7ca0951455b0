"""Theory at finite dimension: solve_finite(...) over grids, solve_given_pool(...) for one pool of tasks.

The theory leaves one prompt out and keeps the size of its features as a random variable, and the last row of weights:
what remains neglected is of relative order 1/D^2. The equations are in `numerics.finite_own_tasks` (every prompt its
own task), `numerics.finite_pool` (pools of K tasks) and `numerics.finite_models` (other models than ridge regression);
their derivation and accuracy in notes/finite_size.md.
"""

from collections.abc import Callable, Mapping
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from iclglass.numerics.arguments import doubles
from iclglass.numerics.drawn_pools import POOL_LAWS
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.finite_dimension import large_enough
from iclglass.numerics.finite_own_tasks import solve_own_tasks
from iclglass.numerics.keywords import by_name, takes
from iclglass.numerics.last_row import LastRow
from iclglass.numerics.model_choice import is_builtin, refuse_unless_builtin
from iclglass.numerics.parameters import FLOW, Given, Parameters, collected
from iclglass.numerics.sizes import counts
from iclglass.numerics.solution import COUNTS, OBSERVABLES, Solution
from iclglass.numerics.status import Status

__all__ = ["solve_finite", "solve_finite_points", "solve_given_pool"]

Array = NDArray[np.float64]

_RESIDUAL_TOLERANCE = 1e-10


@by_name
def solve_finite(parameters: Parameters | None = None, /, **given: Unpack[Given]) -> Solution:
    r"""Means over data sets at finite dimension D; arrays broadcast (DataArrays by name), the dimension included.

    Equations: those of the module. Source: this project, notes/finite_size.md. At D -> infinity they become those of
    `numerics.saddle_point.solve`, with corrections in powers of 1/D. Names and scaling are those of
    `validation.observables` for what only exists at finite D. Pools take 0.1 s a point at D = 16 and 0.5 s at D = 64
    for kappa = 2 (error_bound says how exactly), own tasks 1 to 3 ms.

    Parameters
    ----------
    parameters : Parameters, optional
        Or its fields as keywords, with a dimension >= 4; K = round(kappa D) <= P. ridge = 0 diverges for P = D(D + 1),
        as many prompts as spins (P = D^2 without last row), and for fewer prompts than spins with N <= 2 tokens (a
        context can then be arbitrarily uninformative, and fitting its label exactly takes weights of infinite
        variance); for a single task without noise already from P = D^2.
    **given
        Fields of `Parameters`.

    Returns
    -------
    Solution

    Raises
    ------
    ParameterError, ParameterTypeError
        Bad input; the message names value, range and remedy.

    Examples
    --------
    >>> found = solve_finite(dimension=[10, 40], task_diversity=2.0, context_length=2.0, ridge=0.1)
    >>> found.prompts, found.context, np.round(found.e_icl, 2)
    (array([ 200, 3200]), array([20, 80]), array([0.71, 0.6 ]))
    """
    return solve_finite_points(collected(parameters, given))


def solve_finite_points(
    parameters: Parameters,
    *,
    pool: Array | None = None,
    pool_law: str = POOL_LAWS[0],
    token_correlation: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
) -> Solution:
    """`solve_finite` of an object; for a given ``pool`` of tasks, (K, D), `solve_given_pool`.

    ``pool_law``: of the pools that are averaged over, one of `numerics.drawn_pools.POOL_LAWS`; the new tasks of e_icl,
    and those of prompts that have their own, are Gaussian in any case. ``token_correlation``: length over which tokens
    of a prompt are correlated (`numerics.token_law`), in pretraining and test; the query is independent. Pools only.

    ``progress`` is called with (points done, points in all) of those with pools, which take time.
    """
    if pool is not None:
        refuse_unless_builtin(parameters, "the theory of a given pool")
    elif not is_builtin(parameters):
        from iclglass.numerics.model_points import solve_model_points  # brings SymPy

        large_enough(parameters)
        return solve_model_points(parameters)
    sizes = large_enough(parameters).reshape(-1)
    norm, layer, shape = parameters.norm, parameters.layer, parameters.shape
    flat = {name: array.reshape(-1) for name, array in parameters.scaled.items()}
    flat |= counts(flat, sizes, None if pool is None else pool.shape[0]) | {"dimension": sizes}
    flat["context_length"], flat["test_context_length"] = flat["context"], flat["test_context"]

    pooled = flat["task_count"] < np.inf
    if token_correlation > 0:
        if not pooled.all():
            raise ParameterError(
                f"token_correlation = {token_correlation:g} with distinct_tasks = inf: at finite D tokens may be "
                "correlated where tasks come from a pool; give distinct_tasks, or leave the dimension out"
            )
        flat["token_correlation"] = np.full(sizes.shape, token_correlation)
    names = (*_REAL, *(f"{name}_standard_error" for name in _REAL), "error_bound")
    result = {name: np.full(sizes.shape, np.nan) for name in names}
    diverges = _diverges(flat, layer)
    for chosen in (pooled, ~pooled):
        members = np.flatnonzero(chosen & ~diverges)
        if not members.size:
            continue
        part = {name: array[members] for name, array in flat.items()}
        with np.errstate(all="ignore"):
            if chosen is pooled:
                from iclglass.numerics.finite_pool import average_over_pools  # slow to import, for pools alone

                found = average_over_pools(part, norm, layer, progress, pool, pool_law)
            else:
                found = solve_own_tasks(part, norm, layer)
        for name, array in found.items():
            result[name][members] = array
    arrays: dict[str, Any] = {**result, "status": _judge(result, diverges)}
    errors = {name: arrays.pop(f"{name}_standard_error").reshape(shape)[()] for name in _REAL}
    flat["task_count"] = np.where(pooled, flat["task_count"], flat["prompts"])
    arrays |= {name: flat[name].astype(np.int64) for name in (*COUNTS, "dimension")}
    arrays = {name: array.reshape(shape)[()] for name, array in arrays.items()}
    return Solution(parameters, **arrays, standard_errors=errors)


@by_name
@takes(*FLOW, "temperature", "norm", "last_feature", "last_row")
def solve_given_pool(tasks: ArrayLike, **given: Unpack[Given]) -> Solution:  # type: ignore[misc]
    r"""Means over data sets that share one given pool of tasks.

    Equations: `numerics.finite_pool`. Source: this project, notes/finite_size.md.

    Parameters
    ----------
    tasks : array_like
        (K, D), one task a row, K <= P, D >= 4; isotropic tasks of the theory have entries of variance 1.
    task_diversity, context_length, label_noise, ridge, temperature, test_context_length, norm, last_feature, last_row
        As in `numerics.parameters.Parameters`.

    Returns
    -------
    Solution
        Arrays of the parameters' shape. e_icl is the error on new tasks, Gaussian and isotropic; e_idg that on new
        prompts of the given tasks. Nothing is drawn: error_bound is NaN.

    Raises
    ------
    ParameterError, ParameterTypeError
        Bad input; the message names value, range and remedy.

    Examples
    --------
    >>> pool = np.random.default_rng(0).standard_normal((5, 10))
    >>> found = solve_given_pool(pool, task_diversity=2.0, context_length=2.0)
    >>> found.task_count, bool(found.e_idg < found.e_icl), round(float(found.e_idg), 3)
    (np.int64(5), True, 0.249)
    """
    pool = doubles("tasks", tasks)
    if pool.ndim != 2 or pool.shape[0] == 0 or not np.isfinite(pool).all():
        raise ParameterError(f"tasks must be finite and have shape (K, D) with K >= 1, not {pool.shape}")
    if not pool.any():
        raise ParameterError("tasks are all zero: such a pool teaches nothing; give at least one task that is not")
    return solve_finite_points(Parameters.of({**given, "dimension": pool.shape[1]}), pool=pool)


_REAL = tuple(name for name in (*OBSERVABLES, "last_row", "residual"))


def _diverges(flat: Mapping[str, Array], layer: LastRow) -> NDArray[np.bool_]:
    """The ridgeless theory has no solution there: see `solve_finite`."""
    spins = flat["dimension"] * (flat["dimension"] + layer.last_row)
    few = (flat["prompts"] < spins) & (flat["context_length"] <= 2)
    # u.w and v are proportional: one direction of D + 1 has no features.
    single = (flat["task_count"] == 1) & (flat["label_noise"] == 0) & (flat["prompts"] >= flat["dimension"] ** 2)
    single &= layer.last_row
    return np.asarray((flat["ridge"] == 0) & ((flat["prompts"] == spins) | few | single))


def _judge(values: Mapping[str, Array], diverges: NDArray[np.bool_]) -> NDArray[np.int8]:
    """Status codes; blanks what failed."""
    status = np.full(diverges.shape, Status.CONVERGED, dtype=np.int8)
    status[~(values["residual"] <= _RESIDUAL_TOLERANCE)] = Status.NOT_CONVERGED
    status[~(np.isfinite(values["e_icl"]) & (values["q"] > 0) & (values["replicon"] > 0))] = Status.NOT_FINITE
    status[diverges] = Status.DIVERGES
    failed = status != Status.CONVERGED
    for array in values.values():
        array[failed] = np.nan
    return status
