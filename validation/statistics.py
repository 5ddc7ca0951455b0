"""Error bars, z-scores, thresholds and power for a comparison with a stated false-alarm rate.

Every mean here is over independent seeds, never over prompts or spins of one data set, whose values are
correlated. A comparison of k quantities with family false-alarm rate f uses, for each quantity, a two-sided
Student t test at f/k (Bonferroni: valid whatever the dependence between the quantities).
"""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special, stats

from iclglass.numerics.arguments import FloatArray, check_count, check_real
from iclglass.numerics.errors import ParameterError

__all__ = [
    "bonferroni_threshold",
    "chi_squared",
    "mean_and_error",
    "smallest_detectable_bias",
    "welch_satterthwaite",
    "z_score",
]


def mean_and_error(samples: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Mean and its standard error over the last axis, which runs over independent seeds (at least 2).

    >>> mean, error = mean_and_error([1.0, 2.0, 3.0])
    >>> float(mean), round(float(error), 12) == round(1 / 3**0.5, 12)
    (2.0, True)
    """
    values = np.asarray(samples, dtype=np.float64)
    count = values.shape[-1] if values.ndim else 1
    if count < 2:
        raise ParameterError(f"a standard error needs at least 2 independent samples, got {count}")
    mean = np.asarray(values.mean(axis=-1))
    return mean, np.asarray(values.std(axis=-1, ddof=1) / math.sqrt(count))


def z_score(difference: float, standard_error: float) -> float:
    """difference/standard_error; 0 for 0/0, infinite for a difference without an error bar.

    >>> z_score(1.0, 0.5), z_score(0.0, 0.0), z_score(-1.0, 0.0)
    (2.0, 0.0, -inf)
    """
    if standard_error > 0:
        return difference / standard_error
    return 0.0 if difference == 0 else math.copysign(math.inf, difference)


def bonferroni_threshold(false_alarm: float, comparisons: int, dof: float = math.inf) -> float:
    """|z| from which one of `comparisons` tests fails: any fails by chance with probability <= false_alarm.

    The two-sided quantile of Student t with `dof` degrees of freedom (infinite: normal).

    >>> round(bonferroni_threshold(0.05, 1), 4), bonferroni_threshold(0.05, 1, dof=10) > 2.2
    (1.96, True)
    """
    false_alarm = check_real("false_alarm", false_alarm, minimum=0.0, above=True, maximum=1.0)
    comparisons = check_count("comparisons", comparisons, minimum=1)
    tail = false_alarm / comparisons / 2
    if math.isinf(dof):
        return float(-special.ndtri(tail))
    return float(-special.stdtrit(check_real("dof", dof, minimum=0.0, above=True), tail))


def chi_squared(z: ArrayLike) -> tuple[float, float]:
    """Sum of z^2 of independent comparisons and the probability of a larger one by chance.

    >>> total, probability = chi_squared([1.0, -1.0])
    >>> total, round(probability, 6) == round(math.exp(-1), 6)
    (2.0, True)
    """
    values = np.asarray(z, dtype=np.float64).ravel()
    total = float(np.sum(values**2))
    return total, float(stats.chi2.sf(total, values.size))


def welch_satterthwaite(coefficients: ArrayLike, standard_errors: ArrayLike, dof: ArrayLike) -> float:
    """Effective degrees of freedom of sum_i c_i mean_i, the means having standard errors s_i from dof_i each.

        (sum_i c_i^2 s_i^2)^2 / sum_i [(c_i^2 s_i^2)^2/dof_i]        (Welch 1947, Satterthwaite 1946)

    Infinite where all of them are.

    >>> welch_satterthwaite([1, 1], [0.5, 0.5], [9, 9])
    18.0
    """
    errors = np.abs(np.asarray(coefficients, dtype=np.float64) * np.asarray(standard_errors, dtype=np.float64))
    freedom = np.broadcast_to(np.asarray(dof, dtype=np.float64), errors.shape)
    largest = float(errors.max())
    if largest == 0:  # every sample equal: nothing to weigh the sizes by
        return float(freedom.min())
    shares = (errors / largest) ** 2  # scaled first: the squares cannot underflow
    shares /= shares.sum()
    spread = float(np.sum(shares**2 / freedom))
    return 1 / spread if spread > 0 else math.inf


def smallest_detectable_bias(
    standard_error: float, threshold: float, dof: float = math.inf, power: float = 0.9
) -> float:
    """The bias that a test |z| > threshold catches with probability `power`: what a pass could have seen.

    With a bias b, z follows a noncentral t with noncentrality b/standard_error; solved for b.

    >>> round(smallest_detectable_bias(0.1, 1.96), 4)
    0.3242
    """
    power = check_real("power", power, minimum=0.0, above=True, maximum=1.0)

    def shortfall(shift: float) -> float:
        # the tail on the other side is negligible where the power is near 0.9
        if math.isinf(dof):
            return float(special.ndtr(shift - threshold)) - power
        return float(stats.nct.sf(threshold, dof, shift)) - power

    upper: float = threshold + 10
    while shortfall(upper) < 0:  # few degrees of freedom spread z far beyond the threshold
        upper *= 2
    return standard_error * float(optimize.brentq(shortfall, 0.0, upper, xtol=1e-9))
