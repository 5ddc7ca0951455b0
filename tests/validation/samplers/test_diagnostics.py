"""Diagnostics are those of arviz_stats on the right axes; what they refuse; checks of odd samples."""

from dataclasses import replace

import numpy as np
import pytest

from iclglass.numerics.errors import ParameterError
from iclglass.validation.samplers.checks import Check, check_law, comparison
from iclglass.validation.samplers.diagnostics import diagnose, standard_errors, worst_spin_ess
from iclglass.validation.samplers.sampling import sample
from iclglass.validation.statistics import bonferroni_threshold

Z = 4.0
"""False alarm 6e-5."""


def autoregressive(rho, chains, draws, rng):
    """Chains of unit variance with autocorrelation rho^t: effective size N (1 - rho)/(1 + rho)."""
    values = np.empty((chains, draws))
    values[:, 0] = rng.standard_normal(chains)
    for index in range(1, draws):
        values[:, index] = rho * values[:, index - 1] + np.sqrt(1 - rho**2) * rng.standard_normal(chains)
    return values


def test_standard_error_of_correlated_draws(rng):
    """The error of the mean of an AR(1) is known; arviz must be given chains and draws the right way round."""
    rho, chains, draws = 0.8, 4, 20_000
    values = autoregressive(rho, chains, draws, rng)
    exact = np.sqrt((1 + rho) / (1 - rho) / (chains * draws))
    assert standard_errors(values) == pytest.approx(exact, rel=0.1)
    assert worst_spin_ess(values[..., None]) == pytest.approx(1 / exact**2, rel=0.15)
    assert comparison("mean", values, 0.0, Z).passed
    assert not comparison("mean", values, 6 * exact, Z).passed


def test_rows_and_the_worst_spin(data, measure, rng):
    found = sample(data, **measure, draws=50, rng=rng)
    weights = found.weights.copy()
    weights[1, :, 2, 3] += 5.0  # one spin of one chain is elsewhere
    rows = diagnose(replace(found, weights=weights))
    assert [row.name for row in rows[:3]] == ["energy", "m", "norm"]
    assert rows[3].name == "spin (3,4), worst of 30"
    assert rows[3].r_hat > 1.5
    assert len(diagnose(replace(found, weights=None))) == 3


def test_few_chains_or_draws_are_refused(data, measure, rng):
    with pytest.raises(ParameterError, match=r"at least 2 of them, got 1"):
        diagnose(sample(data, **measure, chains=1, rng=rng))
    with pytest.raises(ParameterError, match="at least 4 draws"):
        diagnose(sample(data, **measure, draws=3, rng=rng))


def test_family_and_smallest_bias(data, measure, law, rng):
    found = sample(data, **measure, draws=500, rng=rng)
    rows = check_law(found, law)
    assert len(rows) == 7
    assert rows[0].threshold == pytest.approx(bonferroni_threshold(0.01, 5 + 2 * 30))
    assert len(check_law(replace(found, weights=None), law)) == 5
    for row in rows:
        assert row.smallest_bias == pytest.approx((row.threshold + 1.2816) * row.mcse, rel=1e-3)
        if not row.name.startswith("variance"):
            assert row.z == pytest.approx((row.estimate - row.exact) / row.mcse)
    with pytest.raises(ParameterError):
        check_law(found, law, false_alarm=0.0)


def test_what_is_not_a_number_or_never_moves_does_not_pass(data, measure, law, rng):
    assert not Check("x", 1.0, 1.0, np.nan, np.nan, 4.0, np.nan).passed
    found = sample(data, **measure, draws=50, rng=rng)
    stuck = found.weights.copy()
    stuck[:, :, 0, 0] = law.mean[0, 0] + 0.01
    rows = check_law(replace(found, weights=stuck), law)
    assert not rows[-1].passed
    assert rows[-1].name.startswith("variance of spin (1,1)")
