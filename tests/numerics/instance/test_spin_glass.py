"""Energy, measure and ground state of one data set against dense linear algebra and each other."""

import numpy as np
import pytest
from scipy import stats

from iclglass.numerics.errors import ConvergenceError
from iclglass.numerics.instance.data import Instance
from iclglass.numerics.instance.features import FeatureOperator
from iclglass.numerics.instance.linear_response import cheapest, ground_state, linear_response, quadratic_forms
from iclglass.numerics.instance.spin_glass import boltzmann, energy, hessian, hessian_eigenvalues, spin_glass
from iclglass.validation.prompts import Prompts, draw_prompts

RTOL = 1e-9  # well-conditioned solves in double precision


def draw(dimension: int, prompts: int, seed: int = 0) -> Prompts:
    return draw_prompts(
        dimension=dimension,
        context=2 * dimension,
        prompts=prompts,
        label_noise=0.2,
        rng=np.random.default_rng(seed),
    )


def dense_of(prompts: Prompts) -> np.ndarray:
    return FeatureOperator(prompts.context, prompts.query).dense()


@pytest.mark.parametrize(("dimension", "prompts"), [(2, 1), (3, 8), (4, 90)])
def test_energy_of_couplings_and_fields_is_the_loss(dimension, prompts):
    data = draw(dimension, prompts)
    glass = spin_glass(data, ridge0=0.3)
    weights = np.random.default_rng(1).standard_normal((dimension + 1, dimension))
    residual = data.label - dense_of(data) @ weights.ravel()
    loss = np.mean(residual**2) / 2 + 0.15 * np.sum(weights**2)
    np.testing.assert_allclose(energy(data, weights, 0.3), loss, RTOL)
    np.testing.assert_allclose(glass.energy(weights), loss, RTOL)
    assert not np.any(np.diagonal(glass.couplings))


def test_couplings_and_fields_are_their_definitions():
    data = draw(3, 11)
    dense, glass = dense_of(data), spin_glass(data, ridge0=0.5)
    for i in range(data.spins):
        np.testing.assert_allclose(glass.fields[i], np.mean(data.label * dense[:, i]), RTOL, 1e-12)
        np.testing.assert_allclose(glass.onsite[i], 0.5 + np.mean(dense[:, i] ** 2), RTOL)
        for j in set(range(data.spins)) - {i}:
            np.testing.assert_allclose(glass.couplings[i, j], -np.mean(dense[:, i] * dense[:, j]), RTOL, 1e-12)


def test_hessian_is_the_dense_product_over_any_number_of_chunks(monkeypatch):
    data = draw(4, 50)
    dense = dense_of(data)
    whole = hessian(data)
    monkeypatch.setattr("iclglass.numerics.instance.spin_glass._CHUNK_ELEMENTS", 3 * 25)
    np.testing.assert_allclose(hessian(data), whole, RTOL, 1e-12)
    np.testing.assert_allclose(whole, dense.T @ dense / 50, RTOL, 1e-12)


@pytest.mark.parametrize("prompts", [4, 40])
def test_boltzmann_density_is_the_gaussian_density(prompts):
    """ln of exp(-beta H)/Z at random points is SciPy's log-density: fixes mean, covariance and ln Z."""
    data = draw(2, prompts)
    measure = boltzmann(data, ridge0=0.4, beta=3.0)
    normal = stats.multivariate_normal(measure.mean.ravel(), measure.covariance)
    for weights in np.random.default_rng(2).standard_normal((5, 3, 2)):
        log_density = -3.0 * energy(data, weights, 0.4) - measure.log_partition
        np.testing.assert_allclose(log_density, normal.logpdf(weights.ravel()), RTOL)


def test_boltzmann_without_normalisation_is_refused():
    with pytest.raises(ValueError, match="ridge0 = 0 with 5 prompts and 6 spins"):
        boltzmann(draw(2, 5), ridge0=0.0, beta=1.0)
    boltzmann(draw(2, 12), ridge0=0.0, beta=1.0)


@pytest.mark.parametrize("prompts", [5, 30, 31, 200])
@pytest.mark.parametrize("ridge0", [0.01, 1.0])
def test_all_roads_to_the_ground_state_agree(prompts, ridge0):
    data = draw(5, prompts)
    exact = boltzmann(data, ridge0=ridge0, beta=1.0).mean
    for method in ("auto", "primal", "dual", "cg"):
        np.testing.assert_allclose(ground_state(data, ridge0, method), exact, rtol=0, atol=1e-8, err_msg=method)


@pytest.mark.parametrize("prompts", [5, 30, 31, 200])
@pytest.mark.parametrize("ridge0", [0.01, 1.0])
def test_both_roads_to_the_linear_response_agree_with_the_inverse(prompts, ridge0):
    data = draw(5, prompts)
    dense = dense_of(data)
    matrix = dense.T @ dense / prompts + ridge0 * np.eye(data.spins)
    diagonal = np.diagonal(np.linalg.inv(matrix))
    for method in ("primal", "dual"):
        found = linear_response(data, ridge0, method)
        assert found.method == method
        assert found.diagonal is None or method == "primal"
        with_diagonal = linear_response(data, ridge0, method, diagonal=True)
        np.testing.assert_allclose(with_diagonal.diagonal.ravel(), diagonal, RTOL)
        np.testing.assert_allclose(found.log_determinant, np.linalg.slogdet(matrix)[1], RTOL)
        np.testing.assert_allclose(found.block_trace, diagonal[:25].sum(), RTOL)
        np.testing.assert_allclose(found.last_row_trace, diagonal[25:].sum(), RTOL)
        np.testing.assert_allclose(found.weights, ground_state(data, ridge0), rtol=0, atol=1e-10)


