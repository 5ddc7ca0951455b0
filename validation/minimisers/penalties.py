"""Penalties of one spin: ridge, lasso, elastic net, with or without W >= 0, and one's own smooth ones."""

from __future__ import annotations

import math

import numpy as np

from iclglass.numerics.arguments import FloatArray, check_flag, check_real
from iclglass.numerics.sizes import to_unscaled
from iclglass.validation.minimisers.functions import Of1, Penalty, proximal_point

__all__ = ["elastic_net", "scaled_elastic_net", "smooth_penalty"]


def elastic_net(*, ridge0: float = 0.0, l0: float = 0.0, nonnegative: bool = False) -> Penalty:
    """(ridge0/2) W^2 + l0 |W|, unscaled; nonnegative: on W >= 0 only.

    >>> point, derivative = elastic_net(ridge0=1.0, l0=0.5).prox(np.array([0.4, 2.5]), np.array([1.0, 1.0]))
    >>> point.tolist(), derivative.tolist()
    ([0.0, 1.0], [0.0, 0.5])
    """
    ridge0, l0 = check_real("ridge0", ridge0, minimum=0.0), check_real("l0", l0, minimum=0.0)
    bounded = check_flag("nonnegative", nonnegative)

    def value(weights: FloatArray) -> FloatArray:
        return ridge0 / 2 * weights**2 + l0 * np.abs(weights)

    def prox(centre: FloatArray, step: FloatArray) -> tuple[FloatArray, FloatArray]:
        threshold, shrink = step * l0, 1 / (1 + step * ridge0)
        # max keeps -0.0 away, the sign is put back where there is one
        size = np.maximum((centre if bounded else np.abs(centre)) - threshold, 0.0)
        point = size * shrink if bounded else np.copysign(size, centre) * shrink
        # without a threshold every spin is free, the one at zero too
        free = size > 0 if bounded or l0 > 0 else np.ones_like(centre)
        return point, free * shrink

    kind = "nonnegative " if bounded else ""
    return Penalty(name=f"{kind}elastic net", value=value, prox=prox)


def scaled_elastic_net(dimension: int, *, ridge: float = 0.0, l1: float = 0.0, nonnegative: bool = False) -> Penalty:
    """`elastic_net` from the scaled strengths of the theory: ridge0 = ridge/D, l0 = l1/D^(3/2)."""
    ridge0 = to_unscaled(dimension, ridge=ridge)["ridge0"]
    return elastic_net(ridge0=ridge0, l0=l1 / (dimension * math.sqrt(dimension)), nonnegative=nonnegative)


def smooth_penalty(value: Of1, slope: Of1, curvature: Of1, *, name: str = "own penalty") -> Penalty:
    """A convex penalty of continuous slope, from its value, first and second derivative."""

    def prox(centre: FloatArray, step: FloatArray) -> tuple[FloatArray, FloatArray]:
        return proximal_point(slope, curvature, centre, step)

    return Penalty(name=name, value=value, prox=prox)
