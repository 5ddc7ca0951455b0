r"""Spectrum of the Hessian: Marchenko-Pastur bulk, eigenvalues of the last row, zero modes.

The Hessian of the energy without ridge is S^T S/P. Its bulk is a/D times a Marchenko-Pastur law of ratio 1/tau (D^2
spins, P = tau D^2 prompts); the last row of W adds D eigenvalues of order one. Source: theory of sample covariance
matrices, Marchenko and Pastur, Math. USSR Sb. 1 (1967) 457; for this model this project, notes/derivation.md.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from iclglass.numerics.arguments import check_count, doubles
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.last_row import LastRow

__all__ = ["marchenko_pastur_density", "marchenko_pastur_edges", "stieltjes", "zero_eigenvalue_fraction"]

Array = NDArray[np.float64]


def _ratio(ratio: float) -> float:
    if not (np.isfinite(ratio) and ratio > 0):
        raise ParameterError(f"ratio = {ratio} must be finite and > 0: it is variables over samples, 1/tau here")
    return float(ratio)


def marchenko_pastur_edges(ratio: float) -> tuple[float, float]:
    """Edges (1 - sqrt(c))^2 and (1 + sqrt(c))^2 of the bulk, c = variables/samples.

    Raises ParameterError: ratio not finite or <= 0.

    >>> marchenko_pastur_edges(0.25)
    (0.25, 2.25)
    """
    root = float(np.sqrt(_ratio(ratio)))
    return (1 - root) ** 2, (1 + root) ** 2


def marchenko_pastur_density(x: ArrayLike, *, ratio: float) -> Array:
    """Density of the continuous part at x; for ratio > 1 an atom of weight 1 - 1/ratio sits at 0 besides.

    Equation: sqrt((x_+ - x)(x - x_-))/(2 pi c x).

    >>> float(marchenko_pastur_density(1.0, ratio=1.0).round(6))
    0.275664
    """
    low, high = marchenko_pastur_edges(ratio)
    points = doubles("x", x)
    inside = (points > low) & (points < high)
    with np.errstate(all="ignore"):
        density = np.sqrt((high - points) * (points - low)) / (2 * np.pi * ratio * points)
    return np.where(inside, density, 0.0)


def stieltjes(shift: ArrayLike, *, ratio: float) -> Array:
    """< 1/(x + shift) > over the whole law, atom included, for shift > 0; without cancellation.

    Equation: the positive root of c shift M^2 + (shift + 1 - c) M - 1 = 0, M = 2/(B + sqrt(B^2 + 4 c shift)),
    B = shift + 1 - c. Then chi = <1/(a x + lam)> = M(lam/a)/a at c = 1/tau: the saddle point by a third road.

    Raises ParameterError: shift <= 0 or ratio out of range.

    >>> float(stieltjes(1.0, ratio=1.0).round(9))
    0.618033989
    """
    c = _ratio(ratio)
    s = doubles("shift", shift)
    if not np.all(s > 0):
        raise ParameterError(f"shift = {shift!r} must be > 0: at 0 the transform may diverge")
    b = s + 1 - c
    root = np.sqrt(b**2 + 4 * c * s)
    return np.where(b >= 0, 2 / (b + root), (root - b) / (2 * c * s))


def zero_eigenvalue_fraction(*, dimension: int, prompts: int, last_row: bool = True) -> float:
    """Fraction of zero eigenvalues of the full (D+1)^2 Hessian, with the masked column of the features.

    Equation: max(D + 1, (D+1)^2 - P)/(D+1)^2 (SG Fig. S7): the D + 1 spins of the masked column never enter, and P
    prompts fix at most P directions. Without last row max(0, D^2 - P)/D^2: no label, no masked column.

    >>> zero_eigenvalue_fraction(dimension=10, prompts=25)
    0.7933884297520661
    """
    size, samples = check_count("dimension", dimension, minimum=1), check_count("prompts", prompts, minimum=1)
    rows = LastRow(last_row=last_row).rows(size)
    masked, spins = rows if last_row else 0, rows**2
    return max(masked, spins - samples) / spins
