"""Conjugate gradients for many right-hand sides: against dense solves, in both precisions, and when they must fail."""

import numpy as np
import pytest

import iclglass.numerics.instance.krylov as krylov
from iclglass.numerics.instance.data import Instance
from iclglass.numerics.instance.features import FeatureOperator
from iclglass.numerics.instance.krylov import relative_residual, response_solve
from tests.numerics.instance.drawn import draw

TOLERANCE = 1e-12
RTOL = 1e-9  # tolerance times the condition number of the small systems here
ROUNDING = 1e-13  # of a few products of numbers of order one


def response(data: Instance, ridge0: float) -> np.ndarray:
    dense = data.features.in_double().dense().astype(float)
    return dense.T @ dense / data.prompts + ridge0 * np.eye(data.spins)


@pytest.mark.parametrize(("dimension", "prompts"), [(1, 5), (5, 3), (5, 31), (6, 400)])
def test_a_stack_of_solves_is_the_dense_solve(dimension, prompts):
    rng = np.random.default_rng(0)
    data = Instance(
        rng.standard_normal((prompts, dimension + 1)),
        rng.standard_normal((prompts, dimension)),
        rng.standard_normal(prompts),
    )
    fields = rng.standard_normal((3, dimension + 1, dimension))
    fields[1] = 0  # done before it starts
    fields[2] *= 1e-9  # each has its own scale
    found = response_solve(data.features, fields, 0.05, tolerance=TOLERANCE, max_iterations=1000)
    exact = np.linalg.solve(response(data, 0.05), fields.reshape(3, -1).T).T.reshape(fields.shape)
    for one, other in zip(found.weights, exact, strict=True):
        np.testing.assert_allclose(one, other, RTOL, RTOL * np.max(np.abs(other)))
    assert np.all(found.residual <= TOLERANCE)
    assert found.residual[1] == 0
    assert found.history.shape == (found.iterations,)


def test_single_precision_products_reach_the_double_residual_by_refinement():
    data = draw(8, 200).as_float32()
    fields = data.fields
    found = response_solve(data.features, fields[None], 0.02, tolerance=TOLERANCE, max_iterations=1000)
    exact = np.linalg.solve(response(data, 0.02), fields.ravel())
    np.testing.assert_allclose(found.weights.ravel(), exact, RTOL, RTOL)
    assert relative_residual(data, found.weights[0], 0.02) <= TOLERANCE


def test_the_limit_of_iterations_and_rounding_are_told_apart():
    data = draw(6, 60)
    fields = data.fields[None]
    short = response_solve(data.features, fields, 1e-4, tolerance=TOLERANCE, max_iterations=3)
    assert (short.iterations, short.stalled) == (3, False)
    assert short.residual[0] > TOLERANCE
    rounded = response_solve(data.features, fields, 1e-4, tolerance=1e-18, max_iterations=10_000)
    assert rounded.stalled
    assert 1e-18 < rounded.residual[0] < 1e-12
    assert relative_residual(data, rounded.weights[0], 1e-4) == pytest.approx(rounded.residual[0], rel=0.5)


def test_the_preconditioner_takes_away_the_covariance_of_the_tokens(monkeypatch):
    """Token variances from 1/3 to 3: 13 iterations as for isotropic tokens; 57 by A's diagonal, 87 without any."""
    rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((8, 8)))[0]
    correlated = draw(8, 3000, covariance=rotation @ np.diag(np.geomspace(1 / 3, 3, 8)) @ rotation.T)

    def iterations(data: Instance) -> int:
        options = {"tolerance": 1e-8, "max_iterations": 5000}
        return response_solve(data.features, data.fields[None], 1e-12, **options).iterations

    isotropic, with_it = iterations(draw(8, 3000)), iterations(correlated)
    monkeypatch.setattr(krylov, "_kronecker_inverse", lambda features, ridge0: krylov._identity)
    without = iterations(correlated)
    assert with_it < 1.5 * isotropic
    assert without > 4 * with_it


