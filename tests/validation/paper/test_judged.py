"""What the verdict of a figure rests on: limits, the biases that would be seen, and the three words."""

import numpy as np
import pytest
from scipy import stats

from iclglass.validation.paper.figure import Judged, Verdict, compared, one_by_one, pooled
from iclglass.validation.statistics import bonferroni_threshold, mean_and_error

LIMIT = bonferroni_threshold(0.01, 3, 7)


def test_the_biases_stated_point_by_point_are_seen_nine_times_in_ten():
    """8 repeats of known scatter; a bias of the stated size, relative to the reference, is beyond the limit."""
    rng, error, reference = np.random.default_rng(31), 0.05, 2.0
    stated = one_by_one([compared("x", reference, reference, error)], LIMIT, 7).unseen
    assert stated[0] == stated[1]
    values = reference * (1 + stated[0]) + error * np.sqrt(8) * rng.standard_normal((1000, 8))
    means, spreads = mean_and_error(values)
    found = [
        one_by_one([compared("x", mean, reference, spread)], LIMIT, 7).refused
        for mean, spread in zip(means, spreads, strict=True)
    ]
    assert stats.binom.ppf(1e-4, 1000, 0.9) < sum(found) < stats.binom.ppf(1 - 1e-4, 1000, 0.9)


def test_each_row_has_its_limit_and_the_words_give_both_ends():
    rows = [compared("a", 1.2, 1.0, 0.1), compared("b", 5.0, 4.0, 0.1)]
    found = one_by_one(rows, [3.0, 20.0], [10, 10])
    assert (found.refused, found.limits) == (False, (3.0, 20.0))
    assert one_by_one(rows, [3.0, 9.0], 10).refused
    assert str(found).startswith("|z| <= 10.0 of 3.0 to 20.0 allowed (biases of ")
    assert one_by_one([compared("a", 1.0, 1.0, 0.0)], 3.0, 10).refused  # no error bar, no agreement
    wide = one_by_one(rows, [3.0, 20.0], 10, scales=[100.0, 100.0])
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
