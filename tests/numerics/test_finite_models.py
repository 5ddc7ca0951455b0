"""Any model at finite D: numbers, the special case of ridge regression, D -> infinity, brute force, broken theories."""

import math

import numpy as np
import pytest
import sympy as sp

import iclglass.numerics.lowering.finite as lowering
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.finite_matrix import finite_matrix
from iclglass.numerics.finite_models import solve_finite_model
from iclglass.numerics.finite_size import solve_finite
from iclglass.numerics.last_row import LastRow
from iclglass.numerics.saddle_point import solve
from iclglass.numerics.status import Status
from iclglass.replica import symbols as S
from iclglass.replica.model import linear_attention
from iclglass.replica.own_model import Model

EVERY = ("m", "q", "q_self", "chi", "e_icl", "e_icl_gibbs", "e_idg", "e_train", "contrast", "free_energy", "energy",
         "entropy", "replicon", "last_row")  # fmt: skip

# theory.md 17, rows "section 14 at these three" and those of the other models: numbers of an independent program that
# averaged by sampling; they agree with a finer quadrature to its own errors, given here.
LASSO = {"context_length": [2, 2, 1], "task_diversity": [1, 1, 3], "l1": [0.5, 0.5, 1.0], "dimension": [20, 40, 20]}
SIGNS = {"dimension": 20, "task_diversity": 2, "context_length": 2, "ridge": 0.1, "last_row": False, "labels": "sign"}
BINARY = {"dimension": 16, "task_diversity": 2, "context_length": 5, "ridge": 0.1, "last_row": False, "spins": "binary"}


def off_diagonal(found, dimension):
    """(1/D) sum of off-diagonal W^2, of models whose spins are alike off and on the diagonal but for the mean."""
    return (found.q - found.m**2) * (1 - 1 / dimension)


def test_lasso_at_three_points_has_the_numbers_known():
    found = solve_finite(**LASSO)
    assert found.m == pytest.approx([0.5387, 0.5828, 0.3721], abs=1e-4)
    assert found.e_icl == pytest.approx([0.4801, 0.4358, 0.5607], abs=4e-4)
    assert found.e_train == pytest.approx([0.1702, 0.1727, 0.4914], abs=2e-4)
    assert found.density_off_diagonal == pytest.approx([0.3031, 0.3186, 0.0945], abs=2e-4)
    assert found.density == pytest.approx([0.3594, 0.3482, 0.1631], abs=2e-4)


def test_log_loss_and_binary_spins_have_the_numbers_known():
    found = solve(loss="log_loss", **SIGNS)
    assert found.m == pytest.approx(0.9227, rel=4e-3)
    assert off_diagonal(found, 20) == pytest.approx(0.917, rel=2e-3)
    assert found.error_rate == pytest.approx(0.3237, rel=4e-3)
    assert found.test_loss == pytest.approx(0.6108, rel=4e-3)
    assert found.train_loss == pytest.approx(0.3335, rel=4e-3)
    binary = solve(temperature=[1.0, 0.5], **BINARY)
    assert binary.m == pytest.approx([0.7344, 0.7129], abs=2e-4)


def test_the_nuclear_norm_is_that_of_its_simulations():
    """theory.md 17: 20 and 6 data sets; its row of theory averages over a few tens of draws, this one has 0.1 %."""
    found = solve(dimension=[20, 30], task_diversity=[1, 2], context_length=[2, 1], nuclear=[0.3, 0.5], last_row=False)
    simulated = {"m": ([0.3342, 0.2332], [0.0051, 0.0052]), "q": ([0.3499, 0.1421], [0.0074, 0.0064]),
                 "e_icl": ([0.8668, 0.827], [0.0057, 0.010]), "e_train": ([0.1338, 0.394], [0.0024, 0.006]),
                 "rank": ([0.700, 0.711], [0.008, 0.013])}  # fmt: skip
    for name, (values, errors) in simulated.items():
        assert np.all(np.abs((getattr(found, name) - values) / errors) < 2.5), name
    assert found.energy == pytest.approx(found.free_energy, rel=1e-5)


