"""Observables of one data set against direct Monte Carlo, dense formulas and thermodynamics."""

import math
from dataclasses import asdict

import numpy as np
import pytest

from iclglass.numerics.instance.features import FeatureOperator
from iclglass.numerics.instance.linear_response import ground_state
from iclglass.numerics.instance.spin_glass import boltzmann, energy
from iclglass.numerics.moments import feature_moments
from iclglass.validation.observables import QUANTITIES, measure
from iclglass.validation.prompts import Prompts, draw_prompts
from iclglass.validation.statistics import bonferroni_threshold

FALSE_ALARM = 0.01
RTOL = 1e-9


def draw(dimension: int = 6, prompts: int = 60, seed: int = 0, norm: str = "N", rho: float = 0.3) -> Prompts:
    return draw_prompts(
        dimension=dimension,
        context=9,
        prompts=prompts,
        label_noise=rho,
        norm=norm,
        rng=np.random.default_rng(seed),
    )


def test_e_icl_is_the_error_on_fresh_prompts():
    """z-scores of the formula against 2e5 fresh prompts drawn token by token."""
    z = []
    for norm, prompts in (("N", 60), ("N+1", 60), ("N", 20)):
        data = draw(prompts=prompts, norm=norm)
        fresh = draw_prompts(
            dimension=6,
            context=9,
            prompts=200_000,
            label_noise=0.3,
            norm=norm,
            method="tokens",
            rng=np.random.default_rng(5),
        )
        weights = ground_state(data, 0.2 / 6)
        squares = (fresh.label - FeatureOperator(fresh.context, fresh.query).predict(weights)) ** 2
        error = squares.std(ddof=1) / math.sqrt(squares.size)
        z.append((measure(data, ridge=0.2).e_icl - squares.mean()) / error)
    assert np.max(np.abs(z)) < bonferroni_threshold(FALSE_ALARM, len(z))


@pytest.mark.parametrize("prompts", [15, 42, 100])
@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_definitions_with_dense_matrices(prompts, temperature):
    data, ridge, dimension = draw(prompts=prompts), 0.5, 6
    beta = dimension**2 / (temperature or 1.0)
    dense = boltzmann(data, ridge0=ridge / dimension, beta=beta)
    variances = np.diagonal(dense.covariance).reshape(7, 6)
    exact = feature_moments(dimension=6, context=9, label_noise=0.3, norm="N")
    found = measure(data, ridge=ridge, temperature=temperature)
    padded = np.hstack([dense.mean, np.zeros((7, 1))])
    contrast = np.sum(padded * np.eye(7)) / (np.linalg.norm(padded) * np.linalg.norm(np.eye(7)))
    ground = energy(data, dense.mean, ridge / dimension)
    expected = {
        "m": np.trace(padded[:6]) / 6,
        "q": np.sum(padded[:6] ** 2) / 6,
        "chi": beta * variances[:6].sum() / 6**3,
        "contrast": contrast,
        "e_train": 2 * energy(data, dense.mean, 0.0),
    }
    if temperature > 0:
        # flat measure of sqrt(D) W on the block and D W on the last row
        log_partition = dense.log_partition + 36 / 2 * math.log(6) + 6 * math.log(6)
        spread = float(exact.block) / 6 * variances[:6].sum() + float(exact.last_row) * variances[6].sum()
        expected |= {
            "q_self": expected["q"] + variances[:6].sum() / 6,
            "e_icl_gibbs": found.e_icl + spread,
            "energy": ground + 42 / (2 * beta),
            "free_energy": -temperature * log_partition / 36,
            "entropy": (found.energy - found.free_energy) / temperature,
        }
    else:
        assert math.isnan(found.entropy)
        expected |= {"q_self": found.q, "e_icl_gibbs": found.e_icl, "energy": ground, "free_energy": ground}
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(found, name), value, RTOL, err_msg=name)


def test_entropy_is_minus_the_derivative_of_the_free_energy():
    data, step = draw(), 1e-4
    up, middle, down = (measure(data, ridge=0.5, temperature=t) for t in (1 + step, 1.0, 1 - step))
    slope = (up.free_energy - down.free_energy) / (2 * step)
    np.testing.assert_allclose(-slope, middle.entropy, 1e-6)  # differences: step^2 and rounding/step


def test_energy_of_sampled_weights():
    """<H> and the Gibbs error over weights drawn from the exact measure, as z-scores."""
    data, temperature = draw(dimension=3, prompts=20), 0.8
    dense = boltzmann(data, ridge0=0.1, beta=9 / temperature)
    rng = np.random.default_rng(3)
    draws = rng.multivariate_normal(dense.mean.ravel(), dense.covariance, size=4000).reshape(-1, 4, 3)
    energies = np.array([energy(data, weights, 0.1) for weights in draws])
    found = measure(data, ridge=0.3, temperature=temperature)
    z = (energies.mean() - found.energy) / (energies.std(ddof=1) / math.sqrt(energies.size))
    assert abs(z) < bonferroni_threshold(FALSE_ALARM, 1)


def test_roads_agree_in_every_quantity():
    data = draw(prompts=40)
    primal, dual = (measure(data, ridge=0.4, temperature=0.3, method=method) for method in ("primal", "dual"))
    np.testing.assert_allclose(list(asdict(primal).values()), list(asdict(dual).values()), RTOL)
    assert tuple(asdict(primal)) == QUANTITIES


def test_without_ridge_below_threshold():
    data = draw(prompts=20)
    found = measure(data, ridge=0.0)
    assert found.chi == math.inf
    assert found.e_train < 1e-20
    assert found.q_self == found.q
    with pytest.raises(ValueError, match=r"ridge = 0 with 20 prompts and 42 spins at temperature 0\.5"):
        measure(data, ridge=0.0, temperature=0.5)


@pytest.mark.parametrize("bad", [{"ridge": -1.0}, {"ridge": math.nan}, {"ridge": 1.0, "temperature": -1.0}])
def test_bad_input_is_refused(bad):
    with pytest.raises(ValueError, match="must be finite and >= 0"):
        measure(draw(), **bad)
