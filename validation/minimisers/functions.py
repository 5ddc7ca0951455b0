r"""Losses and penalties as vectorised functions of one number, and their proximal points.

    prompt:  f(y, omega) = argmin_f  l(y, f) + (f - omega)^2/(2 V)
    spin:    W(x)        = argmin_W  r(W)    + (W - x)^2/(2 V)

These are all that a minimiser needs: they hide kinks and bounds of l and r. Each comes with its derivative in omega, or
x, between 0 and 1; at a kink it is that of one side.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from iclglass.numerics.arguments import FloatArray
from iclglass.numerics.errors import ParameterError

__all__ = ["Loss", "OneBodyFunctions", "Penalty", "proximal_point"]

Of1 = Callable[[FloatArray], FloatArray]
Of2 = Callable[[FloatArray, FloatArray], FloatArray]
Prox2 = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]
Prox3 = Callable[[FloatArray, FloatArray, FloatArray], tuple[FloatArray, FloatArray]]

_ITERATIONS = 200
"""Of safeguarded Newton at the most: it bisects at the worst, 60 times for a double."""


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A convex loss l(y, f).

    value(y, f) : l.
    prox(y, omega, V) : the proximal point and its derivative in omega.
    slope(y, f), curvature(y, f) : dl/df and d^2l/df^2, of a loss whose slope is continuous; else None.
    curvature_bound : an upper bound of the curvature; infinity where there is none, or where the slope jumps. Without a
        bound the method of multipliers is used, which needs the proximal point only.
    translation : whether l depends on f - y alone.
    """

    name: str
    value: Of2
    prox: Prox3
    slope: Of2 | None = None
    curvature: Of2 | None = None
    curvature_bound: float = math.inf
    translation: bool = False


@dataclass(frozen=True, kw_only=True)
class Penalty:
    """A convex penalty r(W) of one spin, unscaled.

    value(W) : r, where it is finite.
    prox(x, V) : the proximal point and its derivative in x. A bound such as W >= 0 is in here.
    """

    name: str
    value: Of1
    prox: Prox2


@dataclass(frozen=True)
class OneBodyFunctions:
    """What is minimised: the loss of one prompt and the penalty of one spin."""

    loss: Loss
    penalty: Penalty


def proximal_point(slope: Of1, curvature: Of1, centre: FloatArray, step: FloatArray) -> tuple[FloatArray, FloatArray]:
    """argmin_x e(x) + (x - centre)^2/(2 step) for a convex e of continuous slope, and its derivative in the centre.

    The root of x + step e'(x) = centre by Newton's steps, bisected where they leave the bracket: it lies between
    the centre and centre - step e'(centre).

    Raises ParameterError where e is seen not to be convex.

    >>> point, derivative = proximal_point(lambda x: x, np.ones_like, np.array([3.0]), np.array([2.0]))
    >>> float(point[0]), round(float(derivative[0]), 12)
    (1.0, 0.333333333333)
    """
    centre, step = np.broadcast_arrays(np.asarray(centre, dtype=np.float64), step)
    first = centre - step * slope(centre)
    low, high = np.minimum(centre, first), np.maximum(centre, first)
    point = centre.copy()
    for _ in range(_ITERATIONS):
        excess = point + step * slope(point) - centre
        tilt = 1 + step * curvature(point)
        if np.any(tilt < 1 - 1e-9):
            raise ParameterError("this function is not convex: its second derivative is negative somewhere")
        low, high = np.where(excess < 0, point, low), np.where(excess > 0, point, high)
        new = point - excess / tilt
        new = np.where((new < low) | (new > high), (low + high) / 2, new)
        moved = np.abs(new - point)
        point = new
        if np.all(moved <= 4e-16 * (np.abs(point) + np.abs(centre))):
            break
    return point, 1 / (1 + step * curvature(point))
