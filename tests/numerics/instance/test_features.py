"""The matrix-free operator is the explicit matrix, in O(P D) memory, at any precision and block size."""

import tracemalloc

import numpy as np
import pytest

import iclglass.numerics.instance.features as features_module
from iclglass.numerics.instance.features import FeatureOperator

RTOL = 1e-12  # two orders of summation in double precision
SINGLE = 1e-5  # the same in single precision


def operator(prompts: int, dimension: int, seed: int = 0) -> FeatureOperator:
    rng = np.random.default_rng(seed)
    return FeatureOperator(rng.standard_normal((prompts, dimension + 1)), rng.standard_normal((prompts, dimension)))


@pytest.fixture(params=["one block", "three prompts a block"])
def blocks(request, monkeypatch):
    if request.param == "three prompts a block":
        monkeypatch.setattr(features_module, "_BLOCK_ELEMENTS", 1)
        monkeypatch.setattr(features_module, "_LEAST_BLOCK", 3)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize(("prompts", "dimension"), [(1, 1), (1, 2), (7, 3), (40, 5)])
def test_every_product_is_that_of_the_dense_matrix(prompts, dimension):
    features = operator(prompts, dimension)
    dense = features.dense()
    rng = np.random.default_rng(1)
    weights, residual = rng.standard_normal(features.weight_shape), rng.standard_normal(prompts)
    assert dense.shape == features.shape
    np.testing.assert_allclose(features.predict(weights), dense @ weights.ravel(), RTOL, RTOL)
    np.testing.assert_allclose(features.adjoint(residual).ravel(), dense.T @ residual, RTOL, RTOL)
    np.testing.assert_allclose(features.normal(weights).ravel(), dense.T @ (dense @ weights.ravel()), RTOL, RTOL)
    np.testing.assert_allclose(features.gram(), dense @ dense.T, RTOL, RTOL)
    np.testing.assert_allclose(features.diagonal().ravel(), np.mean(dense**2, axis=0), RTOL, RTOL)
    np.testing.assert_allclose(features.squares().dense(), dense**2, RTOL, RTOL)
    contexts, queries = features.second_moments()
    np.testing.assert_allclose(contexts, features.context.T @ features.context / prompts, RTOL, RTOL)
    np.testing.assert_allclose(queries, features.query.T @ features.query / prompts, RTOL, RTOL)
    linear = features.as_linear_operator()
    np.testing.assert_allclose(linear @ weights.ravel(), dense @ weights.ravel(), RTOL, RTOL)
    np.testing.assert_allclose(linear.T @ residual, dense.T @ residual, RTOL, RTOL)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("count", [1, 4])
def test_a_stack_is_one_product_after_the_other(count):
    features = operator(11, 3)
    rng = np.random.default_rng(2)
    weights, residuals = rng.standard_normal((count, 4, 3)), rng.standard_normal((count, 11))
    for product, stack in (
        (features.predict, weights),
        (features.normal, weights),
        (features.adjoint, residuals),
    ):
        found = product(stack)
        assert found.shape[0] == count
        for one, result in zip(stack, found, strict=True):
            np.testing.assert_allclose(result, product(one), RTOL, RTOL)


@pytest.mark.usefixtures("blocks")
def test_single_precision_data_give_double_results_of_single_accuracy():
    features = operator(50, 4)
    single = FeatureOperator(features.context.astype(np.float32), features.query.astype(np.float32))
    weights, residual = np.random.default_rng(3).standard_normal((5, 4)), np.ones(50)
    assert single.arithmetic == np.float32
    for name, argument in (("predict", weights), ("normal", weights), ("adjoint", residual)):
        found, double = getattr(single, name)(argument), getattr(features, name)(argument)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, double, SINGLE, SINGLE * np.max(np.abs(double)))
        # in double precision on the same rounded data: no error but that of the summation's order
        exact = getattr(FeatureOperator(single.context.astype(float), single.query.astype(float)), name)(argument)
        np.testing.assert_allclose(getattr(single.in_double(), name)(argument), exact, RTOL, RTOL)
        assert np.any(found != exact)


def test_sums_over_blocks_are_double_whatever_the_data_are():
    """2^24 + 1 is not a single-precision number: a sum in single precision would stay at 2^24."""
    count = 1 << 13
    ones = np.ones((count, 1), dtype=np.float32)
    context = np.concatenate([ones, ones], axis=1)
    context[0] = 1 << 24
    total = FeatureOperator(context, ones).adjoint(np.ones(count))
    lost_in_a_block = features_module._BLOCK_ELEMENTS
    assert lost_in_a_block >= count  # one block: here the block's own sum decides
    monolithic = float(total[0, 0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features_module, "_BLOCK_ELEMENTS", 1)
        patch.setattr(features_module, "_LEAST_BLOCK", 1)
        assert FeatureOperator(context, ones).adjoint(np.ones(count))[0, 0] == (1 << 24) + count - 1
    assert monolithic == pytest.approx((1 << 24) + count - 1, rel=SINGLE)


def test_dense_rows_are_outer_products_row_by_row():
    features = operator(3, 2)
    for row, context, query in zip(features.dense(), features.context, features.query, strict=True):
        np.testing.assert_array_equal(row, np.outer(context, query).ravel())


def test_memory_beside_the_data_does_not_grow_with_the_prompts():
    """D = 100, P = 20000: S would hold 1.6 GB, U and X hold 32 MB; products take three blocks and the result."""
    prompts, dimension = 20_000, 100
    features = operator(prompts, dimension)
    weights, residual = np.ones(features.weight_shape), np.ones(prompts)
    assert 8 * features.shape[0] * features.shape[1] > 1.6e9
    tracemalloc.start()
    features.predict(weights)
    features.adjoint(residual)
    features.normal(weights)
    features.diagonal()
    features.second_moments()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * 8 * features_module._BLOCK_ELEMENTS + 8 * prompts + 10 * 8 * dimension**2


@pytest.mark.parametrize("shape", [(3, 2), (4, 4), (12,), (2, 4, 4), (1, 2, 4, 3)])
def test_wrong_shapes_are_refused(shape):
    features = operator(5, 3)
    for product in (features.predict, features.normal):
        with pytest.raises(ValueError, match=r"weights must have shape \(4, 3\)"):
            product(np.zeros(shape))
    with pytest.raises(ValueError, match="residual must have shape"):
        features.adjoint(np.zeros((5, 1)))
    with pytest.raises(ValueError, match="context must have shape"):
        FeatureOperator(np.zeros((5, 2)), np.zeros((5, 3)))