def test_other_draws_of_the_noise_stay_inside_the_error_bound(monkeypatch):
    given = {"dimension": 20, "task_diversity": 1, "context_length": 2, "nuclear": 0.3, "last_row": False}
    first = solve(**given)
    import iclglass.numerics.finite_matrix as module

    monkeypatch.setattr(module, "_SEED", 5)
    for made in (module._noise, module._controls):
        made.cache_clear()
    second = solve(**given)
    for made in (module._noise, module._controls):
        made.cache_clear()
    for name in ("m", "q", "chi"):
        assert getattr(first, name) == pytest.approx(float(getattr(second, name)), rel=float(first.error_bound)), name
        assert getattr(first, name) != getattr(second, name)


@pytest.mark.parametrize("layer", [{}, {"last_feature": "scaled-tokens"}, {"last_row": False}])
def test_ridge_regression_is_a_special_case(layer):
    """Every quantity of the finite-size theory of part one, by the road of any model."""
    rng = np.random.default_rng(0)
    count, between = 8, lambda low, high: np.exp(rng.uniform(np.log(low), np.log(high), 8))
    D = rng.integers(5, 40, count).astype(float)
    given = {"task_diversity": between(0.2, 8), "context_length": between(0.5, 8), "ridge": between(0.01, 10),
             "label_noise": rng.choice([0, 0.1, 1.0], count), "temperature": rng.choice([0, 0.7], count)}  # fmt: skip
    expected = solve_finite(dimension=D, **given, test_context_length=2 * given["context_length"], norm="N+1", **layer)
    flat = {"dimension": D, "prompts": np.rint(given["task_diversity"] * D**2),
            "context": np.rint(given["context_length"] * D), "test_context": np.rint(2 * given["context_length"] * D),
            "label_noise": given["label_noise"], "temperature": given["temperature"]}  # fmt: skip
    strengths = {"lam": given["ridge"]}
    found = solve_finite_model(linear_attention(), flat, strengths, norm="N+1", layer=LastRow(**layer))
    assert np.all(found["status"] == Status.CONVERGED)
    for name in EVERY:
        assert found[name] == pytest.approx(getattr(expected, name), rel=1e-10, nan_ok=True), name


@pytest.mark.parametrize(
    ("model", "powers"),
    [
        ({"l1": 0.5, "ridge": 0.05, "label_noise": 0.1}, {"m": 0.5, "q": 0.5, "energy": 0.5}),
        ({"spins": "nonnegative"}, {"m": 1, "q": 1, "chi": 1, "e_icl": 1, "energy": 1, "replicon": 1}),
        ({"spins": "binary", "temperature": 0.5}, {"q": 1, "chi": 1, "energy": 1, "free_energy": 1, "replicon": 1}),
        ({"loss": "log_loss", "labels": "sign"}, {"q": 1, "chi": 1, "test_loss": 1, "error_rate": 1, "replicon": 1}),
        ({"loss": "huber", "huber_threshold": 0.5, "label_noise": 0.1}, {"m": 1, "chi": 1, "test_loss": 1}),
    ],
)
def test_at_large_dimension_it_is_the_asymptotic_theory_with_each_models_power(model, powers):
    """D = 100 and 400: the deviation falls as D^-power, up to the next term of the series (10 %)."""
    given = {"task_diversity": 1.0, "context_length": 2.0} | model
    limit, found = solve(**given), solve(dimension=[100, 400], **given)
    for name, power in powers.items():
        deviation = getattr(found, name) / getattr(limit, name) - 1
        assert abs(deviation[1]) < 0.15, name
        assert deviation[0] / deviation[1] == pytest.approx(4**power, rel=0.1), name


