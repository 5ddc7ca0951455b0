"""Fixed points of maps with many points side by side: Anderson's mixing, and the Jacobian there by differences.

Source: D. G. Anderson, J. ACM 12 (1965) 547; the least-squares form of Walker and Ni, SIAM J. Numer. Anal. 49 (2011).
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["Step", "fixed_point", "inverse_jacobian"]

Array = NDArray[np.float64]
Step = Callable[[Array, NDArray[np.intp]], Array]
"""From values (unknowns, points) at some of the points, given by number, to new ones."""

_ITERATIONS, _MEMORY, _MIXING, _PLAIN = 160, 6, 0.7, 3
_LARGEST, _FAR = 2.0, 3.0
"""Largest change of an unknown in a plain step, and in a mixed one."""
_DIFFERENCE = 1e-6


def fixed_point(step: Step, start: Array, *, tolerance: float) -> tuple[Array, Array]:
    """x = step(x), and |step(x) - x| of each point, the largest over unknowns.

    Unknowns are of order one, or logarithms. A point that does not get there keeps the best x it came by.

    >>> cosine, left = fixed_point(lambda x, points: np.cos(x), np.ones((1, 2)), tolerance=1e-12)
    >>> cosine.round(6).tolist(), bool(left.max() < 1e-12)
    ([[0.739085, 0.739085]], True)
    """
    x, count = start, start.shape[1]
    best, smallest = x.copy(), np.full(count, np.inf)
    history: list[tuple[Array, Array]] = []
    rows = np.arange(count)
    for number in range(_ITERATIONS):
        change = np.full_like(x, np.nan)
        change[:, rows] = step(x[:, rows], rows) - x[:, rows]
        size = np.max(np.abs(change), axis=0)
        better = size < smallest
        best[:, better], smallest[better] = x[:, better], size[better]
        rows = np.flatnonzero(~(smallest <= tolerance))
        if not rows.size:
            break
        history = [*history[-_MEMORY:], (x.copy(), change)]
        x = x.copy()
        x[:, rows] = _mixed([(old[:, rows], moved[:, rows]) for old, moved in history], number)
    return best, smallest


def _mixed(history: list[tuple[Array, Array]], number: int) -> Array:
    x, change = history[-1]
    plain = x + _MIXING * np.clip(change, -_LARGEST, _LARGEST)
    if number < _PLAIN:
        return np.where(np.isfinite(plain), plain, x)
    moved = np.stack([later[1] - earlier[1] for earlier, later in pairwise(history)])
    steps = np.stack([later[0] - earlier[0] for earlier, later in pairwise(history)])
    gram = np.einsum("aip,bip->pab", moved, moved)
    right = np.einsum("aip,ip->pa", moved, change)
    gram += 1e-12 * np.einsum("paa->p", gram)[:, None, None] * np.eye(len(moved))
    good = np.all(np.isfinite(gram), axis=(1, 2)) & (np.einsum("paa->p", gram) > 0)
    gram[~good] = np.eye(len(moved))
    weights = np.linalg.solve(gram, np.where(good[:, None], right, 0.0)[:, :, None])[:, :, 0]
    mixed = plain - np.einsum("pa,aip->ip", weights, np.nan_to_num(steps + _MIXING * moved))
    safe = np.all(np.isfinite(mixed), axis=0) & (np.max(np.abs(mixed - x), axis=0) < _FAR)
    return np.where(safe, mixed, np.where(np.isfinite(plain), plain, x))


def inverse_jacobian(step: Step, x: Array) -> Array:
    """(1 - J)^{-1} of every point, by differences, (points, unknowns, unknowns); 1 where there is none."""
    rows = np.arange(x.shape[1])
    base, columns = step(x, rows), []
    for number in range(len(x)):
        moved = x.copy()
        moved[number] += _DIFFERENCE
        columns.append((step(moved, rows) - base) / _DIFFERENCE)
    matrix = np.eye(len(x)) - np.stack(columns, axis=-1).transpose(1, 0, 2)
    bad = ~np.all(np.isfinite(matrix), axis=(1, 2)) | ~(np.abs(np.linalg.det(np.nan_to_num(matrix))) > 0)
    matrix[bad] = np.eye(len(x))
    return np.asarray(np.linalg.inv(matrix))
