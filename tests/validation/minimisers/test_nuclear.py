"""The minimum with the nuclear norm, from the norm's subdifferential; and as a layer with two weights."""

import numpy as np
import pytest
from scipy.optimize import minimize

from iclglass.validation.minimisers.losses import ABSOLUTE_ERROR, LOG_LOSS, SQUARED_ERROR
from iclglass.validation.minimisers.nuclear import minimise_nuclear
from iclglass.validation.prompts import draw_prompts


@pytest.mark.parametrize("last_row", [True, False])
@pytest.mark.parametrize("loss", [SQUARED_ERROR, LOG_LOSS])
def test_the_gradient_is_a_subgradient_of_the_norm(loss, last_row):
    labels = "sign" if loss is LOG_LOSS else "linear"
    rng = np.random.default_rng(1)
    data = draw_prompts(dimension=10, context=20, prompts=150, labels=labels, last_row=last_row, rng=rng)
    nuclear0 = 0.03
    found = minimise_nuclear(data, loss, nuclear0)
    assert found.status == "converged"
    slope = loss.slope(data.label, data.features.predict(found.weights))
    subgradient = -data.features.adjoint(slope) / (data.prompts * nuclear0)
    left, values, right = np.linalg.svd(found.weights, full_matrices=False)
    kept = values > 1e-10
    assert 0 < kept.sum() < 10
    left, right = left[:, kept], right[kept]
    # U V^T on the singular vectors, of norm at most one elsewhere
    np.testing.assert_allclose(left.T @ subgradient, right, atol=1e-6)
    np.testing.assert_allclose(subgradient @ right.T, left, atol=1e-6)
    rest = subgradient - left @ right
    assert np.linalg.norm(rest, 2) <= 1 + 1e-6


def test_two_weights_with_weight_decay_end_there():
    data = draw_prompts(dimension=5, context=8, prompts=40, label_noise=0.1, rng=np.random.default_rng(2))
    nuclear0 = 0.03
    found = minimise_nuclear(data, SQUARED_ERROR, nuclear0)

    def energy(vector):
        key, query = vector[:30].reshape(5, 6), vector[30:].reshape(5, 5)
        error = data.features.predict(key.T @ query) - data.label
        pull = data.features.adjoint(error) / data.prompts
        gradient = np.concatenate([(query @ pull.T + nuclear0 * key).ravel(), (key @ pull + nuclear0 * query).ravel()])
        return np.mean(error**2) / 2 + nuclear0 / 2 * np.sum(vector**2), gradient

    start = 0.3 * np.random.default_rng(3).standard_normal(55)
    trained = minimize(energy, start, jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 5000})
    assert trained.fun == pytest.approx(found.energy, abs=1e-9)
    product = trained.x[:30].reshape(5, 6).T @ trained.x[30:].reshape(5, 5)
    np.testing.assert_allclose(product, found.weights, atol=1e-5)


def test_a_loss_with_a_kink():
    data = draw_prompts(dimension=8, context=16, prompts=64, last_row=False, rng=np.random.default_rng(4))
    found = minimise_nuclear(data, ABSOLUTE_ERROR, 0.02)
    assert found.status == "converged"

    def energy(weights):
        error = data.label - data.features.predict(weights)
        return np.mean(np.abs(error)) + 0.02 * np.linalg.norm(weights, "nuc")

    assert energy(found.weights) == pytest.approx(found.energy, rel=1e-12)
    rng = np.random.default_rng(5)
    for size in (1e-1, 1e-3, 1e-5):
        for _ in range(50):
            change = size * rng.standard_normal((8, 8))
            assert energy(found.weights + change) >= found.energy - 1e-8