def test_the_energy_is_a_functional_of_which_overlaps_are_the_slope():
    """dE/dlam = (q + last_row/D)/2 ties loss, penalty, all classes and the test of stationarity together."""
    step = 1e-3
    for given in ({"loss": "log_loss", "labels": "sign"}, {"l1": 0.3}, {"spins": "nonnegative", "label_noise": 0.2}):
        point = {"dimension": 10, "task_diversity": 1.5, "context_length": 2.0} | given
        up, down = (solve(ridge=0.1 * (1 + sign * step), **point).free_energy for sign in (1, -1))
        here = solve(ridge=0.1, **point)
        slope = (up - down) / (0.2 * step)
        assert slope == pytest.approx(float(here.q + here.last_row / 10) / 2, rel=1e-3)
        assert here.free_energy == pytest.approx(float(here.energy), rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "dimension", "context", "rho"),
    [
        ({"loss": "log_loss", "labels": "sign"}, 12, 24, 0.1),
        ({"loss": "huber"}, 10, 10, 0.3),
        ({"loss": (S.y - S.f) ** 4 / 4 + S.y**2 * S.f**2 / 8}, 8, 16, 0.1),
    ],
)
def test_fields_against_drawn_prompts(given, dimension, context, rho):
    """K, M, Q at given order parameters: quadrature against 160 000 drawn prompts, the scalars read off each.

    |z| of 15 values below 4: a false alarm in 1 of 1000.
    """
    rng = np.random.default_rng(11)
    model = linear_attention(**given)
    compiled = lowering.compiled_finite(model, thermal=False, last_row=True)
    one = np.ones(1)
    point = {"D": dimension * one, "tau": one, "rho": rho * one, "T": 0 * one, "last_scale": one, "lam": 0.1 * one,
             "huber_threshold": 0.7 * one, "m": 0.6 * one, "v": 0.3 * one, "chi": one, "v_last": 0.1 * one,
             "chi_last": 0.2 * one}  # fmt: skip
    law = lowering.stacked([_scalars(compiled, dimension, context, rho)])
    expected = compiled.fields(point, law, 1.0)
    found = []
    for _ in range(16):
        drawn = lowering.stacked([_drawn(rng, 10_000, dimension, context, rho, compiled, m=0.6)])
        found.append([float(value[0]) for value in compiled.fields(point, drawn, 0.5).values()])
    error = np.std(found, axis=0, ddof=1) / math.sqrt(len(found))
    for name, mean, width in zip(expected, np.mean(found, axis=0), error, strict=True):
        assert abs(mean - float(expected[name][0])) < 4 * width, name
        assert width < 0.01 * abs(mean)


def _scalars(compiled, dimension, context, rho):
    from iclglass.numerics.prompt_scalars import prompt_scalars

    labels = compiled.model.labels
    return prompt_scalars(dimension, context, context, rho, labels, compiled.shape, compiled.even, 2)


def _drawn(rng, count, dimension, context, rho, compiled, m):
    """Prompts token by token, as scalars: along the task, along the rest of the context, and what is left."""
    from iclglass.numerics.prompt_scalars import PromptScalars

    labels = compiled.model.labels
    x, w = rng.standard_normal((count, context, dimension)), rng.standard_normal((count, dimension))
    query, noise = rng.standard_normal((count, dimension)), math.sqrt(rho) * rng.standard_normal((count, context + 1))
    y = np.einsum("nkd,nd->nk", x, w) / math.sqrt(dimension) + noise[:, 1:]
    label = np.einsum("nd,nd->n", query, w) / math.sqrt(dimension) + noise[:, 0]
    if labels == "sign":
        y, label = np.sign(y), np.sign(label)
    u = np.einsum("nkd,nk->nd", x, y) / context
    length = np.linalg.norm(w, axis=1)
    along = np.einsum("nd,nd->n", u, w) / length
    rest = u - (along / length)[:, None] * w
    across = np.linalg.norm(rest, axis=1)
    first, second = np.einsum("nd,nd->n", query, w) / length, np.einsum("nd,nd->n", query, rest) / across
    residual = compiled.shape == "translation"
    if residual:  # one component, along m u - w/sqrt(D); the label's noise is part of the normal average
        direction = m * u - w / math.sqrt(dimension)
        first, second = np.einsum("nd,nd->n", query, direction) / np.linalg.norm(direction, axis=1), 0 * first
        label = 0 * label
    left = np.sum(query**2, axis=1) - first**2 - second**2
    if labels == "sign":  # the margin's law: labels of 1, components in their direction
        first, second, label = first * label, second * label, label**2
    last, task = np.sum(y**2, axis=1) / context, length / math.sqrt(dimension)
    return PromptScalars(np.full(count, 1 / count), task, along, across, last, first, second, left, label, residual)


