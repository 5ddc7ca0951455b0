"""Energy, measure and ground state of one data set against dense linear algebra and each other."""

import numpy as np
import pytest
from scipy import stats

import iclglass.numerics.instance.linear_response as linear_module
import iclglass.numerics.instance.spin_glass as module
from iclglass.numerics.errors import ConvergenceError
from iclglass.numerics.instance.data import Instance
from iclglass.numerics.instance.krylov import relative_residual
from iclglass.numerics.instance.linear_response import cheapest, ground_state, linear_response, quadratic_forms
from iclglass.numerics.instance.spin_glass import boltzmann, energy, hessian, hessian_eigenvalues, spin_glass
from tests.numerics.instance.drawn import draw

RTOL = 1e-9  # well-conditioned solves in double precision


@pytest.mark.parametrize(("dimension", "prompts"), [(2, 1), (3, 8), (4, 90)])
def test_couplings_fields_and_energy_are_their_definitions(dimension, prompts):
    data = draw(dimension, prompts)
    dense, glass = data.features.dense(), spin_glass(data, ridge0=0.3)
    gram = dense.T @ dense / prompts
    np.testing.assert_allclose(glass.couplings, np.diag(np.diagonal(gram)) - gram, RTOL, 1e-12)
    np.testing.assert_allclose(glass.fields, np.mean(data.label[:, None] * dense, axis=0), RTOL, 1e-12)
    np.testing.assert_allclose(glass.onsite, 0.3 + np.mean(dense**2, axis=0), RTOL)
    weights = np.random.default_rng(1).standard_normal((dimension + 1, dimension))
    loss = np.mean((data.label - dense @ weights.ravel()) ** 2) / 2 + 0.15 * np.sum(weights**2)
    np.testing.assert_allclose([energy(data, weights, 0.3), glass.energy(weights)], loss, RTOL)


def test_hessian_is_the_dense_product_over_any_number_of_chunks(monkeypatch):
    data = draw(4, 50)
    dense, whole = data.features.dense(), hessian(data)
    monkeypatch.setattr(module, "_CHUNK_ELEMENTS", 3 * 25)
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


def test_what_zero_modes_leave_undefined_is_refused():
    with pytest.raises(ValueError, match="ridge0 = 0 with 5 prompts and 6 spins"):
        boltzmann(draw(2, 5), ridge0=0.0, beta=1.0)
    boltzmann(draw(2, 12), ridge0=0.0, beta=1.0)
    for prompts, method in ((12, "primal"), (200, "dual")):
        with pytest.raises(ValueError, match="singular"):
            ground_state(draw(4, prompts), 0.0, method)


@pytest.mark.parametrize("prompts", [5, 30, 31, 200])
@pytest.mark.parametrize("ridge0", [0.01, 1.0])
def test_all_roads_to_ground_state_and_response_agree_with_the_inverse(prompts, ridge0):
    data = draw(5, prompts)
    dense = data.features.dense()
    matrix = dense.T @ dense / prompts + ridge0 * np.eye(data.spins)
    diagonal, exact = np.diagonal(np.linalg.inv(matrix)), boltzmann(data, ridge0=ridge0, beta=1.0).mean
    for method in ("auto", "primal", "dual", "cg"):
        np.testing.assert_allclose(ground_state(data, ridge0, method), exact, rtol=0, atol=1e-8, err_msg=method)
    for method in ("primal", "dual"):
        found = linear_response(data, ridge0, method)
        assert found.method == method
        assert found.diagonal is None or method == "primal"
        with_diagonal = linear_response(data, ridge0, method, diagonal=True)
        np.testing.assert_allclose(with_diagonal.diagonal.ravel(), diagonal, RTOL)
        np.testing.assert_allclose(found.log_determinant, np.linalg.slogdet(matrix)[1], RTOL)
        np.testing.assert_allclose(found.block_trace, diagonal[:25].sum(), RTOL)
        np.testing.assert_allclose(found.last_row_trace, diagonal[25:].sum(), RTOL)
        np.testing.assert_allclose(found.weights, exact, rtol=0, atol=1e-10)


def test_without_ridge_least_squares_or_minimum_norm():
    for prompts, methods in ((200, ("auto", "primal", "cg")), (12, ("auto", "dual", "cg"))):
        data = draw(4, prompts)
        exact = np.linalg.lstsq(data.features.dense(), data.label, rcond=None)[0]  # of minimum norm when not unique
        for method in methods:
            np.testing.assert_allclose(ground_state(data, 0.0, method).ravel(), exact, rtol=0, atol=1e-8)
    found = linear_response(draw(4, 12), 0.0)
    assert (found.log_determinant, found.block_trace, found.last_row_trace) == (-np.inf, np.inf, np.inf)


def test_conjugate_gradients_certify_or_raise():
    data = draw(6, 60)
    with pytest.raises(ConvergenceError, match=r"relative residual of .* after at most 2 iterations"):
        ground_state(data, 1e-4, "cg", max_iterations=2)
    assert relative_residual(data, ground_state(data, 1e-4, "cg", tolerance=1e-12), 1e-4) <= 1e-12


def test_the_cheaper_road_is_taken():
    roads = [cheapest(20, prompts, ridge0) for prompts, ridge0 in ((2000, 0.1), (50, 0.1), (419, 0.0), (420, 0.0))]
    assert roads == ["primal", "dual", "dual", "primal"]


@pytest.mark.parametrize("prompts", [10, 250, 441, 800])
def test_fraction_of_zero_eigenvalues_is_exact(prompts):
    """D = 20: max(D+1, (D+1)^2 - P) of the (D+1)^2 eigenvalues vanish (SG Fig. S7), counted, not built in."""
    data = draw(20, prompts)
    values = hessian_eigenvalues(data)
    zeros = np.count_nonzero(np.abs(values) < 1e-12 * values[-1])
    assert values.size == 21**2
    assert zeros == max(21, 21**2 - prompts)
    np.testing.assert_allclose(values.sum(), np.sum(data.features.dense() ** 2) / prompts, RTOL)


def test_matrices_that_do_not_fit_in_memory_are_refused_before_any_work():
    data = Instance(np.ones((1, 201)), np.ones((1, 200)), np.ones(1))
    with pytest.raises(ValueError, match=r"n = 40200 spins: one n x n matrix takes 12\.9 GB, above the limit of 4 GB"):
        hessian(data)


@pytest.mark.parametrize("prompts", [12, 60])
@pytest.mark.parametrize("method", ["primal", "dual"])
def test_quadratic_forms_are_those_of_the_inverse(prompts, method, monkeypatch):
    data, fresh = draw(5, prompts), draw(5, 7, seed=1)
    dense, features = data.features.dense(), fresh.features.dense()
    inverse = np.linalg.inv(dense.T @ dense / prompts + 0.2 * np.eye(data.spins))
    exact = np.einsum("mi,ij,mj->m", features, inverse, features)
    for elements in (linear_module._FORM_ELEMENTS, 1):
        monkeypatch.setattr(linear_module, "_FORM_ELEMENTS", elements)
        np.testing.assert_allclose(quadratic_forms(data, fresh.context, fresh.query, 0.2, method), exact, RTOL)


def test_without_ridge_a_form_is_infinite_only_where_a_zero_mode_reaches():
    """Features of the prompts themselves lie in the range of S^T: there the form is that of the pseudo-inverse."""
    data, fresh = draw(4, 12), draw(4, 3, seed=1)
    dense = data.features.dense()
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
