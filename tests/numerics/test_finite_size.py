"""The finite-size cavity theory: its limits, its functional, its quadrature, its solver, its refusals."""

import timeit

import numpy as np
import pytest

import iclglass.numerics.finite_own_tasks as module
from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.finite_size import solve_finite
from iclglass.numerics.gamma_quadrature import chi_square_nodes, prompt_nodes
from iclglass.numerics.last_row import LastRow
from iclglass.numerics.moments import feature_moments
from iclglass.numerics.saddle_point import solve
from iclglass.numerics.status import Status

POINT = {"task_diversity": 2.0, "context_length": 1.0, "ridge": 0.1, "label_noise": 0.25, "temperature": 0.5}
NAMES = ("m", "q", "q_self", "chi", "e_icl", "e_icl_gibbs", "e_idg", "e_train", "contrast", "free_energy", "energy",
         "entropy", "replicon")  # fmt: skip
LAYERS = ({}, {"last_feature": "scaled-tokens"}, {"last_row": False})
# A polynomial of degree 4 in 1/D through D = 100 .. 1600: what is left is of order (1/100)^5 times its condition, 50.
EXTRAPOLATION = 2e-8
# Central differences with a relative step of 1e-4: (1e-4)^2 times a third derivative of order 10.
DIFFERENCE = 1e-6


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(
    "changes",
    [{}, {"task_diversity": 0.5, "context_length": 2.0, "ridge": 0.01, "label_noise": 0.0},
     {"task_diversity": 4.0, "context_length": 0.5, "ridge": 0.0, "label_noise": 0.0}],
)  # fmt: skip
def test_every_layer_becomes_the_one_asymptotic_theory(changes, layer):
    sizes = np.array([100, 200, 400, 800, 1600])
    point = POINT | changes
    finite, limit = solve_finite(dimension=sizes, **point, **layer), solve(**point)
    for name in NAMES:
        coefficients = np.linalg.solve(np.vander(100 / sizes, 5, increasing=True), getattr(finite, name))
        expected = float(getattr(limit, name))
        assert abs(coefficients[0] - expected) < EXTRAPOLATION * max(1, abs(expected)), name
        # and the coefficient of 1/D is the slope seen at the two largest sizes, up to 1/D^2
        slope = (getattr(finite, name)[-1] - expected) * 1600
        assert abs(slope - 100 * coefficients[1]) < 0.01 * max(1, abs(slope)), name


def test_one_over_d_coefficients_without_ridge():
    """tau = 4, alpha = 1/2, rho = 0: coefficients of 1/D are rational, e.g. 14/9 for e_icl and -1/3 for e_train."""
    sizes = np.array([100, 200, 400, 800, 1600])
    found = solve_finite(dimension=sizes, task_diversity=4.0, context_length=0.5, ridge=0.0)
    for name, value in (("e_icl", 14 / 9), ("e_train", -1 / 3), ("q", 26 / 81), ("m", 0.0), ("replicon", -31 / 16)):
        coefficients = np.linalg.solve(np.vander(1 / sizes, 5, increasing=True), getattr(found, name))
        assert abs(coefficients[1] - value) < 1e-6, name


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("tau", [0.4, 1.05, 3.0])
@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_free_energy_is_a_functional_of_which_the_rest_are_derivatives(layer, tau, temperature):
    """dF/dlam is half the mean of |W|^2/D: ties ln det A, g_1, g_2, m, v_1, v_2 and the train error together."""
    step, point = 1e-4, POINT | {"task_diversity": tau, "temperature": temperature, "dimension": 9, **layer}
    kind = LastRow(**layer)
    centre, up, down = (solve_finite(**(point | {"ridge": 0.1 * factor})) for factor in (1, 1 + step, 1 - step))
    slope = (up.free_energy - down.free_energy) / (0.2 * step)
    moments = feature_moments(dimension=9, context=int(centre.context), label_noise=0.25, norm="N")
    # g_2 from the Gibbs error, e_icl_gibbs - e_icl = (T/D)(block g_1 + last_row g_2), g_1 = D chi
    last = 0.0
    if temperature > 0 and kind.last_row:
        last = 9 * (centre.e_icl_gibbs - centre.e_icl) - temperature * moments.block * 9 * centre.chi
        last /= moments.last_row * kind.scale(9) ** 2
    expected = (centre.q_self + centre.last_row / 9 + last / 81) / 2
    assert abs(slope / expected - 1) < DIFFERENCE
    energy = (centre.e_train + 0.1 * (centre.q + centre.last_row / 9)) / 2 + temperature * kind.rows(9) / 18
    assert centre.energy == pytest.approx(energy, rel=1e-13)
    if temperature > 0:
        hot, cold = (solve_finite(**(point | {"temperature": temperature * f})) for f in (1 + step, 1 - step))
        entropy = -(hot.free_energy - cold.free_energy) / (2 * step * temperature)
        assert abs(entropy - centre.entropy) < DIFFERENCE