def test_without_ridge_least_squares_or_minimum_norm():
    for prompts, methods in ((200, ("auto", "primal", "cg")), (12, ("auto", "dual", "cg"))):
        data = draw(4, prompts)
        exact = np.linalg.lstsq(dense_of(data), data.label, rcond=None)[0]  # of minimum norm when not unique
        for method in methods:
            np.testing.assert_allclose(ground_state(data, 0.0, method).ravel(), exact, rtol=0, atol=1e-8)


@pytest.mark.parametrize(("prompts", "method"), [(12, "primal"), (200, "dual")])
def test_without_ridge_singular_roads_are_refused(prompts, method):
    with pytest.raises(ValueError, match="singular"):
        ground_state(draw(4, prompts), 0.0, method)


def test_zero_modes_have_infinite_response():
    found = linear_response(draw(4, 12), 0.0)
    assert (found.log_determinant, found.block_trace, found.last_row_trace) == (-np.inf, np.inf, np.inf)


def test_conjugate_gradients_certify_or_raise():
    data = draw(6, 60)
    with pytest.raises(ConvergenceError, match=r"relative residual of .* after at most 2 iterations"):
        ground_state(data, 1e-4, "cg", max_iterations=2)
    weights = ground_state(data, 1e-4, "cg", tolerance=1e-12)
    features = FeatureOperator(data.context, data.query)
    fields = features.adjoint(data.label) / 60
    residual = fields - features.adjoint(features.predict(weights)) / 60 - 1e-4 * weights
    assert np.linalg.norm(residual) <= 1e-12 * np.linalg.norm(fields)


def test_the_cheaper_road_is_taken():
    assert cheapest(20, 2000, 0.1) == "primal"
    assert cheapest(20, 50, 0.1) == "dual"
    assert cheapest(20, 419, 0.0) == "dual"
    assert cheapest(20, 420, 0.0) == "primal"


@pytest.mark.parametrize("prompts", [10, 250, 441, 800])
def test_fraction_of_zero_eigenvalues_is_exact(prompts):
    """D = 20: max(D+1, (D+1)^2 - P) of the (D+1)^2 eigenvalues vanish (SG Fig. S7), counted, not built in."""
    values = hessian_eigenvalues(draw(20, prompts))
    zeros = np.count_nonzero(np.abs(values) < 1e-12 * values[-1])
    assert values.size == 21**2
    assert zeros == max(21, 21**2 - prompts)
    dense = dense_of(draw(20, prompts))
    np.testing.assert_allclose(values.sum(), np.sum(dense**2) / prompts, RTOL)


def test_matrices_that_do_not_fit_in_memory_are_refused_before_any_work():
    data = Instance(np.ones((1, 201)), np.ones((1, 200)), np.ones(1))
    for refused in (hessian, hessian_eigenvalues, lambda x: spin_glass(x, 0.1)):
        with pytest.raises(
            ValueError, match=r"n = 40200 spins: one n x n matrix takes 12\.9 GB, above the limit of 4 GB"
        ):
            refused(data)


@pytest.mark.parametrize("prompts", [12, 60])
@pytest.mark.parametrize("method", ["primal", "dual"])
def test_quadratic_forms_are_those_of_the_inverse(prompts, method, monkeypatch):
    data, fresh = draw(5, prompts), draw(5, 7, seed=1)
    dense, features = dense_of(data), dense_of(fresh)
    inverse = np.linalg.inv(dense.T @ dense / prompts + 0.2 * np.eye(data.spins))
    exact = np.einsum("mi,ij,mj->m", features, inverse, features)
    np.testing.assert_allclose(quadratic_forms(data, fresh.context, fresh.query, 0.2, method), exact, RTOL)
    monkeypatch.setattr("iclglass.numerics.instance.linear_response._FORM_ELEMENTS", 1)
    np.testing.assert_allclose(quadratic_forms(data, fresh.context, fresh.query, 0.2, method), exact, RTOL)


def test_without_ridge_a_form_is_infinite_only_where_a_zero_mode_reaches():
    """Features of the prompts themselves lie in the range of S^T: there the form is that of the pseudo-inverse."""
    data, fresh = draw(4, 12), draw(4, 3, seed=1)
    dense = dense_of(data)
    pseudo = np.linalg.pinv(dense.T @ dense / 12, hermitian=True)
    own = quadratic_forms(data, data.context, data.query, 0.0)
    np.testing.assert_allclose(own, np.einsum("mi,ij,mj->m", dense, pseudo, dense), 1e-7)
    assert np.all(quadratic_forms(data, fresh.context, fresh.query, 0.0) == np.inf)


def test_without_ridge_a_spin_that_no_zero_mode_reaches_keeps_its_variance():
    """Prompts on two query axes only: P = 6 = (D+1) x 2 fix the spins of those two columns, the third is free."""
    data = draw(2, 6)
    query = np.column_stack([data.query, np.zeros(6)])
    context = np.column_stack([data.context, np.random.default_rng(3).standard_normal(6)])
    wide = Instance(np.vstack([context, context[:2] * 2]), np.vstack([query, query[::-1][:2]]), np.ones(8))
    dense = wide.features.dense()
    found = linear_response(wide, 0.0, "dual", diagonal=True).diagonal
    pseudo = np.diagonal(np.linalg.pinv(dense.T @ dense / 8, hermitian=True)).reshape(4, 3)
    assert np.all(found[:, 2] == np.inf)
    np.testing.assert_allclose(found[:, :2], pseudo[:, :2], 1e-6)
