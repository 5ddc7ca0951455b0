"""Energy, slope and curvature of both parametrisations against finite differences and dense algebra."""

import numpy as np
import pytest

from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.instance import spin_glass
from iclglass.validation.prompts import draw_prompts
from iclglass.validation.training.layer import (
    effective_weights,
    energy_and_slope,
    initial_parameters,
    largest_curvature,
    shapes,
)

DIMENSION, RIDGE0 = 4, 0.3
# Central differences, step 1e-4: a third derivative of order 10 leaves 1e-7, rounding 1e-12.
DIFFERENCES = 1e-6
# Lanczos to 1e-10 against dense eigenvalues; the dense Hessian of the separate layer is made of differences.
EIGENVALUE = {"merged": 1e-9, "separate": 1e-6}
ROUNDING = 1e-13


@pytest.fixture(scope="module")
def data():
    return draw_prompts(dimension=DIMENSION, context=6, prompts=30, label_noise=0.1, rng=np.random.default_rng(1))


def point(parametrisation):
    return initial_parameters(parametrisation, dimension=DIMENSION, rng=np.random.default_rng(2))


def flat(parameters):
    return np.concatenate([matrix.ravel() for matrix in parameters])


def unflat(vector, parametrisation):
    sizes = shapes(parametrisation, DIMENSION)
    pieces = np.split(vector, np.cumsum([rows * columns for rows, columns in sizes])[:-1])
    return tuple(piece.reshape(shape) for piece, shape in zip(pieces, sizes, strict=True))


def differences(function, vector, step=1e-4):
    """Central differences of a function of a vector, one row a component of the vector."""
    rows = []
    for k in range(vector.size):
        shift = np.zeros(vector.size)
        shift[k] = step
        rows.append((function(vector + shift) - function(vector - shift)) / (2 * step))
    return np.array(rows)


@pytest.mark.parametrize("parametrisation", ["merged", "separate"])
def test_slope_is_the_derivative_of_the_energy(data, parametrisation):
    def energy(vector):
        return energy_and_slope(unflat(vector, parametrisation), data.features, data.label, RIDGE0)[0]

    start = point(parametrisation)
    _, slope = energy_and_slope(start, data.features, data.label, RIDGE0)
    expected = differences(energy, flat(start))
    assert np.linalg.norm(flat(slope) - expected) < DIFFERENCES * np.linalg.norm(expected)
    # The check has the power to fail: a wrong sign, a missing ridge and a factor 2 are far outside.
    for wrong in (-1.0, 2.0):
        assert np.linalg.norm(wrong * flat(slope) - expected) > 0.5 * np.linalg.norm(expected)
    _, bare = energy_and_slope(start, data.features, data.label, 0.0)
    assert np.linalg.norm(flat(bare) - expected) > 0.05 * np.linalg.norm(expected)


@pytest.mark.parametrize("parametrisation", ["merged", "separate"])
@pytest.mark.parametrize("ridge0", [0.0, RIDGE0])
def test_largest_curvature_is_that_of_the_dense_hessian(data, parametrisation, ridge0):
    def slope(vector):
        return flat(energy_and_slope(unflat(vector, parametrisation), data.features, data.label, ridge0)[1])

    start = point(parametrisation)
    hessian = differences(slope, flat(start))
    if parametrisation == "merged":
        hessian = spin_glass.hessian(data) + ridge0 * np.eye(data.spins)
    expected = np.linalg.eigvalsh((hessian + hessian.T) / 2)[-1]
    found = largest_curvature(start, data.features, data.label, ridge0)
    assert found == pytest.approx(expected, rel=EIGENVALUE[parametrisation])


def test_energy_is_that_of_the_spin_glass(data):
    start = point("merged")
    energy, _ = energy_and_slope(start, data.features, data.label, RIDGE0)
    assert energy == pytest.approx(spin_glass.energy(data, start[0], RIDGE0), rel=ROUNDING)


def test_prediction_of_the_separate_layer_is_attention(data):
    """f = (1/norm) sum_k y_k (W_q xt).(W_k z_k), which is linear in sum_k y_k z_k / norm = u."""
    key, query = point("separate")
    scores = np.einsum("ph,ph->p", data.context @ key.T, data.query @ query.T)
    np.testing.assert_allclose(data.features.predict(effective_weights((key, query))), scores, rtol=0, atol=1e-12)


@pytest.mark.parametrize("parametrisation", ["merged", "separate"])
def test_initial_variance_of_the_effective_weights(parametrisation):
    """|W|^2/D = 1 on average. Its variance over draws: 2/n merged; for the separate layer measured here."""
    size, draws = 12, 400
    rng = np.random.default_rng(3)
    values = [
        np.sum(effective_weights(initial_parameters(parametrisation, dimension=size, rng=rng)) ** 2) / size
        for _ in range(draws)
    ]
    z = (np.mean(values) - 1) / (np.std(values, ddof=1) / np.sqrt(draws))
    assert abs(z) < 4.5  # false alarm 6.8e-6
    assert np.std(values) / np.sqrt(draws) < 0.02  # a variance 1/D instead of 1/(D+1) would be 8 % off


def test_bad_input():
    with pytest.raises(ParameterError, match="parametrisation must be one of merged, separate"):
        initial_parameters("joint", dimension=3, rng=np.random.default_rng(1))
    with pytest.raises(ParameterTypeError, match="rng"):
        initial_parameters("merged", dimension=3, rng=1)