def test_a_grid_equals_its_points():
    given = {"dimension": np.array([[8], [12]]), "task_diversity": np.array([0.5, 2.0]), "context_length": 1.5}
    for model in ({"l1": 0.4}, {"loss": "huber", "label_noise": 0.1}):
        grid = solve(**given, **model)
        assert grid.m.shape == (2, 2)
        assert grid.prompts.tolist() == [[32, 128], [72, 288]]
        for i, j in np.ndindex(2, 2):
            one = solve(dimension=int(given["dimension"][i, 0]), task_diversity=given["task_diversity"][j],
                        context_length=1.5, **model)  # fmt: skip
            for name in ("m", "q", "test_loss", "energy"):
                assert getattr(grid, name)[i, j] == pytest.approx(float(getattr(one, name)), rel=1e-6), name


def test_error_bounds_cover_what_more_nodes_change(monkeypatch):
    import iclglass.numerics.finite_models as module

    given = {"dimension": [8, 12, 24], "task_diversity": [0.6, 1.5, 3.0], "context_length": [1.0, 3.0, 2.0]}
    for model in ({"loss": "log_loss", "labels": "sign"}, {"loss": "huber", "label_noise": 0.2}):
        rough = solve(**given, **model)
        with monkeypatch.context() as patch:
            patch.setattr(module, "_LEVELS", {"few": 1, "check": 2, "many": 3})
            fine = solve(**given, **model)
        for name in ("m", "q", "chi"):
            moved = np.abs(getattr(rough, name) / getattr(fine, name) - 1)
            assert np.all(moved < rough.error_bound), name


def test_own_models_are_solved_and_layers_differ():
    own = Model(loss=lambda y, f: sp.log(sp.cosh(y - f)), penalty=lambda s: s**2 / 20 + (sp.sqrt(1 + s**2) - 1) / 2)
    given = {"model": own, "dimension": 12, "task_diversity": 1.0, "context_length": 2.0, "label_noise": 0.1}
    full, small, none = solve(**given), solve(last_feature="scaled-tokens", **given), solve(last_row=False, **given)
    assert full.status == small.status == none.status == Status.CONVERGED
    assert float(none.last_row) == 0
    assert float(full.last_row) > 0
    assert len({float(found.m) for found in (full, small, none)}) == 3


def test_what_has_no_theory_at_a_dimension_is_refused():
    point = {"task_diversity": 1.0, "context_length": 1.0, "dimension": 8}
    for given, message in (
        ({"nuclear": 0.3}, "nuclear at a dimension needs last_row = False"),
        ({"l1": 0.3, "distinct_tasks": 2.0}, "a finite distinct_tasks does not go with this model"),
        ({"l1": 0.3, "dimension": 3}, "dimension = 3 must be a whole number >= 4"),
    ):
        with pytest.raises(ParameterError, match=message):
            solve(**point | given)


def test_matrix_noise_obeys_what_is_known_of_it():
    one = np.ones(2)
    whole = finite_matrix(np.array([8, 12]), 2 * one, 1 * one, 0.5 * one, 0 * one, 0.5 * one)
    assert whole.m == pytest.approx(1 / 2.5, rel=1e-12)
    assert whole.chi == pytest.approx(1 / 2.5, rel=1e-12)
    assert whole.q == pytest.approx((1 + 0.5) / 2.5**2, rel=1e-12)
    none = finite_matrix(np.array([8, 12]), one, one, 0.5 * one, 100 * one, 0 * one)
    assert np.all(none.q == 0)
    assert np.all(none.rank == 0)