def every_pair(dimension: int, contexts: int, queries: int) -> FeatureOperator:
    """Each of some contexts with each of some queries: the mean of s s^T is mean(u u^T) (x) mean(xt xt^T), exactly."""
    rng = np.random.default_rng(2)
    context = rng.standard_normal((contexts, dimension + 1)) * np.geomspace(0.2, 2, dimension + 1)
    query = rng.standard_normal((queries, dimension)) + 0.5
    return FeatureOperator(np.repeat(context, queries, axis=0), np.tile(query, (contexts, 1)))


@pytest.mark.parametrize("ridge0", [0.0, 1e-3, 1.0, 30.0])
def test_the_preconditioner_solves_a_kronecker_product_and_ridge_in_one_step(ridge0, monkeypatch):
    monkeypatch.setattr(krylov, "_NOISY", 0)  # these moments are what they are, with no noise to shrink
    features = every_pair(4, 9, 8)
    weights = np.random.default_rng(3).standard_normal((2, *features.weight_shape))
    fields = features.normal(weights) / features.shape[0] + ridge0 * weights
    np.testing.assert_allclose(krylov._kronecker_inverse(features, ridge0)(fields), weights, RTOL, RTOL)
    found = response_solve(features, fields, ridge0, tolerance=RTOL, max_iterations=1)
    assert np.all(found.residual <= RTOL)


@pytest.mark.parametrize(("prompts", "kept"), [(20, (0.0, 0.0)), (50, (0.0, 0.2)), (100, (0.5, 0.6))])
def test_off_diagonal_second_moments_are_trusted_as_the_prompts_allow(prompts, kept):
    """Of D+1 = 5 and D = 4 dimensions 1 - 10 dimensions/P is kept, nothing below 10 prompts a dimension."""
    features = draw(4, prompts).features
    for moments, part in zip(features.second_moments(), kept, strict=True):
        found = krylov._shrunk(features, moments)
        off = ~np.eye(len(moments), dtype=bool)
        np.testing.assert_allclose(np.diagonal(found), np.diagonal(moments), rtol=ROUNDING)
        np.testing.assert_allclose(found[off], part * moments[off], rtol=ROUNDING, atol=0)


def test_a_run_cut_where_the_residual_has_risen_gives_back_what_it_began_with():
    """A = diag(1, r), h = (sqrt r, 1): the first step makes the residual 1/(2 sqrt r) times as large, the second 0."""
    ratio = 1e-4
    context = np.sqrt(2) * np.diag([1.0, np.sqrt(ratio)])
    features = FeatureOperator(context, np.ones((2, 1)))
    fields = np.array([[[np.sqrt(ratio)], [1.0]], [[1.0], [0.0]]])  # the other is done in one step, and keeps it
    one, two = (
        response_solve(features, fields, 0.0, tolerance=RTOL, max_iterations=steps, minimum_norm=True)
        for steps in (1, 2)
    )
    assert one.history[0] == pytest.approx(0.5 / np.sqrt(ratio), rel=0.01)
    np.testing.assert_allclose(one.residual, [1.0, 0.0], atol=ROUNDING)
    np.testing.assert_allclose(one.weights, [np.zeros((2, 1)), fields[1]], atol=ROUNDING)
    assert np.all(two.residual <= RTOL)


@pytest.mark.parametrize("seed", range(4))
def test_going_on_below_rounding_makes_no_system_worse(seed):
    """Ten more runs, each from the last one's weights, at a tolerance out of reach: every one ends in rounding."""
    data = draw(6, 60)
    fields = np.random.default_rng(seed).standard_normal((4, 7, 6))
    weights, residual = None, np.full(4, np.inf)
    for _ in range(10):
        found = response_solve(data.features, fields, 1e-4, tolerance=1e-18, max_iterations=10_000, initial=weights)
        assert found.stalled
        assert np.all(found.residual <= residual)
        if weights is not None:
            kept = found.residual == residual
            np.testing.assert_array_equal(found.weights[kept], weights[kept])
        weights, residual = found.weights, found.residual
    assert np.all(residual < TOLERANCE)
