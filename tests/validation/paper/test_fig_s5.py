"""Fig. S5: exact Wishart moments and Bartlett's decomposition against covariances drawn token by token."""

import numpy as np
import pytest

from iclglass.validation.paper import fig_s5
from iclglass.validation.statistics import bonferroni_threshold, mean_and_error

FALSE_ALARM = 1e-4
TRAPEZOIDAL = 1e-7  # 20000 smooth steps
DRAWS = 4000
ROUNDING = 1e-12


def test_moments_and_bartlett_against_tokens():
    dimension, context = 5, 7
    rng = np.random.default_rng(3)
    tokens = rng.standard_normal((DRAWS, dimension, context))
    drawn = {
        "tokens": tokens @ tokens.transpose(0, 2, 1) / context,
        "bartlett": fig_s5.draw_covariances(DRAWS, dimension, context, rng),
    }
    threshold = bonferroni_threshold(FALSE_ALARM, 6)
    for matrices in drawn.values():
        powers = np.array([np.mean(np.linalg.eigvalsh(matrices) ** k, axis=1) for k in (1, 2, 3)])
        mean, error = mean_and_error(powers)
        assert np.all(np.abs(mean - fig_s5.wishart_moments(dimension, context)) < threshold * error)


@pytest.mark.parametrize("context", [1, 7])
def test_moments_of_one_row_are_those_of_chi_squared(context):
    expected = [1, 1 + 2 / context, (context + 2) * (context + 4) / context**2]
    assert fig_s5.wishart_moments(1, context) == pytest.approx(expected, rel=ROUNDING)


@pytest.mark.parametrize("ratio", [0.01, 0.5, 1.0])
def test_limiting_distribution_integrates_the_density(ratio):
    from scipy.integrate import quad

    from iclglass.numerics.spectrum import marchenko_pastur_density, marchenko_pastur_edges

    low, high = marchenko_pastur_edges(ratio)
    middle = low + 0.3 * (high - low)
    expected = 1 - quad(lambda x: float(marchenko_pastur_density(x, ratio=ratio)), middle, high, epsabs=1e-10)[0]
    assert abs(fig_s5.limiting_distribution(np.array([middle]), ratio)[0] - expected) < TRAPEZOIDAL
