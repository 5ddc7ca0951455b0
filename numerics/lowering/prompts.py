r"""The law of label and prediction of one prompt, as one or several normal laws of the prediction.

Teacher's field t and prediction f_cav are normal with the System's covariance; the label is made of t and noise. What
the average runs over depends on the loss (`replica.losses`):

    l(f - y), linear labels      the residual alone: y = 0 and f_cav ~ N(0, E (y - f_cav)^2)
    l(y f), sign labels          the margin alone: y = 1 and the density of f_cav times 2 Phi(b f_cav)
    any other, linear labels     nodes for y, and f_cav given y
    any other, sign labels       y = 1 and y = -1, the density of f_cav times Phi(y b f_cav)

t enters integrands linearly, so that its mean given y and f_cav is enough.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Conditional", "conditionals"]

Array = NDArray[np.float64]

_LABELS = 48
"""Nodes for a label that the average does not get rid of."""
_STEEP = 2.5


@dataclass(frozen=True)
class Conditional:
    """f_cav ~ N(mean, deviation^2) at one label: arrays over points; weight of the label; factor of the density."""

    label: Array
    weight: Array
    mean: Array
    deviation: Array
    even: bool
    teacher: Callable[[Array, Array], Array]
    """E[t | y, f_cav] from z and f_cav (points, nodes)."""
    tilt: Callable[[Array], Array] | None = None
    edges: tuple[Array, ...] = ()


def conditionals(
    labels: str, shape: str, tt: Array, tf: Array, ff: Array, noise: Array, fineness: float = 1.0
) -> list[Conditional]:
    """The laws to average over, one after the other.

    labels : "linear" or "sign".    shape : "translation", "margin" or "general".
    tt, tf, ff : covariance of (t, f_cav).    noise : variance added to t before the label is made.
    """
    if labels == "linear":
        return _linear(shape, tt, tf, ff, noise, fineness)
    return _sign(shape, tt, tf, ff, noise)


def _linear(shape: str, tt: Array, tf: Array, ff: Array, noise: Array, fineness: float) -> list[Conditional]:
    yy = tt + noise
    if shape == "translation":
        error = yy - 2 * tf + ff
        share = ((tt - tf) / error)[:, None]
        zero = np.zeros_like(ff)
        return [Conditional(zero, zero + 1, zero, np.sqrt(error), True, lambda z, f: -share * f)]
    nodes, weights = np.polynomial.hermite_e.hermegauss(round(fineness * _LABELS))
    slope, rest = tf / yy, ff - tf**2 / yy
    deviation = np.sqrt(np.maximum(rest, 0.0))
    # t given y and f_cav: regression on both.
    on_f = (tf - tt * slope) / rest
    on_y = tt / yy - on_f * slope
    found = []
    for node, weight in zip(nodes, weights / np.sqrt(2 * np.pi), strict=True):
        y = np.sqrt(yy) * node
        teacher = _regression((on_y * y)[:, None], on_f[:, None])
        found.append(Conditional(y, np.full_like(y, weight), slope * y, deviation, False, teacher))
    return found


def _regression(constant: Array, slope: Array) -> Callable[[Array, Array], Array]:
    return lambda z, f: constant + slope * f


def _sign(shape: str, tt: Array, tf: Array, ff: Array, noise: Array) -> list[Conditional]:
    from scipy.special import erfcx, ndtr

    spread = np.sqrt(ff)
    gain = tf / ff
    rest = np.sqrt(np.maximum(tt + noise - tf * gain, 0.0))  # of t plus noise, given f_cav
    steep = gain * spread / rest
    share = (tt - tf * gain) / rest
    steepest = float(np.nanmax(np.abs(steep), initial=0.0))
    steepest = min(steepest, 1e8)
    edges = [np.zeros_like(ff)]  # Phi is a step there
    if steepest > _STEEP:  # on the scale of the law: panels shrink towards it
        width = 1 / np.maximum(np.abs(steep), 1.0)
        powers = range(int(np.ceil(np.log(8.5 * steepest) / np.log(4.0))) + 1)
        edges += [sign * width * 2 * 4.0**power for power in powers for sign in (-1.0, 1.0)]
    clipped = tuple(np.clip(edge, -8.5, 8.5) for edge in edges)

    def of_label(sign: float, weight: float) -> Conditional:
        def tilt(z: Array) -> Array:
            return np.asarray(weight * ndtr(sign * steep[:, None] * z))

        def teacher(z: Array, f: Array) -> Array:
            u = sign * steep[:, None] * z
            mills = np.sqrt(2 / np.pi) / erfcx(-u / np.sqrt(2))  # density over distribution function
            return np.asarray(gain[:, None] * f + sign * share[:, None] * mills)

        zero = np.zeros_like(ff)
        return Conditional(zero + sign, zero + 1, zero, spread, False, teacher, tilt, clipped)

    return [of_label(1.0, 2.0)] if shape == "margin" else [of_label(1.0, 1.0), of_label(-1.0, 1.0)]