@pytest.mark.parametrize("rho", [0.0, 0.7])
@pytest.mark.parametrize("context", [pytest.param(1, marks=pytest.mark.slow), 7])
def test_nodes_have_the_exact_moments(rho, context):
    nodes = prompt_nodes(6, context, context + 1, rho, 8)
    moments = feature_moments(dimension=6, context=context, label_noise=rho, norm="N+1")
    found = [nodes.weight @ x for x in (nodes.label, nodes.signal / 6, nodes.block / 6, nodes.last / 6)]
    expected = [moments.label, moments.signal, moments.block, moments.last_row]
    np.testing.assert_allclose(found, expected, rtol=1e-4 if context == 1 else 1e-10)


@pytest.mark.parametrize("freedom", [4, 5, 20, 1000, 10**8])
def test_chi_square_moments(freedom):
    nodes, weights = chi_square_nodes(freedom, 14)
    for power, value in ((1, 1.0), (2, 1 + 2 / freedom), (-1, freedom / (freedom - 2.0))):
        assert abs(weights @ (nodes / freedom) ** power / value - 1) < 1e-6


@pytest.mark.parametrize(
    ("alpha", "rho", "bound"),
    [(0.1, 0.0, 2e-2), (0.3, 0.0, 1e-4), (0.5, 0.2, 1e-5), (0.5, 2.0, 3e-4), (2.0, 0.0, 1e-6), (10.0, 0.2, 1e-7)],
)
def test_quadrature_has_converged(monkeypatch, alpha, rho, bound):
    """More nodes in every dimension change nothing: one token is the worst case."""
    point = {"dimension": 10, "task_diversity": np.array([0.1, 0.8, 1.2, 10.0])[:, None], "ridge": [1e-4, 0.01, 0.1, 1]}
    coarse = solve_finite(**point, context_length=alpha, label_noise=rho)
    monkeypatch.setattr(module, "prompt_nodes", lambda *law: prompt_nodes(*law, 6 if rho == 0 else 3))
    fine = solve_finite(**point, context_length=alpha, label_noise=rho)
    for name in ("m", "q", "e_icl", "chi", "contrast"):
        np.testing.assert_allclose(getattr(coarse, name), getattr(fine, name), rtol=bound)


def test_converges_everywhere():
    """lam from 0 to 1e4, tau from one prompt to 1e4, the threshold P = D(D+1) and its neighbours included."""
    ridge = np.array([0, 1e-14, 1e-10, 1e-6, 1e-3, 0.1, 10, 1e4])
    for dimension, alpha, rho in ((4, 1.0, 0.0), (10, 2.0, 0.3), (33, 5.0, 0.0), (200, 0.2, 0.0)):
        spins = dimension * (dimension + 1)
        prompts = np.concatenate([np.geomspace(1, 1e4 * spins, 8).round(), spins + np.array([-2, -1, 0, 1, 2])])
        tau = (prompts / dimension**2)[:, None]
        found = solve_finite(
            dimension=dimension, task_diversity=tau, context_length=alpha, ridge=ridge, label_noise=rho
        )
        singular = (found.prompts == spins) & (ridge == 0)
        np.testing.assert_array_equal(found.status == Status.DIVERGES, singular)
        assert found.converged[~singular].all()
        assert np.nanmax(found.residual) < 1e-13
        assert (found.e_train <= found.e_icl)[~singular].all()
        assert (found.replicon > 0)[~singular].all()
        assert np.isnan(found.e_icl[singular]).all()


