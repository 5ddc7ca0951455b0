"""Fixed points x = step(x) of a few variables, elementwise over points: damped iteration, then Newton's method.

Newton's Jacobian is taken by differences once and carried on by Broyden's update, so that a step costs one evaluation.
Points that are done are left out. Nothing here knows physics.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["GOOD", "Step", "error_bound", "iterate", "jacobian", "newton", "relative"]

Array = NDArray[np.float64]
Step = Callable[[Array, Mapping[str, Array], float], Array]
"""(variables, points), parameters over points, fineness of the averages -> (variables, points)."""

GOOD = 1e-10
"""Relative residual at which a point counts as solved."""
_NEAR, _ENOUGH = 1e-13, 1e-11
"""Residuals that are tried for, and from which failure to improve is rounding."""
_DAMPING = (0.4, 0.0, 0.8)
"""Of the rounds in turn. What turns around needs more of it; what falls by many orders of magnitude needs none."""
_WARM_UP, _ROUNDS, _NEWTON = 8, 30, 40
_HOPELESS, _HUGE = 3, 1e8
"""Rounds after which values that have grown beyond a limit are given up: they run away."""
_COARSE = 0.6
"""Fineness of the averages where only a neighbourhood or a slope is needed."""
_DIFFERENCE = 1e-6
_TINY = 1e-290


def relative(new: Array, old: Array) -> Array:
    """Largest relative change of a variable, per point."""
    scale = np.maximum(np.abs(new), _TINY)
    with np.errstate(all="ignore"):
        return np.asarray(np.max(np.where(new == old, 0.0, np.abs(new - old) / scale), axis=0))


def jacobian(step: Step, values: Array, base: Array, where: Mapping[str, Array], fineness: float = 1.0) -> Array:
    """d step/d values by differences from ``base`` = step(values), (points, variables, variables)."""
    columns = []
    for number in range(len(values)):
        moved = values.copy()
        moved[number] += _DIFFERENCE * np.maximum(np.abs(values[number]), 1e-100)
        columns.append((step(moved, where, fineness) - base) / (moved[number] - values[number]))
    return np.stack(columns, axis=-1).transpose(1, 0, 2)


def iterate(step: Step, start: Array, points: Mapping[str, Array], positive: tuple[int, ...]) -> tuple[Array, Array]:
    """Damped iteration, with Newton's method as soon as it helps; values and relative residual.

    positive : variables that stay above 0.
    """
    values = start.copy()
    residual = np.full(values.shape[1], np.inf)
    open_ = np.ones(values.shape[1], dtype=bool)
    for number in range(_ROUNDS):
        if not open_.any():
            break
        where = {name: array[open_] for name, array in points.items()}
        current = values[:, open_]
        damping = _DAMPING[number % len(_DAMPING)]
        for _ in range(_WARM_UP):
            new = step(current, where, _COARSE)
            good = np.all(np.isfinite(new), axis=0)
            current = np.where(good, damping * current + (1 - damping) * new, current)
        polished, left = newton(step, current, where, positive)
        improved = left <= GOOD
        values[:, open_] = np.where(improved, polished, current)
        residual[open_] = left
        open_[open_] = ~improved & ~((number >= _HOPELESS) & np.any(np.abs(current) > _HUGE, axis=0))
    return values, residual


def newton(step: Step, values: Array, where: Mapping[str, Array], positive: tuple[int, ...]) -> tuple[Array, Array]:
    """Newton's method on x = step(x); values are kept where a step makes the residual larger."""
    values = values.copy()
    base = step(values, where, 1.0)
    best = relative(base, values)
    active = np.isfinite(best)
    size = len(values)
    matrices = np.zeros((values.shape[1], size, size))
    fresh, known = (np.zeros(values.shape[1], dtype=bool) for _ in range(2))
    for _ in range(_NEWTON):
        run = active & (best > _NEAR)
        if not run.any():
            break
        lost = run & ~known
        if lost.any():
            sub = {name: array[lost] for name, array in where.items()}
            matrix = np.eye(size) - jacobian(step, values[:, lost], base[:, lost], sub)
            matrix[~np.all(np.isfinite(matrix), axis=(1, 2))] = np.eye(size)
            matrices[lost], known[lost], fresh[lost] = matrix, True, True
        places = np.flatnonzero(run)
        sub = {name: array[places] for name, array in where.items()}
        old, gap = values[:, places], base[:, places] - values[:, places]
        trial = old + _solved(matrices[places], gap)
        for row in positive:
            # A step that would cross zero goes part of the way.
            trial[row] = np.where(trial[row] > 0, trial[row], old[row] * 0.2)
        there = step(trial, sub, 1.0)
        left = relative(there, trial)
        better = left < best[places]
        _broyden(matrices, places[better], (trial - old)[:, better], (trial - there + gap)[:, better], old[:, better])
        taken, failed = places[better], places[~better]
        fresh[taken] = False
        values[:, taken], base[:, taken], best[taken] = trial[:, better], there[:, better], left[better]
        # Only a Jacobian of this very point says that nothing is gained.
        active[failed] = ~fresh[failed] & (best[failed] > _ENOUGH)
        known[failed] = False
    return values, best


def _solved(matrices: Array, gap: Array) -> Array:
    with np.errstate(all="ignore"):
        try:
            return np.asarray(np.linalg.solve(matrices, gap.T[:, :, None])[:, :, 0].T)
        except np.linalg.LinAlgError:
            pairs = zip(matrices, gap.T, strict=True)
            return np.stack([np.linalg.lstsq(matrix, each, rcond=None)[0] for matrix, each in pairs], 1)


def _broyden(matrices: Array, places: NDArray[np.intp], change: Array, rise: Array, scale: Array) -> None:
    """The smallest change of each matrix, in relative units, that makes matrix @ change = rise of x - step(x)."""
    if not places.size:
        return
    weight = change / np.maximum(scale**2, _TINY)
    with np.errstate(all="ignore"):
        missing = rise - np.einsum("kij,jk->ik", matrices[places], change)
        update = np.einsum("ik,jk->kij", missing, weight / np.sum(change * weight, axis=0))
    matrices[places] += np.where(np.all(np.isfinite(update), axis=(1, 2))[:, None, None], update, 0.0)


def error_bound(step: Step, values: Array, fine: Array, points: Mapping[str, Array]) -> Array:
    """|(1 - J)^-1| times |fine - values|, largest relative: a bound on the error of values to first order.

    fine : step(values) with more nodes, so that the bound holds their error, too.
    """
    size = len(values)
    matrix = np.eye(size) - jacobian(step, values, step(values, points, _COARSE), points, _COARSE)
    good = np.all(np.isfinite(matrix), axis=(1, 2)) & np.all(np.isfinite(fine), axis=0)
    matrix[~good] = np.eye(size)
    difference = np.abs(fine - values) + 4 * np.finfo(float).eps * np.abs(values)
    with np.errstate(all="ignore"):
        # The pseudo-inverse would hide a singular matrix, whose bound is infinite.
        singular = ~(np.abs(np.linalg.det(matrix)) > 0)
        matrix[singular] = np.eye(size)
        error = np.abs(np.linalg.inv(matrix)) @ difference.T[:, :, None]
        bound = np.max(error[:, :, 0].T / np.maximum(np.abs(values), _TINY), axis=0)
    bound[singular] = np.inf
    bound[~good] = np.nan
    return np.asarray(bound)
