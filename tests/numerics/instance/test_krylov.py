"""Conjugate gradients for many right-hand sides: against dense solves, in both precisions, and when they must fail."""

import numpy as np
import pytest

import numerics.instance.krylov as krylov
from numerics.instance.data import Instance
from numerics.instance.krylov import relative_residual, response_solve
from validation.prompts import draw_prompts

TOLERANCE = 1e-12
RTOL = 1e-9  # tolerance times the condition number of the small systems here


def draw(dimension: int, prompts: int, covariance: np.ndarray | None = None) -> Instance:
    return draw_prompts(
        dimension=dimension,
        context=2 * dimension,
        prompts=prompts,
        label_noise=0.1,
        token_covariance=covariance,
        rng=np.random.default_rng(prompts),
    )


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
    fields = data.features.in_double().adjoint(data.label) / 200
    found = response_solve(data.features, fields[None], 0.02, tolerance=TOLERANCE, max_iterations=1000)
    exact = np.linalg.solve(response(data, 0.02), fields.ravel())
    np.testing.assert_allclose(found.weights.ravel(), exact, RTOL, RTOL)
    assert relative_residual(data, found.weights[0], 0.02) <= TOLERANCE


def test_minimum_norm():
    data = draw(5, 12)
    fields = data.features.adjoint(data.label) / 12
    found = response_solve(
        data.features, fields[None], 0.0, tolerance=TOLERANCE, max_iterations=1000, minimum_norm=True
    )
    exact = np.linalg.lstsq(data.features.dense(), data.label, rcond=None)[0]
    np.testing.assert_allclose(found.weights.ravel(), exact, RTOL, RTOL)


def test_the_limit_of_iterations_and_rounding_are_told_apart():
    data = draw(6, 60)
    fields = data.features.adjoint(data.label)[None] / 60
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
    correlated = draw(8, 3000, rotation @ np.diag(np.geomspace(1 / 3, 3, 8)) @ rotation.T)

    def iterations(data: Instance) -> int:
        fields = data.features.adjoint(data.label)[None] / data.prompts
        return response_solve(data.features, fields, 1e-12, tolerance=1e-8, max_iterations=5000).iterations

    isotropic, with_it = iterations(draw(8, 3000)), iterations(correlated)
    monkeypatch.setattr(krylov, "_kronecker_inverse", lambda features, ridge0: krylov._identity)
    without = iterations(correlated)
    assert with_it < 1.5 * isotropic
    assert without > 4 * with_it
