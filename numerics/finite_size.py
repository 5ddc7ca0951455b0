"""Theory at finite dimension: solve_finite(...) over grids, solve_given_pool(...) for one pool of tasks.

The theory leaves one prompt out and keeps the size of its features as a random variable, and the last row of weights:
what remains neglected is of relative order 1/D^2. The equations are in `numerics.finite_own_tasks` (every prompt its
own task) and `numerics.finite_pool` (pools of K tasks); their derivation and accuracy in notes/finite_size.md.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from iclglass.numerics.arguments import check_choice, doubles, real_array
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.finite_own_tasks import solve_own_tasks
from iclglass.numerics.fixed_point import Status
from iclglass.numerics.last_row import UNIT_TOKENS, LastRow
from iclglass.numerics.parameters import broadcast, by_name
from iclglass.numerics.sizes import NORMS, counts
from iclglass.numerics.solution import Solution

__all__ = [
    "MINIMUM_DIMENSION",
    "FiniteSizeSolution",
    "solve_finite",
    "solve_finite_points",
    "solve_given_pool",
    "whole_dimensions",
]

Array = NDArray[np.float64]

MINIMUM_DIMENSION = 4
"""Below it the neglected terms, of relative order 1/D^2, are as large as the 1/D terms kept."""

_RESIDUAL_TOLERANCE = 1e-10


@dataclass(frozen=True, eq=False)
class FiniteSizeSolution(Solution):
    """The finite-size theory at every point of a grid.

    All arrays have the broadcast shape of the parameters and of the dimension; names and scaling are those of
    `numerics.solution.Solution`, and of `validation.observables` for what only exists at finite D (the measure of
    ln Z; the contrast ratio over the whole matrix). A point that failed is NaN, its status says why. chi is
    infinite for lam = 0 and fewer prompts than spins.

    Attributes:
        m, q, q_self, chi: order parameters; q and chi are of the D x D block.
        e_icl, e_icl_gibbs, e_idg, e_train: squared errors. Without a pool of tasks every prompt has a new task, and
            e_idg is e_icl at the pretraining context length.
        contrast: m D/sqrt((D + 1)(D q + D v_2)) (SG Fig. 4a), a ratio of means; without last row m/sqrt(q), over the
            D x D block.
        free_energy, energy, entropy: -(T/D^2) ln Z over sqrt(D) W and D s W_last, s the size of the last feature; <H>;
            (energy - free_energy)/T.
        replicon: 1 - largest eigenvalue of the response of (v_1, v_2) to itself; the replicon at D -> infinity.
        last_row: |W_last|^2 = D v_2; 0 without last row.
        residual: largest relative residual of the equations for g_1 and g_2.
        error_bound: where pools are averaged over, half of the widest relative 95 % interval of m, q, e_icl, e_idg
            and e_train; else not known, NaN.
        status: codes of `numerics.status.Status`.
        prompts, context, task_count, dimension: the integers P = round(tau D^2), N = round(alpha D), K = round(kappa D)
            and D used; K = P where every prompt has its own task.
        standard_errors: name -> standard error of that quantity from averaging over pools; NaN where nothing is.
    """

    last_row: Array
    prompts: NDArray[np.int64]
    context: NDArray[np.int64]
    task_count: NDArray[np.int64]
    dimension: NDArray[np.int64]
    standard_errors: Mapping[str, Array]

    def to_dict(self) -> dict[str, Array]:
        """Name -> array, in the order of the attributes; without the standard errors."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "standard_errors"}


