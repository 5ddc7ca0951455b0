"""Error bars, thresholds and power: measured rates against stated ones."""

import math

import numpy as np
import pytest
from scipy import stats

from iclglass.validation.statistics import (
    bonferroni_threshold,
    chi_squared,
    mean_and_error,
    smallest_detectable_bias,
    welch_satterthwaite,
    z_score,
)


def within(count: int, trials: int, rate: float) -> bool:
    """Whether `count` is inside the central 99.9 % of the binomial law: a false alarm once in 1000."""
    return bool(stats.binom.ppf(0.0005, trials, rate) <= count <= stats.binom.ppf(0.9995, trials, rate))


def test_mean_and_error_over_the_last_axis():
    values = np.random.default_rng(0).standard_normal((3, 7))
    mean, error = mean_and_error(values)
    np.testing.assert_allclose(mean, values.mean(axis=1))
    np.testing.assert_allclose(error, stats.sem(values, axis=1))
    with pytest.raises(ValueError, match="at least 2 independent samples, got 1"):
        mean_and_error([[1.0]])


@pytest.mark.parametrize("dof", [3, 20, math.inf])
def test_family_false_alarm_rate_is_the_stated_one(dof):
    comparisons, trials, rate = 4, 20_000, 0.05
    rng = np.random.default_rng(1)
    shape = (trials, comparisons)
    z = rng.standard_normal(shape) if math.isinf(dof) else rng.standard_t(dof, shape)
    failed = np.count_nonzero(np.any(np.abs(z) >= bonferroni_threshold(rate, comparisons, dof), axis=1))
    independent = 1 - (1 - rate / comparisons) ** comparisons  # Bonferroni is exact but for this
    assert within(failed, trials, independent)


@pytest.mark.parametrize("dof", [4, 31, math.inf])
def test_smallest_detectable_bias_is_caught_with_the_stated_power(dof):
    threshold, error, trials = bonferroni_threshold(0.01, 7, dof), 0.3, 20_000
    bias = smallest_detectable_bias(error, threshold, dof, power=0.9)
    rng = np.random.default_rng(2)
    scale = 1.0 if math.isinf(dof) else np.sqrt(rng.chisquare(dof, trials) / dof)
    z = (bias / error + rng.standard_normal(trials)) / scale
    assert within(np.count_nonzero(np.abs(z) > threshold), trials, 0.9)


def test_welch_satterthwaite_limits():
    assert welch_satterthwaite([1, 0], [1.0, 5.0], [9, 3]) == pytest.approx(9)
    assert welch_satterthwaite([2, 2], [1e-200, 1e-200], [9, 9]) == pytest.approx(18)
    assert welch_satterthwaite([1, 1], [0.0, 0.0], [9, 3]) == 3
    assert 3 <= welch_satterthwaite([1, -2, 3], [0.1, 0.7, 0.2], 3) <= 9


def test_chi_squared_p_values_are_uniform():
    z = np.random.default_rng(3).standard_normal((2000, 6))
    p = [chi_squared(row)[1] for row in z]
    assert stats.kstest(p, "uniform").pvalue > 0.001


def test_z_score_without_an_error_bar():
    assert z_score(0.0, 0.0) == 0
    assert z_score(1e-3, 0.0) == math.inf


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, math.nan])
def test_false_alarm_rate_must_be_a_probability(rate):
    with pytest.raises(ValueError, match="false_alarm must be finite and > 0 and < 1"):
        bonferroni_threshold(rate, 1)
