"""The lines below which the published iteration diverges, against its fate on drawn data sets."""

import numpy as np
import pytest

from numerics.fixed_point import Status
from numerics.instance.data import Instance
from numerics.instance.spin_by_spin import published
from numerics.instance.stability import spin_by_spin_limit
from validation.paper.divergence import finite_line, limit_line
from validation.prompts import draw_prompts

ROUNDING = 1e-5
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