@by_name
def solve_finite(
    *,
    dimension: ArrayLike,
    task_diversity: ArrayLike,
    context_length: ArrayLike,
    distinct_tasks: ArrayLike = np.inf,
    label_noise: ArrayLike = 0.0,
    ridge: ArrayLike = 0.1,
    temperature: ArrayLike = 0.0,
    test_context_length: ArrayLike | None = None,
    norm: str = "N",
    last_feature: str = "unit-tokens",
    last_row: bool = True,
) -> FiniteSizeSolution:
    r"""Means over data sets at finite dimension D; arrays broadcast (DataArrays by name), the dimension included.

    Equations: those of the module. Source: this project, notes/finite_size.md. At D -> infinity they become those of
    `numerics.saddle_point.solve`, with corrections in powers of 1/D.

    Args:
        dimension: D, whole, >= 4.
        task_diversity: tau > 0; P = round(tau D^2) prompts.
        context_length: alpha > 0; N = round(alpha D) labelled tokens.
        distinct_tasks: kappa > 0; a pool of K = round(kappa D) <= P tasks, new for every data set; inf: every prompt
            has its own task. Pools take 0.1 s a point at D = 16 and 0.5 s at D = 64 for kappa = 2
            (error_bound says how exactly), own tasks 1 to 3 ms.
        label_noise: rho >= 0.
        ridge: lam = D lambda0 >= 0. 0 is the ridgeless limit; it diverges for P = D(D + 1), as many prompts as spins
            (P = D^2 without last row), and for fewer prompts than spins with N <= 2 tokens (a context can then be
            arbitrarily uninformative, and fitting its label exactly takes weights of infinite variance); for a single
            task without noise already from P = D^2.
        temperature: T = D^2/beta >= 0.
        test_context_length: N/D of the test prompts, for e_icl and e_icl_gibbs; default as in pretraining.
        norm: divisor of the attention sum, "N" or "N+1".
        last_feature: size of the mean squared label, "unit-tokens" (SG) or "scaled-tokens" (LU: 1/sqrt(D) smaller).
        last_row: False: no weights multiply the mean squared label, W is D x D.

    Returns:
        `FiniteSizeSolution`, arrays of the broadcast shape.

    Raises:
        ParameterError, ParameterTypeError: bad input; the message names value, range and remedy.

    Examples:
        >>> found = solve_finite(dimension=[10, 40], task_diversity=2.0, context_length=2.0, ridge=0.1)
        >>> found.prompts, found.context, np.round(found.e_icl, 2)
        (array([ 200, 3200]), array([20, 80]), array([0.71, 0.6 ]))
    """
    given = {
        "task_diversity": task_diversity,
        "context_length": context_length,
        "distinct_tasks": distinct_tasks,
        "label_noise": label_noise,
        "ridge": ridge,
        "temperature": temperature,
        "test_context_length": test_context_length,
    }
    layer = LastRow(last_feature, last_row)
    return solve_finite_points(given, dimension=dimension, norm=norm, layer=layer)


