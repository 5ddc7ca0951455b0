"""What the verdict of a figure rests on: limits, the biases that would be seen, and the three words."""

import numpy as np
import pytest
from scipy import stats

from iclglass.validation.paper.figure import Judged, Verdict
from iclglass.validation.paper.judging import compared, largest, means, one_by_one, pooled
from iclglass.validation.statistics import bonferroni_threshold, mean_and_error

LIMIT = bonferroni_threshold(0.01, 3, 7)


def test_the_biases_stated_point_by_point_are_seen_nine_times_in_ten():
    """8 repeats of known scatter; a bias of the stated size, relative to the reference, is beyond the limit."""
    rng, error, reference = np.random.default_rng(31), 0.05, 2.0
    stated = one_by_one([compared("x", reference, reference, error)], 7, limits=LIMIT).unseen
    assert stated[0] == stated[1]
    values = reference * (1 + stated[0]) + error * np.sqrt(8) * rng.standard_normal((1000, 8))
    means, spreads = mean_and_error(values)
    found = [
        one_by_one([compared("x", mean, reference, spread)], 7, false_alarm=0.01, comparisons=3).refused
        for mean, spread in zip(means, spreads, strict=True)
    ]
    assert stats.binom.ppf(1e-4, 1000, 0.9) < sum(found) < stats.binom.ppf(1 - 1e-4, 1000, 0.9)


def test_each_row_has_its_limit_and_the_words_give_both_ends():
    rows = [compared("a", 1.2, 1.0, 0.1), compared("b", 5.0, 4.0, 0.1)]
    found = one_by_one(rows, [10, 10], limits=[3.0, 20.0])
    assert (found.refused, found.limits) == (False, (3.0, 20.0))
    assert one_by_one(rows, 10, limits=[3.0, 9.0]).refused
    assert str(found).startswith("|z| <= 10.0 of 3.0 to 20.0 allowed (biases of ")
    assert one_by_one([compared("a", 1.0, 1.0, 0.0)], 10, limits=3.0).refused  # no error bar, no agreement
    wide = one_by_one(rows, 10, limits=[3.0, 20.0], scales=[100.0, 100.0])
    assert wide.unseen[1] < found.unseen[1]


@pytest.mark.parametrize(
    ("judged", "agrees"),
    [
        ((), None),
        ((Judged("a", False, 0.2),), True),
        ((Judged("a", False, 0.2), Judged("b", False, 0.3)), None),
        ((Judged("a", False, 0.2), Judged("b", False, 0.3, carries=False)), True),
        ((Judged("a", False, 0.2), Judged("b", True, 0.3, carries=False)), False),
        ((Judged("a", False, 0.3), Judged("b", True, 0.3)), False),
        ((Judged("a", False, np.nan),), None),
        ((Judged("equal", False, 0.0),), True),
    ],
)
def test_how_comparisons_combine(judged, agrees):
    verdict = Verdict("found", (), judged)
    assert verdict.agrees is agrees
    assert verdict.to_dict()["agrees"] is agrees
    assert verdict.sentence.startswith("Inconclusive") == (agrees is None)
    assert verdict.sentence.endswith("found")


def test_an_inconclusive_sentence_names_what_could_not_be_seen():
    verdict = Verdict("found", (), (Judged("a", False, 0.2), Judged("b", False, 0.4)))
    assert verdict.sentence == "Inconclusive: a bias of more than 25 % could have stayed unseen in b (40 %); found"
    assert Verdict("found", (), verdict.judged, largest_unseen_bias=0.5).agrees is True


def test_a_pooled_comparison_brings_its_power():
    values = 1 + 0.1 * np.random.default_rng(32).standard_normal((5, 6))
    one = pooled("x", values, false_alarm=0.01, comparisons=1)
    assert one.judged() == Judged("x", False, one.smallest)
    assert pooled("x", 2 * values, false_alarm=0.01, comparisons=1).judged().refused


def test_rows():
    rows = [compared("a", 1.0, 2.0, 0.5), compared("b", 1.0, 1.0, 0.0)]
    assert rows[0][4] == -2.0
    assert np.isnan(rows[1][4])
    assert largest(rows) == np.inf
    assert np.isnan(largest([]))


def test_means_have_the_errors_of_both():
    samples = np.array([[1.0, 2.0, 3.0], [4.0, 4.0, 7.0]])
    found = means("ab", samples, [1.0, 2.0], [0.3, 0.4])
    mean, error = mean_and_error(samples)
    for row, name, ours, theirs, spread, its in zip(found, "ab", mean, [1.0, 2.0], error, [0.3, 0.4], strict=True):
        assert row == compared(name, ours, theirs, np.hypot(spread, its))


def test_each_row_has_the_limit_of_its_degrees_of_freedom():
    rows = [compared("a", 1.0, 1.0, 0.1)] * 2
    assert one_by_one(rows, [5, 50], false_alarm=0.01).limits == tuple(
        bonferroni_threshold(0.01, 2, dof) for dof in (50, 5)
    )


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
