"""SG Fig. 1: kinds of couplings, derived moments."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from iclglass.validation.paper import fig_1
from iclglass.validation.paper.figure import quiet
from iclglass.validation.statistics import mean_and_error


@pytest.fixture
def small(monkeypatch):
    given = {"dimension": 4, "context": 12, "prompts": 30, "norm": "N", "repeats": 300}
    monkeypatch.setattr(fig_1, "parameters", lambda scale: dict(given))
    return fig_1.FIGURE.simulate("quick", 1, quiet())


def test_kinds_cover_every_field_and_pair_once():
    masks = list(fig_1.kinds(4).values())
    assert np.array_equal(sum(mask.astype(int) for mask in masks[:3]), np.ones(20))
    pairs = sum(mask.astype(int) for mask in masks[3:])
    assert np.array_equal(pairs, np.triu(np.ones((20, 20)), 1))


@pytest.mark.slow
def test_derived_moments_agree_and_a_wrong_one_does_not(small):
    verdict = fig_1.FIGURE.judge(small, {})
    # Few data sets: a bias of 82 % of a variance could hide, and the verdict says so.
    assert verdict.agrees is None
    assert replace(verdict, largest_unseen_bias=1).agrees, verdict.sentence
    assert len(verdict.rows) == 18
    for index in range(9):
        first, second = (mean_and_error(small.powers.values[index, order])[1] for order in (0, 1))
        variance = small.derived.values[index, 1]
        assert verdict.rows[2 * index][3] == pytest.approx(np.sqrt(variance) * first)
        assert verdict.rows[2 * index + 1][3] == pytest.approx(variance * second)
    wrong = small.copy(deep=True)
    wrong["powers"].values[5, 1] *= 3  # the variance of one kind
    assert fig_1.FIGURE.judge(wrong, {}).agrees is False
    assert len(fig_1.FIGURE.draw(small, {}).axes) == 9


def test_the_error_of_the_excess_kurtosis_is_its_scatter():
    """400 experiments of 200 data sets whose widths differ: most of the noise of x^4 is that of x^2."""
    rng = np.random.default_rng(7)
    values = rng.standard_normal((400, 200, 10)) * (1 + 0.2 * rng.standard_normal((400, 200, 1)))
    values /= np.sqrt(1.04)
    powers = np.stack([np.mean(values**order, axis=-1) for order in (1, 2, 3, 4)], axis=1)
    found, error = fig_1.excess_kurtosis(xr.Dataset({"powers": (("kind", "order", "repeat"), powers)}))
    scatter = found.std(ddof=1)
    # the scatter of 400 experiments is known to 3.5 %, more for heavy tails: 4 deviations of 5 %
    assert abs(np.sqrt(np.mean(error**2)) / scatter - 1) < 0.2
