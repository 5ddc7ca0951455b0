r"""The saddle point of any model: order parameters and fields that answer each other.

    prompts:  (m, q, chi) -> (K, M, Q)        spins:  (K, M, Q) -> (m, q, chi)

Both maps are a System's, derived in `replica.system` and lowered in `numerics.lowering`. They are iterated with damping
until they are near, then Newton's method with a Jacobian by differences takes over, elementwise over a grid. The
residual of the answer is taken with more nodes than it was found with, so that residual and error bound hold the
quadrature's error, too. Source: this project, notes/models.md; theory: the replica-symmetric solution.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from iclglass.numerics.lowering.compiled import CompiledSystem, compiled
from iclglass.numerics.status import Status
from iclglass.replica.model import Model

__all__ = ["solve_model"]

Array = NDArray[np.float64]
Step = Callable[[Array, Mapping[str, Array], float], Array]

ORDER = ("m", "q", "chi")
_TOLERANCE = 1e-9
_NEAR, _GOOD = 1e-13, 1e-10
_BLOCK = 512
_DAMPING, _STRONG = 0.4, 0.8
_WARM_UP, _LIMIT, _NEWTON = 8, 300, 24
_KEPT = 3
"""Newton steps with one Jacobian."""
_FINE = 1.5
_DIFFERENCE = 1e-6


def solve_model(
    model: Model,
    strengths: Mapping[str, ArrayLike],
    *,
    task_diversity: ArrayLike,
    context_length: ArrayLike,
    test_context_length: ArrayLike | None = None,
    label_noise: ArrayLike = 0.0,
    temperature: ArrayLike = 0.0,
    diagonal_dimension: int | None = None,
) -> dict[str, NDArray[Any]]:
    """Solve the replica-symmetric saddle point of a model over flat arrays of points.

    Parameters
    ----------
    model : replica.model.Model
        Loss, penalty, spins and labels.
    strengths : mapping
        Values of the model's free symbols by name: lam, l1, spacing, huber_threshold.
    task_diversity, context_length, test_context_length, label_noise, temperature : array_like
        tau, alpha, alpha of the test prompts, rho, T; broadcast to one axis.
    diagonal_dimension : int, optional
        The penalty of the diagonal spins is taken at this D instead of D -> infinity.

    Returns
    -------
    dict
        Arrays over points by name: order parameters, observables, residual, error_bound, status. A point that was not
        solved is NaN.

    Examples
    --------
    >>> from iclglass.replica.model import linear_attention
    >>> found = solve_model(linear_attention(), {"lam": 1.0}, task_diversity=3, context_length=5)
    >>> bool(abs(found["e_icl"][0] - 9 / 22) < 1e-12)
    True
    """
    given = {"tau": task_diversity, "alpha": context_length, "rho": label_noise, "T": temperature, **strengths}
    given["alpha_test"] = context_length if test_context_length is None else test_context_length
    names = list(given)
    arrays = np.broadcast_arrays(*(np.atleast_1d(np.asarray(given[name], dtype=np.float64)) for name in names))
    points = {name: np.array(array).ravel() for name, array in zip(names, arrays, strict=True)}
    size = points["tau"].size
    if diagonal_dimension is not None:
        points["D"] = np.full(size, float(diagonal_dimension))
    result: dict[str, NDArray[Any]] = {}
    for thermal in (False, True):
        where = np.flatnonzero((points["T"] > 0) == thermal)
        if not where.size:
            continue
        system = compiled(model, thermal=thermal)
        for start in range(0, where.size, _BLOCK):
            block = where[start : start + _BLOCK]
            # A point beyond floating point is NaN with a status, and no warning.
            with np.errstate(all="ignore"):
                solved = _solve_block(system, {name: array[block] for name, array in points.items()})
            for name, values in solved.items():
                if name not in result:
                    result[name] = np.full(size, np.nan) if name != "status" else np.zeros(size, dtype=np.int8)
                result[name][block] = values
    return result


def _solve_block(system: CompiledSystem, points: dict[str, Array]) -> dict[str, NDArray[Any]]:
    def step(values: Array, where: Mapping[str, Array], fineness: float = 1.0) -> Array:
        found = system.step({**where, **dict(zip(ORDER, values, strict=True))}, fineness)
        return np.stack([found[name] for name in ORDER])

    values, residual = _iterate(step, points)
    fine, bound = _certified(step, values, points)
    # Where more nodes say something else, they are used.
    for fineness in (2.0, 4.0):
        rough = (residual <= _GOOD) & ~(fine <= _TOLERANCE)
        if not rough.any():
            break
        where = {name: array[rough] for name, array in points.items()}

        def finer(values: Array, where: Mapping[str, Array], more: float = 1.0, base: float = fineness) -> Array:
            return step(values, where, base * more)

        values[:, rough], residual[rough] = _newton(finer, values[:, rough], where)
        fine[rough], bound[rough] = _certified(finer, values[:, rough], where)
    order = dict(zip(ORDER, values, strict=True))
    fields = system.fields({**points, **order}, _FINE)
    found: dict[str, NDArray[Any]] = {**order, **system.observables({**points, **order, **fields}, _FINE)}
    found |= {"residual": fine, "error_bound": bound}
    found["status"] = _status(found, points, fine)
    failed = ~np.isin(found["status"], (Status.CONVERGED, Status.RS_UNSTABLE))
    for name, array in found.items():
        if name != "status":
            array[failed] = np.nan
    return found


def _status(found: Mapping[str, Array], points: Mapping[str, Array], residual: Array) -> NDArray[np.int8]:
    status = np.full(residual.shape, Status.CONVERGED, dtype=np.int8)
    status[found["replicon"] < 0] = Status.RS_UNSTABLE
    status[~(residual <= _TOLERANCE)] = Status.NOT_CONVERGED
    status[~np.all([np.isfinite(found[name]) for name in ORDER], axis=0)] = Status.NOT_FINITE
    return status


def _starts(points: Mapping[str, Array]) -> Array:
    ones = np.ones_like(points["tau"])
    return np.stack([0.5 * ones, 0.5 * ones, 0.5 * ones])


def _iterate(step: Step, points: Mapping[str, Array]) -> tuple[Array, Array]:
    """Damped iteration, with Newton's method as soon as it helps; values and relative residual."""
    values = _starts(points)
    residual = np.full(values.shape[1], np.inf)
    open_ = np.ones(values.shape[1], dtype=bool)
    done = 0
    while open_.any() and done < _LIMIT:
        where = {name: array[open_] for name, array in points.items()}
        current = values[:, open_]
        # What has not met after the first rounds turns around: more damping.
        damping = _DAMPING if done < _LIMIT // 3 else _STRONG
        for _ in range(_WARM_UP):
            new = step(current, where, 1.0)
            good = np.all(np.isfinite(new), axis=0)
            current = np.where(good, damping * current + (1 - damping) * new, current)
        done += _WARM_UP
        polished, left = _newton(step, current, where)
        improved = left <= _GOOD
        values[:, open_] = np.where(improved, polished, current)
        residual[open_] = np.where(
            improved, left, _relative(step(current, where, 1.0), current) if done >= _LIMIT else left
        )
        open_[open_] = ~improved
    return values, residual


