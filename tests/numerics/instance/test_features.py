"""The matrix-free operator is the explicit matrix, in O(P D) memory, at any precision and block size."""

import threading
import tracemalloc

import numpy as np
import pytest

import iclglass.numerics.instance.features as features_module
from iclglass.numerics.instance.features import FeatureOperator
from tests.own_threads import use_threads

RTOL = 1e-12  # two orders of summation in double precision
SINGLE = 1e-5  # the same in single precision


def operator(prompts: int, dimension: int, seed: int = 0) -> FeatureOperator:
    rng = np.random.default_rng(seed)
    return FeatureOperator(rng.standard_normal((prompts, dimension + 1)), rng.standard_normal((prompts, dimension)))


def share_all(patch, threads):
    """So many threads of our own, however small the work."""
    use_threads(patch, threads)
    patch.setattr(features_module, "_WORTH_A_THREAD", 1)


def use_small_blocks(patch, prompts=3):
    patch.setattr(features_module, "_BLOCK_ELEMENTS", 1)
    patch.setattr(features_module, "_LEAST_BLOCK", prompts)
    patch.setattr(features_module, "_GRAM_ROWS", prompts)


@pytest.fixture(params=["one block", "three prompts a block", "three prompts a block, four threads"])
def blocks(request, monkeypatch):
    if request.param != "one block":
        use_small_blocks(monkeypatch)
    if request.param == "three prompts a block, four threads":
        share_all(monkeypatch, 4)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize(("prompts", "dimension"), [(1, 1), (1, 2), (7, 3), (40, 5)])
def test_every_product_is_that_of_the_dense_matrix(prompts, dimension):
    features = operator(prompts, dimension)
    dense = features.dense()
    rng = np.random.default_rng(1)
    weights, residual = rng.standard_normal(features.weight_shape), rng.standard_normal(prompts)
    outer = [np.outer(u, x).ravel() for u, x in zip(features.context, features.query, strict=True)]
    np.testing.assert_array_equal(dense, outer)
    np.testing.assert_allclose(features.predict(weights), dense @ weights.ravel(), RTOL, RTOL)
    np.testing.assert_allclose(features.adjoint(residual).ravel(), dense.T @ residual, RTOL, RTOL)
    np.testing.assert_allclose(features.normal(weights).ravel(), dense.T @ (dense @ weights.ravel()), RTOL, RTOL)
    np.testing.assert_allclose(features.gram(), dense @ dense.T, RTOL, RTOL)
    np.testing.assert_allclose(features.diagonal().ravel(), np.mean(dense**2, axis=0), RTOL, RTOL)
    np.testing.assert_allclose(features.squares().dense(), dense**2, RTOL, RTOL)
    contexts, queries = features.second_moments()
    np.testing.assert_allclose(contexts, features.context.T @ features.context / prompts, RTOL, RTOL)
    np.testing.assert_allclose(queries, features.query.T @ features.query / prompts, RTOL, RTOL)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("count", [1, 4])
def test_a_stack_is_one_product_after_the_other(count):
    features, rng = operator(11, 3), np.random.default_rng(2)
    weights, residuals = rng.standard_normal((count, 4, 3)), rng.standard_normal((count, 11))
    for product, stack in ((features.predict, weights), (features.normal, weights), (features.adjoint, residuals)):
        np.testing.assert_allclose(product(stack), [product(one) for one in stack], RTOL, RTOL)


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
    assert count <= features_module._BLOCK_ELEMENTS  # one block: here the block's own sum decides
    monolithic = float(total[0, 0])
    with pytest.MonkeyPatch.context() as patch:
        use_small_blocks(patch, 1)
        assert FeatureOperator(context, ones).adjoint(np.ones(count))[0, 0] == (1 << 24) + count - 1
    assert monolithic == pytest.approx((1 << 24) + count - 1, rel=SINGLE)


PRODUCTS = {
    "predict": lambda features, random: features.predict(random(*features.weight_shape)),
    "predict a stack": lambda features, random: features.predict(random(3, *features.weight_shape)),
    "adjoint": lambda features, random: features.adjoint(random(features.shape[0])),
    "adjoint of a stack": lambda features, random: features.adjoint(random(3, features.shape[0])),
    "normal": lambda features, random: features.normal(random(*features.weight_shape)),
    "normal of a stack": lambda features, random: features.normal(random(3, *features.weight_shape)),
    "squares": lambda features, random: features.squares().predict(random(*features.weight_shape)),
    "diagonal": lambda features, _: features.diagonal(),
    "second moments": lambda features, _: np.concatenate([moment.ravel() for moment in features.second_moments()]),
    "gram": lambda features, _: features.gram(),
}


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("single", [False, True])
def test_products_have_the_same_bits_on_any_number_of_threads(product, single):
    features = operator(1000, 20)
    if single:
        features = FeatureOperator(features.context.astype(np.float32), features.query.astype(np.float32))
    found = []
    for threads in (1, 2, 3, 8):
        with pytest.MonkeyPatch.context() as patch:
            share_all(patch, threads)
            use_small_blocks(patch, 16)
            found.append(PRODUCTS[product](features, lambda *shape: np.random.default_rng(1).standard_normal(shape)))
    for other in found[1:]:
        assert other.dtype == found[0].dtype
        np.testing.assert_array_equal(other, found[0])


def test_work_is_shared_where_there_is_enough_of_it_only(monkeypatch):
    """A product of D = 4 and P = 100 wakes nobody; of D = 40 and P = 20000 it does, and the caller is made to wait."""
    caller, names, helped = threading.current_thread().name, set(), threading.Event()
    part = FeatureOperator._part

    def noted(self, where):
        name = threading.current_thread().name
        names.add(name)
        if name != caller:
            helped.set()
        elif self.shape[0] > 100:
            assert helped.wait(60)
        return part(self, where)

    monkeypatch.setattr(FeatureOperator, "_part", noted)
    use_threads(monkeypatch, 4)
    for prompts, dimension in ((100, 4), (20_000, 40)):
        features = operator(prompts, dimension)
        assert names <= {caller}
        features.normal(np.ones(features.weight_shape))
    assert len(names) > 1


@pytest.mark.parametrize("threads", [1, 2])
def test_memory_beside_the_data_does_not_grow_with_the_prompts(monkeypatch, threads):
    """D = 100, P = 20000: S would hold 1.6 GB, U and X hold 32 MB; products take a few blocks and the result."""
    share_all(monkeypatch, threads)
    prompts, dimension = 20_000, 100
    features = operator(prompts, dimension)
    weights, residual = np.ones(features.weight_shape), np.ones(prompts)
    assert 8 * features.shape[0] * features.shape[1] > 1.6e9
    tracemalloc.start()
    for product, given in ((features.predict, weights), (features.normal, weights), (features.adjoint, residual)):
        product(given)
    features.diagonal()
    features.second_moments()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    blocks = 2 + threads
    assert peak < blocks * 8 * features_module._BLOCK_ELEMENTS + 8 * prompts + 10 * 8 * dimension**2


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
