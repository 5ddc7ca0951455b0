"""Extrapolation of simulated means to infinite dimension: value + a/D (+ b/D^2).

The extrapolated value is a linear combination sum_i c_i mean_i of the means at the dimensions D_i, with
coefficients fixed before any data is seen: least squares with weights for a variance proportional to 1/D^2,
as for a self-averaging quantity (the mean of order D^2 weakly dependent terms). Weights estimated from the
same samples would correlate with the means; fixed ones leave the combination unbiased whatever the true
variances, with

    variance = sum_i c_i^2 s_i^2/n_i                   degrees of freedom: Welch-Satterthwaite

Only the error bar uses the measured variances s_i^2.

The error bar knows nothing of the polynomial's first missing term. Where the samples scatter little (chi at
small task diversity: one part in 10^4) that term is the larger error. `truncation` is an allowance for it, stated
beside the error bar: what it does to the value if, at the smallest dimension, it is `NEXT_TERM` times the part of
the last fitted term that is not noise,

    max(0, |last coefficient| - NOISE_ERRORS x its standard error)

The last coefficient is almost proportional to the error of the value (correlation 0.94 to 0.98). Without the
subtraction an allowance would grow with every chance deviation and forgive it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from iclglass.numerics.arguments import FloatArray, check_count
from iclglass.numerics.errors import ParameterError
from iclglass.validation.statistics import mean_and_error, welch_satterthwaite

__all__ = ["Extrapolation", "extrapolate", "extrapolation_weights"]

NEXT_TERM = 0.5
"""Ratio allowed of the first missing term to the last fitted one, at the smallest dimension; an allowance, not a bound.

The fitted term absorbs part of the missing one. Without noise, with r the true ratio, the allowance covers the shift of
the value when |r| < (1 + u r)/2, where u = D_min sum_i c_i/D_i^(order + 1) with the weights c of the last coefficient;
0 <= u <= order + 1. For any dimensions that holds for -0.2 <= r <= 0.5; for three and u >= 2, for every r > -1/4.
With noise, a shift below NOISE_ERRORS x the standard error of the last coefficient may be left uncovered: 0.6 to 0.7
standard errors of the value with three or four dimensions from 12 or 16, 0.85 with (16, 24).
"""

NOISE_ERRORS = 2.0
"""Standard errors of the last coefficient that are taken for noise, and subtracted before `NEXT_TERM` is applied."""


@dataclass(frozen=True, eq=False)
class Extrapolation:
    """A polynomial in 1/D fitted to simulated means.

    value, standard_error, dof : the value at 1/D -> 0, its error and that error's degrees of freedom.
    coefficients : (order + 1,), value, a, b of value + a/D + b/D^2.    order : 1 or 2.
    truncation : allowance for the shift of the value by the first term left out, see the module's docstring.
    fit_p_value : probability of a worse fit by chance, if the polynomial is right; NaN when as many sizes as
    coefficients leave nothing to test.
    """

    value: float
    standard_error: float
    dof: float
    coefficients: FloatArray
    order: int
    truncation: float
    fit_p_value: float


def extrapolation_weights(dimensions: Sequence[int] | FloatArray, order: int) -> FloatArray:
    """Rows c such that c @ means are the coefficients of the polynomial in 1/D; shape (order + 1, sizes).

    The first row is the extrapolation to 1/D -> 0; it sums to one.

    >>> extrapolation_weights([16, 32], 1)[0].round(12).tolist()
    [-1.0, 2.0]
    """
    sizes = np.asarray(dimensions, dtype=np.float64)
    scale = float(sizes.max())  # powers of scale/D are of order one: a well-conditioned basis
    powers = np.vander(scale / sizes, order + 1, increasing=True)
    weighted = np.linalg.pinv(powers * sizes[:, None]) * sizes
    result: FloatArray = weighted * scale ** np.arange(order + 1)[:, None]
    return result


def extrapolate(dimensions: Sequence[int], samples: ArrayLike, order: int | None = None) -> Extrapolation:
    """Extrapolate the means of samples (sizes, independent seeds) to 1/D -> 0.

    order: 1 or 2; by default 2 with three sizes or more, 1 with two. At least one more size than the order
    is needed, hence at least two sizes (ParameterError). fit_p_value tests the polynomial's form with the
    sizes left over: the residuals' sum of squares in units of the measured errors.

    >>> result = extrapolate([10, 20], [[3.9, 4.1], [2.9, 3.1]])
    >>> round(result.value, 12), result.order
    (2.0, 1)
    """
    sizes = [check_count("dimension", size, minimum=2) for size in dimensions]
    values = np.asarray(samples, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] != len(sizes):
        raise ParameterError(f"samples must have shape ({len(sizes)}, samples), got {values.shape}")
    if len(set(sizes)) != len(sizes):
        raise ParameterError(f"dimensions must be distinct, got {sizes}")
    if len(sizes) < 2:
        raise ParameterError(f"extrapolation in 1/D needs at least 2 dimensions, got {sizes}; add a second one")
    degree = (2 if len(sizes) >= 3 else 1) if order is None else check_count("order", order, minimum=1)
    if degree > 2 or degree >= len(sizes):
        raise ParameterError(f"order must be 1 or 2 and below the number of dimensions ({len(sizes)}), got {degree}")
    means, errors = mean_and_error(values)
    places = np.array(sizes, dtype=np.float64)
    weights = extrapolation_weights(places, degree)
    coefficients: FloatArray = weights @ means
    freedom = values.shape[1] - 1
    return Extrapolation(
        value=float(coefficients[0]),
        standard_error=float(np.sqrt(np.sum((weights[0] * errors) ** 2))),
        dof=welch_satterthwaite(weights[0], errors, freedom),
        coefficients=coefficients,
        order=degree,
        truncation=_truncation(places, weights, coefficients, errors),
        fit_p_value=_fit_p_value(places, means, errors, degree, freedom),
    )


def _truncation(sizes: FloatArray, weights: FloatArray, coefficients: FloatArray, errors: FloatArray) -> float:
    """What a missing term of `NEXT_TERM` times the last fitted one, less its noise, does to the value."""
    noise = NOISE_ERRORS * float(np.sqrt(np.sum((weights[-1] * errors) ** 2)))
    missing = NEXT_TERM * max(0.0, abs(float(coefficients[-1])) - noise) * float(sizes.min())
    return missing * abs(float(np.sum(weights[0] / sizes ** len(coefficients))))


def _fit_p_value(sizes: FloatArray, means: FloatArray, errors: FloatArray, order: int, freedom: int) -> float:
    """p-value of the best polynomial of that order, each size weighed by its measured error.

    The errors are themselves estimated, from `freedom` degrees of freedom each, which widens the sum of
    squares beyond chi-squared: an F distribution, its exact law for two sizes with equal variances pooled,
    corrects for that approximately (a chi-squared would reject good fits too often with few samples).
    """
    spare = len(sizes) - order - 1
    if spare < 1 or not np.all(errors > 0):
        return math.nan
    powers = np.vander(sizes.max() / sizes, order + 1, increasing=True) / errors[:, None]
    solution, *_ = np.linalg.lstsq(powers, means / errors, rcond=None)
    squares = float(np.sum((means / errors - powers @ solution) ** 2))
    return float(stats.f.sf(squares / spare, spare, freedom))
