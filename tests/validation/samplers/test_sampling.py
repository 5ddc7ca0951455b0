"""The entry: shapes, reproducibility, memory, bad input; dense and matrix-free agree."""

import numpy as np
import pytest

from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.instance.predictions import alignment, overlap
from iclglass.numerics.instance.spin_glass import energy, hessian
from iclglass.validation.prompts import draw_prompts
from iclglass.validation.samplers import langevin, sampling
from iclglass.validation.samplers.sampling import METHODS, sample
from iclglass.validation.samplers.target import make_target, spectrum

ROUNDING = 1e-12
EDGE = 2e-4
"""Lanczos stops at 1e-4 of an edge."""
TRACES = 4.0
"""Standard errors of a Hutchinson trace, false alarm 6e-5."""


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("matrix_free", [False, True])
def test_observables_are_those_of_the_weights(data, measure, method, matrix_free):
    given = {"method": method, "draws": 3, "chains": 2, "matrix_free": matrix_free}
    found = sample(data, **measure, **given, rng=np.random.default_rng(1))
    assert found.weights.shape == (2, 3, 6, 5)
    assert (found.chains, found.draws) == (2, 3)
    assert (found.trajectory > 0) == (method == "hmc")
    functions = {"m": alignment, "q_self": overlap, "norm": lambda weights: np.sum(weights**2)}
    functions["energy"] = lambda weights: energy(data, weights, measure["ridge0"])
    for name, function in functions.items():
        expected = [[function(weights) for weights in chain] for chain in found.weights]
        np.testing.assert_allclose(found.observables[name], expected, rtol=ROUNDING, err_msg=name)


@pytest.mark.parametrize("method", METHODS)
def test_the_generator_decides_everything(data, measure, method):
    def draw(seed):
        return sample(data, **measure, method=method, draws=4, rng=np.random.default_rng(seed)).weights

    np.testing.assert_array_equal(draw(1), draw(1))
    assert np.all(draw(1) != draw(2))


@pytest.mark.parametrize("method", ["hmc", "mala", "langevin", "heat-bath"])
def test_matrix_free_chains_walk_the_same_way(data, measure, method):
    """Heat bath goes row by row instead of over all spins at once: the same scan, the same numbers."""
    dense, free = (
        sample(data, **measure, method=method, draws=5, warmup=3, matrix_free=way, rng=np.random.default_rng(3))
        for way in (False, True)
    )
    np.testing.assert_allclose(free.weights, dense.weights, rtol=0, atol=1e-9)


def test_progress_thinning_and_warmup(data, measure, rng):
    calls = []
    given = {"method": "hmc", "warmup": 2, "progress": lambda done, total: calls.append((done, total))}
    found = sample(data, **measure, **given, draws=5, thin=3, rng=rng)
    assert calls[-1] == (17, 17)
    assert (found.warmup, found.thin, found.draws) == (2, 3, 5)
    every = sample(data, **measure, **given, draws=15, thin=1, rng=np.random.default_rng(17))
    np.testing.assert_array_equal(found.energies, every.energies[:, 2::3])


def test_spectrum_against_dense_linear_algebra(rng):
    data = draw_prompts(dimension=9, context=18, prompts=150, rng=rng)
    matrix = hessian(data) + 0.02 * np.eye(90)
    values = np.linalg.eigvalsh(matrix)
    found = spectrum(make_target(data, ridge0=0.02, beta=1.0), rng)
    assert found.high == pytest.approx(values[-1], rel=EDGE)
    assert found.low == pytest.approx(values[0], rel=0.1)  # the lower edge is soft, and only sets lengths
    for name, power in (("second", 2), ("third", 3)):
        product = np.linalg.matrix_power(matrix, power)
        error = np.sqrt(2 * np.sum((product - np.diag(np.diag(product))) ** 2) / 32)
        assert abs(getattr(found, name) - np.trace(product)) < TRACES * error, name