def solve_finite_points(
    given: Mapping[str, ArrayLike | None],
    *,
    dimension: ArrayLike,
    norm: str = "N",
    layer: LastRow = UNIT_TOKENS,
    pool: Array | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> FiniteSizeSolution:
    """`solve_finite` with its parameters as a mapping; for a given ``pool`` of tasks, (K, D), `solve_given_pool`.

    ``progress`` is called with (points done, points in all) of those with pools, which take time.
    """
    check_choice("norm", norm, NORMS)
    parameters = broadcast(given)
    sizes = whole_dimensions(dimension)
    try:
        shape = np.broadcast_shapes(sizes.shape, parameters["ridge"].shape)
    except ValueError as error:
        raise ParameterError(
            f"dimension {sizes.shape} does not broadcast with the parameters' shape {parameters['ridge'].shape}"
        ) from error
    sizes = np.broadcast_to(sizes, shape).reshape(-1)
    flat = {name: np.broadcast_to(array, shape).reshape(-1) for name, array in parameters.items()}
    flat |= counts(flat, sizes, None if pool is None else pool.shape[0]) | {"dimension": sizes.astype(np.float64)}
    flat["context_length"], flat["test_context_length"] = flat["context"], flat["test_context"]

    pooled = flat["task_count"] < np.inf
    names = (*_REAL, *(f"{name}_standard_error" for name in _REAL), "error_bound")
    result = {name: np.full(sizes.shape, np.nan) for name in names}
    diverges = _diverges(flat, layer)
    for chosen in (False, True):
        members = np.flatnonzero((pooled == chosen) & ~diverges)
        if members.size:
            part = {name: array[members] for name, array in flat.items()}
            for name, array in _solve(part, norm, layer, chosen, pool, progress).items():
                result[name][members] = array
    arrays: dict[str, Any] = {**result, "status": _judge(result, diverges)}
    errors = {name: arrays.pop(f"{name}_standard_error").reshape(shape)[()] for name in _REAL}
    flat["task_count"] = np.where(pooled, flat["task_count"], flat["prompts"])
    arrays |= {name: flat[name].astype(np.int64) for name in _COUNTS}
    arrays = {name: array.reshape(shape)[()] for name, array in arrays.items()}
    return FiniteSizeSolution(**arrays, standard_errors=errors)


def _solve(
    flat: Mapping[str, Array],
    norm: str,
    layer: LastRow,
    pooled: bool,
    pool: Array | None,
    progress: Callable[[int, int], None] | None,
) -> dict[str, Array]:
    with np.errstate(all="ignore"):
        if not pooled:
            return solve_own_tasks(flat, norm, layer)
        from iclglass.numerics.finite_pool import average_over_pools, solve_pool

        if pool is None:
            return average_over_pools(flat, norm, layer, progress)
        return solve_pool(pool, flat, norm, layer, progress)


@by_name
def solve_given_pool(
    tasks: ArrayLike,
    *,
    task_diversity: ArrayLike,
    context_length: ArrayLike,
    label_noise: ArrayLike = 0.0,
    ridge: ArrayLike = 0.1,
    temperature: ArrayLike = 0.0,
    test_context_length: ArrayLike | None = None,
    norm: str = "N",
    last_feature: str = "unit-tokens",
    last_row: bool = True,
) -> FiniteSizeSolution:
    r"""Means over data sets that share one given pool of tasks.

    Equations: `numerics.finite_pool`. Source: this project, notes/finite_size.md.

    Args:
        tasks: (K, D), one task a row, K <= P, D >= 4; isotropic tasks of the theory have entries of variance 1.
        task_diversity, context_length, label_noise, ridge, temperature, test_context_length, norm, last_feature,
            last_row: as `solve_finite`.

    Returns:
        `FiniteSizeSolution`, arrays of the parameters' shape. e_icl is the error on new tasks, Gaussian and isotropic;
        e_idg that on new prompts of the given tasks. Nothing is drawn: error_bound is NaN.

    Raises:
        ParameterError, ParameterTypeError: bad input; the message names value, range and remedy.

    Examples:
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
    given = {
        "task_diversity": task_diversity,
        "context_length": context_length,
        "label_noise": label_noise,
        "ridge": ridge,
        "temperature": temperature,
        "test_context_length": test_context_length,
    }
    layer = LastRow(last_feature, last_row)
    return solve_finite_points(given, dimension=pool.shape[1], norm=norm, layer=layer, pool=pool)


_COUNTS = ("prompts", "context", "task_count", "dimension")
_REAL = tuple(
    field.name
    for field in fields(FiniteSizeSolution)
    if field.name not in (*_COUNTS, "status", "error_bound", "standard_errors")
)


def whole_dimensions(dimension: ArrayLike) -> NDArray[np.int64]:
    """Dimensions as whole numbers >= 4.

    Raises:
        ParameterError, ParameterTypeError: not whole, too small, not numbers.
    """
    array = real_array("dimension", dimension)
    broken = ~((array == np.rint(array)) & (array < 2**31))
    if broken.any():
        raise ParameterError(f"dimension = {array[broken].flat[0]} must be a whole number below 2^31")
    bad = array < MINIMUM_DIMENSION
    if bad.any():
        raise ParameterError(
            f"dimension = {array[bad].flat[0]} must be a whole number >= {MINIMUM_DIMENSION}: the finite-size theory "
            "neglects terms of relative order 1/D^2, which are not small below; simulate, or take a larger dimension"
        )
    return array.astype(np.int64)


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
