"""Losses by name: value, slope, curvature, proximal point.

squared_error   (y - f)^2/2
absolute_error  |y - f|
huber           (y - f)^2/2 within the threshold d, d |y - f| - d^2/2 beyond
log_loss        log(1 + exp(-y f)),   y = +-1
hinge           max(0, 1 - y f),      y = +-1
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import expit

from iclglass.numerics.arguments import FloatArray, check_real
from iclglass.validation.minimisers.functions import Loss, Of2, proximal_point

__all__ = ["ABSOLUTE_ERROR", "HINGE", "LOG_LOSS", "SQUARED_ERROR", "huber", "smooth_loss"]


def smooth_loss(
    value: Of2,
    slope: Of2,
    curvature: Of2,
    *,
    name: str = "own loss",
    curvature_bound: float = math.inf,
    translation: bool = False,
) -> Loss:
    """A convex loss of continuous slope, from its value, first and second derivative in f.

    Without a bound of its curvature it is minimised through its proximal points, found here by Newton's method.

    >>> quartic = smooth_loss(lambda y, f: (f - y)**4/4, lambda y, f: (f - y)**3, lambda y, f: 3*(f - y)**2)
    >>> point, _ = quartic.prox(np.array([0.0]), np.array([2.0]), np.array([1.0]))
    >>> round(float(point[0]), 12)
    1.0
    """

    def prox(label: FloatArray, centre: FloatArray, step: FloatArray) -> tuple[FloatArray, FloatArray]:
        return proximal_point(lambda f: slope(label, f), lambda f: curvature(label, f), centre, step)

    return Loss(
        name=name,
        value=value,
        prox=prox,
        slope=slope,
        curvature=curvature,
        curvature_bound=curvature_bound,
        translation=translation,
    )


def _squared_prox(label: FloatArray, centre: FloatArray, step: FloatArray) -> tuple[FloatArray, FloatArray]:
    return (centre + step * label) / (1 + step), np.broadcast_to(1 / (1 + step), centre.shape)


SQUARED_ERROR = Loss(
    name="squared_error",
    value=lambda y, f: (f - y) ** 2 / 2,
    prox=_squared_prox,
    slope=lambda y, f: f - y,
    curvature=lambda y, f: np.ones_like(f),
    curvature_bound=1.0,
    translation=True,
)


def huber(threshold: float) -> Loss:
    """Huber's loss of the given threshold > 0."""
    bound = check_real("huber_threshold", threshold, minimum=0.0, above=True)

    def value(y: FloatArray, f: FloatArray) -> FloatArray:
        distance = np.abs(f - y)
        return np.where(distance <= bound, distance**2 / 2, bound * (distance - bound / 2))

    def prox(y: FloatArray, centre: FloatArray, step: FloatArray) -> tuple[FloatArray, FloatArray]:
        inside = np.abs(centre - y) <= bound * (1 + step)
        point = np.where(inside, (centre + step * y) / (1 + step), centre - step * bound * np.sign(centre - y))
        return point, np.where(inside, 1 / (1 + step), 1.0)

    return Loss(
        name="huber",
        value=value,
        prox=prox,
        slope=lambda y, f: np.clip(f - y, -bound, bound),
        curvature=lambda y, f: np.asarray(np.abs(f - y) <= bound, dtype=np.float64),
        curvature_bound=1.0,
        translation=True,
    )


LOG_LOSS = smooth_loss(
    lambda y, f: np.logaddexp(0.0, -y * f),
    lambda y, f: -y * expit(-y * f),
    lambda y, f: y * y * expit(y * f) * expit(-y * f),
    name="log_loss",
    curvature_bound=0.25,
)


def _absolute_prox(y: FloatArray, centre: FloatArray, step: FloatArray) -> tuple[FloatArray, FloatArray]:
    distance = centre - y
    outside = np.abs(distance) > step
    return np.where(outside, centre - step * np.sign(distance), y), outside.astype(np.float64)


ABSOLUTE_ERROR = Loss(name="absolute_error", value=lambda y, f: np.abs(f - y), prox=_absolute_prox, translation=True)


def _hinge_prox(y: FloatArray, centre: FloatArray, step: FloatArray) -> tuple[FloatArray, FloatArray]:
    margin = y * centre  # y = +-1, y^2 = 1
    outside = (margin > 1) | (margin < 1 - step)
    return y * np.where(margin > 1, margin, np.minimum(margin + step, 1.0)), outside.astype(np.float64)


HINGE = Loss(name="hinge", value=lambda y, f: np.maximum(0.0, 1 - y * f), prox=_hinge_prox)
