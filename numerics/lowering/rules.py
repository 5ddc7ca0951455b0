r"""Nodes and weights for a standard normal z, for each kind of integrand.

panel       Gauss-Legendre between two ends, without the density: integrands that are smooth there
truncated   two nodes between two ends: polynomials of degree 2, exactly
spaced      equally spaced on the whole line: analytic integrands, to rounding
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["REACH", "Nodes", "normal_density", "panel", "rule", "spaced", "spacing", "truncated"]

Array = NDArray[np.float64]

REACH = 8.5
"""Standard deviations that are integrated over: what is beyond weighs 2e-17."""
_NARROW, _NARROW_NODES = 1.0, 10
_EXPONENT = 37.0
"""-ln of the error of equally spaced nodes."""
_INSIDE = 0.9
"""Share of the distance to the nearest pole that the estimate of that error uses."""


@dataclass(frozen=True)
class Nodes:
    """Arrays (points, nodes): z, weight, and what one body does in the field B there.

    x : mean of the variable.  response : dx/dB at T = 0, (mean square fluctuation)/T at T > 0.
    force : A x - B.  force_slope : d force/dB.
    energy : mean E(x).  free : free energy of the body, at T = 0 min E + A x^2/2 - B x.  excess : free + B^2/(2 A).
    nonzero : share of x != 0.
    degree : sums are right for polynomials up to this degree in B, x and force; None for any smooth integrand.
    """

    z: Array
    weight: Array
    B: Array
    x: Array
    response: Array
    force: Array
    force_slope: Array
    energy: Array
    free: Array
    excess: Array
    nonzero: Array
    degree: int | None = None


def normal_density(z: Array) -> Array:
    """exp(-z^2/2)/sqrt(2 pi)."""
    return np.asarray(np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi))


@cache
def rule(count: int) -> tuple[Array, Array]:
    """Gauss-Legendre nodes and weights on 0 .. 1."""
    x, w = np.polynomial.legendre.leggauss(count)
    return (x + 1) / 2, w / 2


def panel(low: Array, high: Array, count: int) -> tuple[Array, Array]:
    """Nodes and weights of one panel, (points, count)."""
    x, w = rule(count)
    width = (high - low)[:, None]
    return low[:, None] + width * x, width * w


def truncated(low: Array, high: Array) -> tuple[Array, Array]:
    r"""Nodes and weights between ends that average polynomials of degree 2 over N(0, 1) exactly.

    Mean -+ standard deviation of z in low .. high, with half of its probability each. They lie inside: the density is
    log-concave, so that neither side is shorter than the standard deviation.

    Returns
    -------
    z, weight : arrays
        Of the shape of the ends and one more axis of length 2.

    Examples
    --------
    >>> z, weight = truncated(np.array([-1.0]), np.array([2.0]))
    >>> round(float(weight.sum()), 6), round(float((weight * z**2).sum()), 6)
    (0.818595, 0.468642)
    """
    from scipy.special import ndtr

    # Mirrored so that a tail is a small number and not what is left of 1.
    flip = low + high < 0
    a, b = np.where(flip, -high, low), np.where(flip, -low, high)
    at_a, at_b = normal_density(a), normal_density(b)
    mass = ndtr(-a) - ndtr(-b)
    with np.errstate(all="ignore"):
        mean = (at_a - at_b) / mass
        variance = 1 + (a * at_a - b * at_b) / mass - mean**2
        # Between near ends these are differences of nearly the same numbers: there a sum is exact.
        narrow = (b - a) * np.maximum(1.0, np.abs(a)) < _NARROW
    if narrow.any():
        start, width = a[narrow], (b - a)[narrow]
        u, w = rule(_NARROW_NODES)
        step = width[:, None] * u
        density = np.exp(-step * (start[:, None] + step / 2)) * w
        total = density.sum(axis=1)
        first = (density * step).sum(axis=1) / total
        mass[narrow] = at_a[narrow] * width * total
        mean[narrow] = start + first
        variance[narrow] = (density * (step - first[:, None]) ** 2).sum(axis=1) / total
    deviation = np.sqrt(np.maximum(variance, 0.0))
    mean = np.where(flip, -mean, mean)
    z = np.stack([mean - deviation, mean + deviation], axis=-1)
    z = np.where((mass > 0)[..., None], z, low[..., None])
    return z, np.repeat((mass / 2)[..., None], 2, axis=-1)


def spacing(pole: Array) -> float:
    """Distance of equally spaced nodes that average to rounding what is analytic within ``pole`` of the real line.

    The error of the trapezoidal rule of step h is exp(s^2/2 - 2 pi s/h) for any s up to the pole (Trefethen and
    Weideman, SIAM Review 56 (2014) 385); NaN counts as no pole.

    >>> round(spacing(np.array([np.inf])), 2), round(spacing(np.array([0.5])), 3)
    (0.73, 0.076)
    """
    nearest = float(np.nanmin(pole, initial=np.inf))
    shift = min(_INSIDE * nearest, np.sqrt(2 * _EXPONENT))
    return float(2 * np.pi * shift / (_EXPONENT + shift**2 / 2))


def spaced(step: float, *, half: bool) -> tuple[Array, Array]:
    """Equally spaced nodes and weights of N(0, 1), on z > 0 with twice the weight or on the whole line."""
    count = int(np.ceil(REACH / step))
    z: Array = step * (np.arange(0 if half else -count, count, dtype=np.float64) + 0.5)
    return z, (2.0 if half else 1.0) * step * normal_density(z)
