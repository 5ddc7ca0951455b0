"""Each sampler against the exact Gaussian (goal M4): means, variances, equipartition <E - E0> = n T/2.

`check_law` compares 2 n + 5 moments with a family false-alarm rate of 1 %; seeds are fixed.
"""

import numpy as np
import pytest

from iclglass.numerics.errors import ConvergenceError
from iclglass.numerics.instance.spin_glass import boltzmann, energy
from iclglass.validation.prompts import draw_prompts
from iclglass.validation.samplers.checks import EQUIPARTITION, check_law
from iclglass.validation.samplers.diagnostics import MAXIMUM_R_HAT, diagnose
from iclglass.validation.samplers.law import boltzmann_law, langevin_law
from iclglass.validation.samplers.sampling import sample
from iclglass.validation.statistics import z_score

ROUNDING = 1e-10
DRAWS = {"exact": 4000, "heat-bath": 4000, "hmc": 4000, "mala": 600}
FALSE_ALARM = 1e-3
"""Of each family here, one per method."""


def verify(samples, law):
    assert max(row.r_hat for row in diagnose(samples)) < MAXIMUM_R_HAT
    assert [row for row in check_law(samples, law, false_alarm=FALSE_ALARM) if not row.passed] == []


def test_the_law_is_the_inverse_of_the_hessian(data, measure, law):
    dense = boltzmann(data, **measure)
    np.testing.assert_allclose(law.mean, dense.mean, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(law.variance.ravel(), np.diag(dense.covariance), rtol=ROUNDING)
    assert law.energy - energy(data, dense.mean, 0.05) == pytest.approx(30 / 40, rel=ROUNDING)
    second = np.einsum("ij,ij->", dense.covariance + np.outer(dense.mean, dense.mean), np.eye(30))
    assert law.expectations()["norm"] == pytest.approx(second, rel=ROUNDING)


def test_the_law_of_large_data_sets_needs_no_matrix(data, measure, law, monkeypatch):
    monkeypatch.setattr("iclglass.validation.samplers.law.DENSE_SPINS", 10)
    free = boltzmann_law(data, **measure)
    np.testing.assert_allclose(free.mean, law.mean, rtol=0, atol=1e-8)
    assert free.energy == pytest.approx(law.energy, rel=ROUNDING)
    assert free.energy_variance == pytest.approx(law.energy_variance, rel=ROUNDING)
    assert free.variance is None


@pytest.mark.parametrize(
    ("method", "matrix_free"),
    [
        *((method, False) for method in DRAWS),
        ("exact", True),
        *(pytest.param(method, True, marks=pytest.mark.slow) for method in ("heat-bath", "hmc", "mala")),
    ],
)
def test_moments(data, measure, law, method, matrix_free):
    draws = max(600, DRAWS[method] // 2) if matrix_free else DRAWS[method]
    given = {"method": method, "matrix_free": matrix_free, "draws": draws}
    verify(sample(data, **measure, **given, rng=np.random.default_rng(7 if matrix_free else 1)), law)


def test_equations_that_are_not_solved_are_an_error(data, measure, rng, monkeypatch):
    monkeypatch.setattr("iclglass.validation.samplers.target._MAX_ITERATIONS", 1)
    with pytest.raises(ConvergenceError, match=r"relative residual of .* use a larger ridge0"):
        sample(data, **measure, matrix_free=True, rng=rng)


def test_exact_draws_have_the_exact_covariance(data, measure):
    """All n(n+1)/2 covariances, entry by entry: z of independent draws, Var(xy) = s_ii s_jj + s_ij^2."""
    dense = boltzmann(data, **measure)
    for free in (False, True):
        found = sample(data, **measure, draws=3000, matrix_free=free, rng=np.random.default_rng(3))
        spins = found.weights.reshape(-1, 30) - dense.mean.ravel()
        spread = np.outer(np.diag(dense.covariance), np.diag(dense.covariance)) + dense.covariance**2
        z = (spins.T @ spins / len(spins) - dense.covariance) / np.sqrt(spread / len(spins))
        assert np.max(np.abs(z)) < 5.2  # 465 comparisons, false alarm 1e-4
        assert 0.7 < np.mean(z**2) < 1.4


def test_overparametrised_and_cold(rng):
    """P < n, small ridge: the prior holds the zero modes, 100 times wider than the others."""
    few = draw_prompts(dimension=5, context=10, prompts=12, rng=rng)
    given = {"ridge0": 0.01, "beta": 1000.0}
    law = boltzmann_law(few, **given)
    for method in ("exact", "hmc"):
        verify(sample(few, **given, method=method, draws=1500, rng=np.random.default_rng(4)), law)


def test_unadjusted_langevin_has_the_bias_predicted(data, measure, law):
    """Goal M5: the stationary law of the scheme is (A (1 - step A/2))^{-1}/beta; the Boltzmann law is refused."""
    exact_bound = sample(data, **measure, method="langevin", draws=1, warmup=0, rng=np.random.default_rng(5)).bound
    found = sample(data, **measure, method="langevin", step=0.5 * exact_bound, draws=1200, rng=np.random.default_rng(6))
    predicted = langevin_law(data, **measure, step=found.step)
    verify(found, predicted)
    equipartition = check_law(found, law)[0]
    assert equipartition.name == EQUIPARTITION
    assert not equipartition.passed
    bias = predicted.energy - law.energy
    assert abs(z_score(equipartition.estimate - equipartition.exact - bias, equipartition.mcse)) < 4
    assert bias > equipartition.smallest_bias


def test_langevin_law_solves_the_recursion(data, measure, target):
    """C = (1 - step A)^2 C + 2 step/beta, iterated with dense matrices until it rests."""
    step, identity = 0.3, np.eye(30)
    drift = identity - step * target.matrix
    covariance = np.zeros((30, 30))
    for _ in range(4000):
        covariance = drift @ covariance @ drift + 2 * step / target.beta * identity
    found = langevin_law(data, **measure, step=step)
    np.testing.assert_allclose(found.variance.ravel(), np.diag(covariance), rtol=1e-9)
    expected = found.ground_energy + np.trace(target.matrix @ covariance) / 2
    assert found.energy == pytest.approx(expected, rel=1e-9)
    heat = target.matrix @ covariance
    assert found.energy_variance == pytest.approx(np.trace(heat @ heat) / 2, rel=1e-9)


@pytest.mark.slow
def test_moments_at_110_spins():
    data = draw_prompts(dimension=10, context=50, prompts=200, rng=np.random.default_rng(8))
    given = {"ridge0": 0.01, "beta": 1000.0}
    law = boltzmann_law(data, **given)
    for method in ("exact", "hmc", "heat-bath"):
        verify(sample(data, **given, method=method, draws=5000, rng=np.random.default_rng(9)), law)


@pytest.mark.slow
def test_false_alarm_rate_of_the_checks():
    """At a nominal 10 % at most 10 % of correct runs may fail; 200 runs, at most 36: P = 4e-4 at exactly 10 %."""
    data = draw_prompts(dimension=4, context=8, prompts=60, rng=np.random.default_rng(5))
    given = {"ridge0": 0.05, "beta": 20.0}
    law = boltzmann_law(data, **given)
    failures = 0
    for seed in range(200):
        found = sample(data, **given, draws=250, rng=np.random.default_rng(1000 + seed))
        failures += not all(row.passed for row in check_law(found, law, false_alarm=0.1))
    assert failures <= 36