def _relative(new: Array, old: Array) -> Array:
    scale = np.maximum(np.abs(new), 1e-290)
    with np.errstate(all="ignore"):
        return np.asarray(np.max(np.where(new == old, 0.0, np.abs(new - old) / scale), axis=0))


def _jacobian(step: Step, values: Array, base: Array, where: Mapping[str, Array]) -> Array:
    """d step/d values by differences, (points, 3, 3)."""
    columns = []
    for number in range(len(ORDER)):
        moved = values.copy()
        change = _DIFFERENCE * np.maximum(np.abs(values[number]), 1e-100)
        moved[number] = moved[number] + change
        columns.append((step(moved, where, 1.0) - base) / (moved[number] - values[number]))
    return np.stack(columns, axis=-1).transpose(1, 0, 2)


def _newton(step: Step, values: Array, where: Mapping[str, Array]) -> tuple[Array, Array]:
    """Newton's method on x = step(x); values are kept where a step makes the residual larger."""
    values = values.copy()
    base = step(values, where, 1.0)
    best = _relative(base, values)
    active = np.isfinite(best)
    matrices = np.zeros((values.shape[1], len(ORDER), len(ORDER)))
    for number in range(_NEWTON):
        run = active & (best > _NEAR)
        if not run.any():
            break
        sub = {name: array[run] for name, array in where.items()}
        old, new = values[:, run], base[:, run]
        if number % _KEPT == 0:
            matrix = np.eye(len(ORDER)) - _jacobian(step, old, new, sub)
            matrix[~np.all(np.isfinite(matrix), axis=(1, 2))] = np.eye(len(ORDER))
            matrices[run] = matrix
        matrix = matrices[run]
        with np.errstate(all="ignore"):
            try:
                change = np.linalg.solve(matrix, (new - old).T[:, :, None])[:, :, 0].T
            except np.linalg.LinAlgError:
                change = np.stack(
                    [np.linalg.lstsq(a, b, rcond=None)[0] for a, b in zip(matrix, (new - old).T, strict=True)], 1
                )
        trial = old + change
        # q and chi stay positive: a step that would cross zero goes part of the way.
        for row in (1, 2):
            trial[row] = np.where(trial[row] > 0, trial[row], old[row] * 0.2)
        trial_new = step(trial, sub, 1.0)
        residual = _relative(trial_new, trial)
        better = residual < best[run]
        places = np.flatnonzero(run)
        taken = places[better]
        values[:, taken], base[:, taken], best[taken] = trial[:, better], trial_new[:, better], residual[better]
        # A Jacobian that was kept may be to blame: only a fresh one says that nothing is gained.
        active[places[~better]] = number % _KEPT != 0
    return values, best


def _certified(step: Step, values: Array, points: Mapping[str, Array]) -> tuple[Array, Array]:
    """Residual with more nodes, and |(1 - J)^-1| times it: a bound on the relative error to first order."""
    fine = step(values, points, _FINE)
    residual = _relative(fine, values)
    jacobian = _jacobian(step, values, values, points)
    matrix = np.eye(len(ORDER)) - jacobian
    good = np.all(np.isfinite(matrix), axis=(1, 2)) & np.isfinite(residual)
    matrix[~good] = np.eye(len(ORDER))
    difference = np.abs(fine - values) + 4 * np.finfo(float).eps * np.abs(values)
    with np.errstate(all="ignore"):
        # The pseudo-inverse would hide a singular matrix, whose bound is infinite.
        singular = ~(np.abs(np.linalg.det(matrix)) > 0)
        matrix[singular] = np.eye(len(ORDER))
        error = np.abs(np.linalg.inv(matrix)) @ difference.T[:, :, None]
        bound = np.max(error[:, :, 0].T / np.maximum(np.abs(values), 1e-290), axis=0)
    bound[singular] = np.inf
    bound[~good] = np.nan
    return residual, bound
