"""Elementwise solvers for grids: damped iteration, bracketed roots. They know no physics.

Status is data: a grid never raises because of one point. Convergence is judged on the undamped residual, finiteness is
tested at every step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.status import Status

__all__ = ["Iteration", "bracketed_root", "iterate"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Iteration:
    """Result of `iterate`: values (unknowns, ...), undamped relative residual, iterations used, status codes."""

    values: Array
    residual: Array
    iterations: NDArray[np.int64]
    status: NDArray[np.int8]


def iterate(
    step: Callable[[Array], Array],
    start: Array,
    *,
    damping: float = 0.0,
    tolerance: float = 1e-12,
    limit: int = 100_000,
) -> Iteration:
    """Damped fixed-point iteration x <- damping x + (1 - damping) step(x), elementwise over a grid.

    step : the map; takes and returns an array of shape (unknowns, ...).
    start : first iterate, shape (unknowns, ...).
    damping : 0 <= damping < 1, weight of the old value.
    tolerance : a point has converged when max |step(x) - x|/|step(x)| is below it.
    limit : iterations at the most.

    Returns `Iteration`; points that have not converged keep their last value and a status that says so.

    >>> result = iterate(lambda x: np.cos(x), np.array([[1.0]]))
    >>> f"{result.values[0, 0]:.10f}", Status(result.status[0]).name
    ('0.7390851332', 'CONVERGED')
    """
    values = np.array(start, dtype=np.float64)
    shape = values.shape[1:]
    residual = np.full(shape, np.inf)
    iterations = np.zeros(shape, dtype=np.int64)
    status = np.full(shape, Status.NOT_CONVERGED, dtype=np.int8)
    for _ in range(limit):
        with np.errstate(all="ignore"):
            new = step(values)
            residual = np.max(np.abs(new - values) / np.abs(new), axis=0)
        finite = np.isfinite(residual)
        status[~finite & (status == Status.NOT_CONVERGED)] = Status.NOT_FINITE
        status[finite & (residual <= tolerance)] = Status.CONVERGED
        running = status == Status.NOT_CONVERGED
        if not running.any():
            break
        iterations[running] += 1
        values = np.where(running, damping * values + (1 - damping) * new, values)
    return Iteration(values, residual, iterations, status)


def bracketed_root(
    function: Callable[..., Array],
    lower: Array,
    upper: Array,
    *,
    arguments: Sequence[Array] = (),
    tolerance: float = 0.0,
) -> tuple[Array, NDArray[np.bool_]]:
    """Roots between ``lower`` and ``upper``, elementwise, to the last bits of the bracket.

    function : elementwise, called as function(x, *arguments).
    lower, upper : ends of the brackets; the function must change sign between them.
    arguments : further arrays, broadcast with the brackets.
    tolerance : width of a bracket that is small enough already.

    Returns roots, and whether each bracket held a sign change and converged; NaN where not.

    >>> root, found = bracketed_root(lambda x: x**2 - 2, np.array([0.0, 2.0]), np.array([2.0, 3.0]))
    >>> f"{root[0]:.12f}", found.tolist()
    ('1.414213562373', [True, False])
    """
    # scipy.optimize is slow to import and a plain solve does not need it.
    from scipy.optimize.elementwise import find_root

    with np.errstate(all="ignore"):
        result = find_root(
            function,
            (lower, upper),
            args=tuple(arguments),
            tolerances={
                "xatol": tolerance,
                "xrtol": 4 * float(np.finfo(np.float64).eps),
                "fatol": 0.0,
                "frtol": 0.0,
            },
        )
    found = np.asarray(result.success)
    return np.where(found, result.x, np.nan), found
