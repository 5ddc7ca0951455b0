"""Extrapolation of simulated means to infinite dimension: value + a/D (+ b/D^2), or other powers of 1/D.

The extrapolated value is a linear combination sum_i c_i mean_i of the means at the dimensions D_i, with
coefficients fixed before any data is seen: least squares with weights for a variance proportional to 1/D^2,
as for a self-averaging quantity (the mean of order D^2 weakly dependent terms). Weights estimated from the
same samples would correlate with the means; fixed ones leave the combination unbiased whatever the true
variances, with

    variance = sum_i c_i^2 s_i^2/n_i                   degrees of freedom: Welch-Satterthwaite

Only the error bar uses the measured variances s_i^2.

The error bar knows nothing of the first power that is not fitted. Where the samples scatter little (chi at
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

__all__ = ["POWERS", "Extrapolation", "extrapolate", "extrapolation_weights", "fitted_powers"]

NEXT_TERM = 0.5
"""Ratio allowed of the first missing term to the last fitted one, at the smallest dimension; an allowance, not a bound.

The fitted term absorbs part of the missing one; numbers are those of powers 1, 2 and a missing third. Without noise,
with r the true ratio, the allowance covers the shift of the value when |r| < (1 + u r)/2, where u = D_min sum_i
c_i/D_i^(order + 1) with the weights c of the last coefficient; 0 <= u <= order + 1. For any dimensions that holds for
-0.2 <= r <= 0.5; for three and u >= 2, for every r > -1/4.
With noise, a shift below NOISE_ERRORS x the standard error of the last coefficient may be left uncovered: 0.6 to 0.7
standard errors of the value with three or four dimensions from 12 or 16, 0.85 with (16, 24).
"""

NOISE_ERRORS = 2.0
"""Standard errors of the last coefficient that are taken for noise, and subtracted before `NEXT_TERM` is applied."""

POWERS = (1, 2, 3)
"""Powers of 1/D of what a theory at D -> infinity leaves, the last of which is never fitted."""


@dataclass(frozen=True, eq=False)
class Extrapolation:
    """A few powers of 1/D fitted to simulated means.

    value, standard_error, dof : the value at 1/D -> 0, its error and that error's degrees of freedom.
    powers : those that were fitted, as (1, 2).    coefficients : of 1 and of these powers.
    truncation : allowance for the shift of the value by the first term left out, see the module's docstring.
    fit_p_value : probability of a worse fit by chance, if the powers are right; NaN when as many sizes as
    coefficients leave nothing to test.
    """

    value: float
    standard_error: float
    dof: float
    coefficients: FloatArray
    powers: tuple[int, ...]
    truncation: float
    fit_p_value: float


def extrapolation_weights(dimensions: Sequence[int] | FloatArray, powers: Sequence[int]) -> FloatArray:
    """Rows c such that c @ means are the coefficients of 1 and of the powers of 1/D; shape (1 + powers, sizes).

    The first row is the extrapolation to 1/D -> 0; it sums to one.

    >>> extrapolation_weights([16, 32], [1])[0].round(12).tolist()
    [-1.0, 2.0]
    """
    sizes = np.asarray(dimensions, dtype=np.float64)
    scale = float(sizes.max())  # powers of scale/D are of order one: a well-conditioned basis
    weighted = np.linalg.pinv(_basis(scale / sizes, powers) * sizes[:, None]) * sizes
    result: FloatArray = weighted * scale ** np.array([0, *powers])[:, None]
    return result


def fitted_powers(sizes: int, powers: Sequence[int] = POWERS) -> tuple[int, ...]:
    """Which of the powers are fitted to so many sizes: two of them from three sizes on, else one.

    >>> fitted_powers(2), fitted_powers(4)
    ((1,), (1, 2))
    """
    return tuple(powers[: 2 if sizes >= 3 else 1])


def extrapolate(
    dimensions: Sequence[int], samples: ArrayLike, order: int | None = None, *, powers: Sequence[int] = POWERS
) -> Extrapolation:
    """Extrapolate the means of samples (sizes, independent seeds) to 1/D -> 0.

    powers : the first powers of 1/D that the means have, increasing, three of them.
    order : how many are fitted, 1 or 2; by default 2 with three sizes or more, 1 with two. The next one is allowed for.

    At least one more size than the order is needed, hence at least two sizes (ParameterError). fit_p_value tests the
    form with the sizes left over: the residuals' sum of squares in units of the measured errors.

    >>> result = extrapolate([10, 20], [[3.9, 4.1], [2.9, 3.1]])
    >>> round(result.value, 12), result.powers
    (2.0, (1,))
    """
    sizes = [check_count("dimension", size, minimum=2) for size in dimensions]
    values = np.asarray(samples, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] != len(sizes):
        raise ParameterError(f"samples must have shape ({len(sizes)}, samples), got {values.shape}")
    if len(set(sizes)) != len(sizes):
        raise ParameterError(f"dimensions must be distinct, got {sizes}")
    if len(sizes) < 2:
        raise ParameterError(f"extrapolation in 1/D needs at least 2 dimensions, got {sizes}; add a second one")
    count = len(fitted_powers(len(sizes))) if order is None else check_count("order", order, minimum=1)
    if count > 2 or count >= len(sizes):
        raise ParameterError(f"order must be 1 or 2 and below the number of dimensions ({len(sizes)}), got {count}")
    fitted = tuple(powers[:count])
    means, errors = mean_and_error(values)
    places = np.array(sizes, dtype=np.float64)
    weights = extrapolation_weights(places, fitted)
    coefficients: FloatArray = weights @ means
    freedom = values.shape[1] - 1
    return Extrapolation(
        value=float(coefficients[0]),
        standard_error=float(np.sqrt(np.sum((weights[0] * errors) ** 2))),
        dof=welch_satterthwaite(weights[0], errors, freedom),
        coefficients=coefficients,
        powers=fitted,
        truncation=_truncation(places, weights, coefficients, errors, last=fitted[-1], missing=powers[count]),
        fit_p_value=_fit_p_value(places, means, errors, fitted, freedom),
    )


def _basis(inverse: FloatArray, powers: Sequence[int]) -> FloatArray:
    """1 and the powers of 1/D at every size, (sizes, 1 + powers)."""
    result: FloatArray = inverse[:, None] ** np.array([0, *powers])
    return result


def _truncation(
    sizes: FloatArray, weights: FloatArray, coefficients: FloatArray, errors: FloatArray, *, last: int, missing: int
) -> float:
    """What a missing term of `NEXT_TERM` times the last fitted one, less its noise, does to the value."""
    noise = NOISE_ERRORS * float(np.sqrt(np.sum((weights[-1] * errors) ** 2)))
    coefficient = NEXT_TERM * max(0.0, abs(float(coefficients[-1])) - noise) * float(sizes.min()) ** (missing - last)
    return coefficient * abs(float(np.sum(weights[0] / sizes**missing)))


def _fit_p_value(
    sizes: FloatArray, means: FloatArray, errors: FloatArray, powers: Sequence[int], freedom: int
) -> float:
    """p-value of the best fit of these powers, each size weighed by its measured error.

    The errors are themselves estimated, from `freedom` degrees of freedom each, which widens the sum of
    squares beyond chi-squared: an F distribution, its exact law for two sizes with equal variances pooled,
    corrects for that approximately (a chi-squared would reject good fits too often with few samples).
    """
    spare = len(sizes) - len(powers) - 1
    if spare < 1 or not np.all(errors > 0):
        return math.nan
    basis = _basis(sizes.max() / sizes, powers) / errors[:, None]
    solution, *_ = np.linalg.lstsq(basis, means / errors, rcond=None)
    squares = float(np.sum((means / errors - basis @ solution) ** 2))
    return float(stats.f.sf(squares / spare, spare, freedom))