@pytest.mark.parametrize("tau", [0.5, 2.0])
def test_ridgeless_is_the_limit(tau):
    point = {"dimension": 10, "task_diversity": tau, "context_length": 1.0, "label_noise": 0.1}
    limit, small = solve_finite(**point, ridge=0.0), solve_finite(**point, ridge=1e-9)
    for name in ("m", "q", "e_icl", "contrast", "replicon", "last_row"):
        assert abs(getattr(limit, name) / getattr(small, name) - 1) < 1e-6, name
    if tau < 1:
        assert (limit.e_train, limit.energy, limit.chi) == (0.0, 0.0, np.inf)
        hot = solve_finite(**point, ridge=0.0, temperature=1.0)
        assert (hot.free_energy, hot.entropy) == (-np.inf, np.inf)
    else:
        # without ridge the trace of A A^{-1} is n: the train error and chi stay finite
        assert limit.e_train == pytest.approx(small.e_train, rel=1e-6)
        assert limit.chi == pytest.approx(small.chi, rel=1e-6)


def test_two_tokens_cannot_be_fitted_without_ridge():
    found = solve_finite(dimension=10, task_diversity=[0.5, 2.0], context_length=0.2, ridge=0.0)
    assert [Status(code).name for code in found.status] == ["DIVERGES", "CONVERGED"]


def test_grid_equals_its_points_and_lets_the_dimension_vary():
    dimension, tau = np.array([[6], [12]]), np.array([0.5, 1.5, 3.0])
    grid = solve_finite(dimension=dimension, task_diversity=tau, context_length=1.5, ridge=0.2, norm="N+1")
    assert grid.e_icl.shape == (2, 3)
    for i, j in np.ndindex(2, 3):
        one = solve_finite(
            dimension=int(dimension[i, 0]), task_diversity=tau[j], context_length=1.5, ridge=0.2, norm="N+1"
        )
        assert grid.e_icl[i, j] == pytest.approx(float(one.e_icl), rel=1e-12)
        assert one.prompts == round(tau[j] * dimension[i, 0] ** 2)


def test_test_prompts_of_another_length():
    point = {"dimension": 10, "task_diversity": 2.0, "context_length": 1.0, "ridge": 0.1}
    same, longer = solve_finite(**point), solve_finite(**point, test_context_length=5.0)
    assert same.e_icl == same.e_idg == longer.e_idg
    moments = feature_moments(dimension=10, context=50, label_noise=0.0, norm="N")
    expected = 1 - 2 * moments.signal * same.m + moments.block * same.q + moments.last_row * same.last_row
    assert longer.e_icl == pytest.approx(float(expected), rel=1e-13)


@pytest.mark.parametrize("rho", [0.0, 0.2])
def test_one_solve_takes_less_than_twenty_milliseconds(rho):
    point = {"dimension": 20, "task_diversity": 2.0, "context_length": 1.0, "label_noise": rho}
    assert min(timeit.repeat(lambda: solve_finite(**point), number=1, repeat=8)) < 0.02


def test_small_dimensions_are_refused():
    """What `Parameters` and `numerics.sizes` refuse is tested there."""
    for dimension in (3, [10, 3]):
        with pytest.raises(ParameterError, match="dimension = 3 must be a whole number >= 4"):
            solve_finite(dimension=dimension, task_diversity=2.0, context_length=1.0)
    with pytest.raises(ParameterTypeError, match="dimension is required"):
        solve_finite(task_diversity=2.0, context_length=1.0)