def test_weights_are_dropped_when_they_do_not_fit(data, measure, rng, monkeypatch):
    monkeypatch.setattr(sampling, "_KEPT_BYTES", 8 * 4 * 10 * 30)
    assert sample(data, **measure, draws=10, rng=rng).weights is not None
    found = sample(data, **measure, draws=11, rng=rng)
    assert found.weights is None
    assert found.energies.shape == (4, 11)
    assert sample(data, **measure, draws=11, keep_weights=True, rng=rng).weights is not None
    monkeypatch.setattr(sampling, "_MOST_BYTES", 100)
    with pytest.raises(ParameterError, match="draw fewer"):
        sample(data, **measure, keep_weights=True, rng=rng)


def test_single_precision_data(data, measure):
    given = {**measure, "method": "hmc", "draws": 3, "warmup": 0}
    single, double = (sample(one, **given, rng=np.random.default_rng(1)) for one in (data.as_float32(), data))
    np.testing.assert_allclose(single.energies, double.energies, rtol=1e-4)


@pytest.mark.parametrize(("method", "formula"), [("hmc", r"2/sqrt\(L\)"), ("mala", "2/L"), ("langevin", "2/L")])
def test_a_step_that_diverges_is_refused_with_the_bound(data, measure, rng, method, formula):
    largest = np.linalg.eigvalsh(hessian(data))[-1] + measure["ridge0"]
    bound = 2 / np.sqrt(largest) if method == "hmc" else 2 / largest
    with pytest.raises(ParameterError, match=f"diverges.*{formula} = {str(bound)[:5]}"):
        sample(data, **measure, method=method, step=1.001 * bound, rng=rng)
    found = sample(data, **measure, method=method, step=0.999 * bound, draws=3, warmup=0, thin=1, rng=rng)
    assert found.bound == pytest.approx(bound, rel=EDGE)
    assert np.all(np.isfinite(found.energies))


def test_the_bound_is_where_langevin_diverges(target, rng):
    """The refused side does diverge, the admitted one does not."""
    bound = langevin.stable_bound(spectrum(target, rng))
    for factor, stays in ((0.99, True), (1.01, False)):
        transition = langevin.UnadjustedLangevin(target, factor * bound)
        state = transition.start(rng.standard_normal((2, target.spins)))
        for _ in range(2000):
            state = transition.advance(state, rng)
        assert bool(np.all(state.energies < 1e3)) == stays


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"draws": 0}, ParameterError, "draws must be at least 1"),
        ({"chains": 0}, ParameterError, "chains must be at least 1"),
        ({"draws": 1.5}, ParameterError, "whole"),
        ({"method": "hmc", "trajectory": 0}, ParameterError, "never moves"),
        ({"method": "hmc", "step": 0.0}, ParameterError, "step must be"),
        ({"method": "hmc", "step": float("nan")}, ParameterError, "step must be"),
        ({"method": "hmc", "warmup": -1}, ParameterError, "warmup"),
        ({"method": "hmc", "thin": 0}, ParameterError, "thin"),
        ({"method": "gibbs"}, ParameterError, "must be one of"),
        ({"step": 0.1}, ParameterError, "takes no step"),
        ({"warmup": 5, "thin": 2}, ParameterError, "takes no warmup or thin"),
        ({"method": "heat-bath", "step": 0.1}, ParameterError, "takes no step"),
        ({"method": "mala", "trajectory": 3}, ParameterError, "takes no trajectory"),
        ({"ridge0": -1.0}, ParameterError, "ridge0"),
        ({"beta": 0.0}, ParameterError, "beta"),
        ({"beta": "1"}, ParameterTypeError, "beta"),
        ({"rng": 7}, ParameterTypeError, "Generator"),
    ],
)
def test_bad_input(data, measure, options, error, words):
    with pytest.raises(error, match=words):
        sample(data, **({**measure, "rng": np.random.default_rng(1)} | options))


def test_measures_that_cannot_be_normalised_are_refused(rng):
    few = draw_prompts(dimension=5, context=10, prompts=29, rng=rng)
    with pytest.raises(ParameterError, match="normalised"):
        sample(few, ridge0=0.0, beta=1.0, rng=rng)
    with pytest.raises(ParameterTypeError, match="Instance"):
        sample(np.ones(3), ridge0=0.1, beta=1.0, rng=rng)
