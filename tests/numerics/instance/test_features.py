"""The matrix-free operator is the explicit matrix, in O(P D) memory."""

import tracemalloc

import numpy as np
import pytest

from numerics.instance.features import FeatureOperator

RTOL = 1e-12  # two orders of summation in double precision


def operator(prompts: int, dimension: int, seed: int = 0) -> FeatureOperator:
    rng = np.random.default_rng(seed)
    return FeatureOperator(rng.standard_normal((prompts, dimension + 1)), rng.standard_normal((prompts, dimension)))


@pytest.mark.parametrize(("prompts", "dimension"), [(1, 2), (7, 3), (40, 5)])
def test_every_product_is_that_of_the_dense_matrix(prompts, dimension):
    features = operator(prompts, dimension)
    dense = features.dense()
    rng = np.random.default_rng(1)
    weights, residual = rng.standard_normal(features.weight_shape), rng.standard_normal(prompts)
    assert dense.shape == features.shape
    np.testing.assert_allclose(features.predict(weights), dense @ weights.ravel(), RTOL, RTOL)
    np.testing.assert_allclose(features.adjoint(residual).ravel(), dense.T @ residual, RTOL, RTOL)
    np.testing.assert_allclose(features.gram(), dense @ dense.T, RTOL, RTOL)
    np.testing.assert_allclose(features.diagonal().ravel(), np.mean(dense**2, axis=0), RTOL, RTOL)
    linear = features.as_linear_operator()
    np.testing.assert_allclose(linear @ weights.ravel(), dense @ weights.ravel(), RTOL, RTOL)
    np.testing.assert_allclose(linear.T @ residual, dense.T @ residual, RTOL, RTOL)


def test_dense_rows_are_outer_products_row_by_row():
    features = operator(3, 2)
    for row, context, query in zip(features.dense(), features.context, features.query, strict=True):
        np.testing.assert_array_equal(row, np.outer(context, query).ravel())


def test_memory_is_of_order_prompts_times_dimension():
    """D = 100, P = 20000: S would hold 1.6 GB; S W and S^T r stay below three arrays of P D doubles."""
    prompts, dimension = 20_000, 100
    features = operator(prompts, dimension)
    weights, residual = np.ones(features.weight_shape), np.ones(prompts)
    assert 8 * features.shape[0] * features.shape[1] > 1.6e9
    tracemalloc.start()
    features.predict(weights)
    features.adjoint(residual)
    features.diagonal()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * 8 * prompts * dimension


@pytest.mark.parametrize("shape", [(3, 2), (4, 4), (12,)])
def test_wrong_shapes_are_refused(shape):
    features = operator(5, 3)
    with pytest.raises(ValueError, match=r"weights must have shape \(4, 3\)"):
        features.predict(np.zeros(shape))
    with pytest.raises(ValueError, match="residual must have shape"):
        features.adjoint(np.zeros((5, 1)))
    with pytest.raises(ValueError, match="context must have shape"):
        FeatureOperator(np.zeros((5, 3)), np.zeros((5, 3)))
