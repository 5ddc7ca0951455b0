"""Observables of one data set against direct Monte Carlo, dense formulas and thermodynamics."""

import math
from dataclasses import asdict

import numpy as np
import pytest

from iclglass.numerics.instance.spin_glass import boltzmann, energy
from iclglass.validation.observables import QUANTITIES, measure
from iclglass.validation.population import gaussian_moments, population_error
from iclglass.validation.prompts import Prompts, draw_prompts
from iclglass.validation.statistics import bonferroni_threshold
from tests.validation.scores import z_of

FALSE_ALARM = 0.01
RTOL = 1e-9
LAYERS = ({}, {"last_feature": "scaled-tokens"}, {"last_row": False})


def draw(dimension: int = 6, prompts: int = 60, **layer) -> Prompts:
    given = {"dimension": dimension, "context": 9, "prompts": prompts, "label_noise": 0.3, **layer}
    return draw_prompts(**given, rng=np.random.default_rng(0))


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(("prompts", "ridge"), [(15, 0.5), (42, 0.5), (100, 0.5), (100, 0.0)])
@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_definitions_with_dense_matrices(layer, prompts, ridge, temperature):
    data, size = draw(prompts=prompts, **layer), 6
    rows, beta = data.context.shape[1], size**2 / (temperature or 1.0)
    dense = boltzmann(data, ridge0=ridge / size, beta=beta)
    spread = dense.covariance.reshape(rows, size, rows, size)
    block = np.trace(dense.covariance[: size**2, : size**2])
    moments = gaussian_moments(np.ones(size), context=9, label_noise=0.3, norm="N", **layer)
    padded = np.hstack([dense.mean, np.zeros((rows, 1))]) if rows > size else dense.mean
    found = measure(data, ridge=ridge, temperature=temperature)
    ground = energy(data, dense.mean, ridge / size)
    expected = {
        "m": np.trace(dense.mean[:size]) / size,
        "q": np.sum(dense.mean[:size] ** 2) / size,
        "chi": beta * block / size**3,
        "contrast": np.trace(padded) / (np.linalg.norm(padded) * math.sqrt(rows)),
        "e_icl": population_error(dense.mean, moments),
        "e_train": 2 * energy(data, dense.mean, 0.0),
    }
    if temperature > 0:
        # flat measure of sqrt(D) W on the block and D W on the last row, where there is one, D s W with its size s
        unit = {"unit-tokens": size, "scaled-tokens": math.sqrt(size)}[layer.get("last_feature", "unit-tokens")]
        units = size**2 * math.log(size) / 2 + (size * math.log(unit) if rows > size else 0.0)
        expected |= {
            "q_self": expected["q"] + block / size,
            "e_icl_gibbs": expected["e_icl"] + np.einsum("ij,jkik->", moments.second, spread),
            "energy": ground + data.spins / (2 * beta),
            "free_energy": -temperature * (dense.log_partition + units) / size**2,
        }
        expected["entropy"] = (expected["energy"] - expected["free_energy"]) / temperature
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
    assert abs(z_of(energies, found.energy)) < bonferroni_threshold(FALSE_ALARM, 1)


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
