"""SG Fig. 1: kinds of couplings, derived moments."""

import numpy as np
import pytest
import xarray as xr

from iclglass.validation.paper import fig_1
from iclglass.validation.statistics import mean_and_error


def test_kinds_cover_every_field_and_pair_once():
    masks = list(fig_1.kinds(4).values())
    assert np.array_equal(sum(mask.astype(int) for mask in masks[:3]), np.ones(20))
    pairs = sum(mask.astype(int) for mask in masks[3:])
    assert np.array_equal(pairs, np.triu(np.ones((20, 20)), 1))


@pytest.mark.slow
def test_errors_are_those_of_the_means_over_data_sets(small):
    data = small("fig-1")
    verdict = fig_1.judge(data, {})
    for index in range(9):
        first, second = (mean_and_error(data.powers.values[index, order])[1] for order in (0, 1))
        variance = data.derived.values[index, 1]
        assert verdict.rows[2 * index][3] == pytest.approx(np.sqrt(variance) * first)
        assert verdict.rows[2 * index + 1][3] == pytest.approx(variance * second)


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
