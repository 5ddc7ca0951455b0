"""The lines below which the published iteration diverges, against its fate on drawn data sets."""

import numpy as np
import pytest

import iclglass.validation.paper.divergence as divergence
from iclglass.numerics.instance.data import Instance
from iclglass.numerics.instance.spin_by_spin import published
from iclglass.numerics.instance.stability import spin_by_spin_limit
from iclglass.numerics.status import Status
from iclglass.validation.paper.divergence import finite_line, limit_line
from iclglass.validation.prompts import draw_prompts
from iclglass.validation.statistics import bonferroni_threshold

ROUNDING = 1e-5
FALSE_ALARM = 0.01  # of all comparisons of a test together
EXACT = 1e-9  # a fixed point iterated to 1e-12
DIMENSION, CONTEXT = 20, 100
BELOW, ABOVE, BEYOND = 0.8, 1.6, 1.25
"""Measured: 0.98, 1.33, 1.04 times the line at D = 20 and 2.6, 2.7, 1.37 times the limit."""


def test_limit_is_that_of_the_block_at_small_ridge():
    ((line,),) = limit_line([40], dimension=20, ridges=[0.01])
    for factor, converges in ((1.001, True), (0.999, False)):
        limit = spin_by_spin_limit(task_diversity=factor * line / 400, context_length=2.0, ridge=0.2)
        assert (limit.published[1] < 1) is converges


def test_limit_is_that_of_the_last_row_at_large_ridge():
    ((line,),) = limit_line([40], dimension=20, ridges=[1.0])
    assert abs(line / (400 * 1.5 / 20) - 1) < ROUNDING  # tau = a/lam


def test_squares_of_the_couplings_are_those_of_drawn_data_sets():
    """Sums over the partners of a spin in the block or in the last row: means over like spins and over data sets."""
    dimension, context, prompts, repeats = 3, 6, 1000, 400
    data = draw_prompts(dimension=dimension, context=context, prompts=repeats * prompts, rng=np.random.default_rng(3))
    features = data.features.dense().reshape(repeats, prompts, -1)
    squares = (features.transpose(0, 2, 1) @ features / prompts) ** 2
    squares[:, *np.diag_indices(squares.shape[1])] = 0  # on-site
    parts = (slice(None, -dimension), slice(-dimension, None))
    sums = np.array([[squares[:, i, j].sum(axis=2).mean(axis=1) for j in parts] for i in parts]).transpose(2, 0, 1)
    law = divergence._Law(dimension, context)
    z = (sums.mean(axis=0) - law._mean - law._variance / prompts) / (sums.std(axis=0, ddof=1) / np.sqrt(repeats))
    assert np.max(np.abs(z)) < bonferroni_threshold(FALSE_ALARM, z.size)


@pytest.mark.parametrize("prompts", [1.0, 7.0, 1e9])
def test_variance_of_couplings_with_a_mean(prompts, monkeypatch):
    """Means of this law's couplings are zero. Of another's they would stay as P grows, unlike the variances.

    With couplings of one kind only, of mean c and variance s^2/P, k partners for each spin of the block, g the on-site
    part: 1/v = lambda0 + g - k (c^2 + s^2/P) v, of which v is the smaller root.
    """
    mean, deviation, dimension, ridge0 = 0.05, 0.1, 3, 2.0
    kind = {"coupling, block with block, all indices differ": (-mean, deviation**2)}
    monkeypatch.setattr(divergence, "derived_moments", lambda *sizes, prompts: kind)
    law = divergence._Law(dimension, 6)
    linear, square = ridge0 + law._onsite[0], (dimension - 1) ** 2 * (mean**2 + deviation**2 / prompts)
    expected = (linear - np.sqrt(linear**2 - 4 * square)) / (2 * square)
    assert abs(law._block_variance(prompts, ridge0) / expected - 1) < EXACT


def measured(dimension, ridge0, rng):
    """P at which the iteration on the first P prompts of a data set starts to converge, to 2 %."""
    data = draw_prompts(dimension=dimension, context=5 * dimension, prompts=6 * dimension**2, rng=rng)
    low, high = 10, data.prompts
    while high > 1.02 * low + 1:
        middle = max(low + 1, int(np.sqrt(low * high)))
        part = Instance(data.context[:middle], data.query[:middle], data.label[:middle])
        converges = published(part, ridge0=ridge0, beta=100.0).status != Status.DIVERGES
        low, high = (low, middle) if converges else (middle, high)
    return high


@pytest.mark.slow
def test_measured_thresholds_are_near_the_finite_line_and_far_above_the_limit():
    """What the line leaves out (spins of one data set differ) raises the threshold by up to 40 % at D = 20."""
    ridges = (1.0, 0.1, 0.01)
    finite, limit = (line([CONTEXT], dimension=DIMENSION, ridges=ridges)[:, 0] for line in (finite_line, limit_line))
    rng = np.random.default_rng(5)
    found = np.array([np.mean([measured(DIMENSION, ridge0, rng) for _ in range(4)]) for ridge0 in ridges])
    print("measured/finite", found / finite, "measured/limit", found / limit)
    assert np.all((found > BELOW * finite) & (found < ABOVE * finite))
    assert np.all(found > BEYOND * limit)
