"""The pooled comparison of the verdicts: its false alarms, its power, its formula."""

import numpy as np
import pytest
from scipy import stats

from iclglass.validation.paper.figure import pooled
from iclglass.validation.statistics import bonferroni_threshold

RATE, DRAWS = 0.05, 2000
# False alarms of 2000 draws at a rate of 0.05: 100 +- 9.7; five deviations.
FEWEST, MOST = 51, 149
POINTS, REPEATS = 30, 4


def ratios(rng, bias=0.0):
    """Spreads of the points a factor of three apart."""
    spread = np.linspace(0.02, 0.06, POINTS)[:, None]
    return 1 + bias + spread * rng.normal(size=(POINTS, REPEATS))


def test_false_alarms_come_at_the_stated_rate():
    rng = np.random.default_rng(1)
    found = sum(not pooled("x", ratios(rng), false_alarm=RATE, comparisons=1).agrees for _ in range(DRAWS))
    assert FEWEST < found < MOST


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_smallest_bias_is_seen_nine_times_in_ten(sign):
    rng = np.random.default_rng(2)
    smallest = np.mean([pooled("x", ratios(rng), false_alarm=1e-3, comparisons=10).smallest for _ in range(50)])
    seen = [
        not pooled("x", ratios(rng, sign * smallest), false_alarm=1e-3, comparisons=10).agrees
        for _ in range(DRAWS // 4)
    ]
    # 450 of 500 +- 6.7, and 10 for the estimate of `smallest` and of its degrees of freedom
    assert 406 < sum(seen) < 494


def test_few_repeats_at_many_points_see_what_no_point_can():
    values = ratios(np.random.default_rng(3), 0.05)
    one = pooled("x", values, false_alarm=1e-3, comparisons=POINTS + 1)
    assert one.agrees is False
    single = stats.ttest_1samp(values, 1, axis=1).statistic
    assert np.max(np.abs(single)) < bonferroni_threshold(1e-3, POINTS + 1, REPEATS - 1)
    assert REPEATS - 1 < one.dof < POINTS * (REPEATS - 1)


def test_two_points_are_welchs_test():
    """Of the difference to -(second): the same mean, error and degrees of freedom."""
    first, second = np.random.default_rng(4).normal(1.1, [[0.1], [0.3]], size=(2, 8))
    one = pooled("x", np.array([first, second]), false_alarm=RATE, comparisons=1)
    theirs = stats.ttest_ind(first - 1, -(second - 1), equal_var=False)
    np.testing.assert_allclose((one.row[4], one.dof), (theirs.statistic, theirs.df))
    assert f"{one.row[1]:.4f}" in str(one)
