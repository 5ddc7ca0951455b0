"""Data sets of every layer: their bits, their moments, the solvers on D x D weights, the theory against simulation."""

import json
import math

import numpy as np
import pytest

import iclglass
from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.finite_size import solve_finite
from iclglass.numerics.instance.data import Instance
from iclglass.numerics.instance.linear_response import ground_state, linear_response
from iclglass.numerics.instance.predictions import contrast, overlaps, predict
from iclglass.numerics.instance.spin_by_spin import spin_by_spin_variances, squared_couplings
from iclglass.numerics.instance.spin_glass import boltzmann, energy, hessian, hessian_eigenvalues, spin_glass
from iclglass.numerics.instance.stability import spin_by_spin_limit
from iclglass.numerics.plotting import draw_solution
from iclglass.numerics.state_evolution import state_evolution
from iclglass.numerics.status import Status
from iclglass.numerics.storage import PROVENANCE
from iclglass.validation.crosscheck import compare, validate
from iclglass.validation.gradient_flow import gradient_flow, initial_weights
from iclglass.validation.population import gaussian_moments, population_error
from iclglass.validation.prompt_blocks import PromptBlocks
from iclglass.validation.prompts import draw_prompts
from iclglass.validation.samplers.checks import check_law
from iclglass.validation.samplers.law import boltzmann_law
from iclglass.validation.samplers.overlap import draw_replicas, thermal_checks
from iclglass.validation.samplers.sampling import sample
from iclglass.validation.simulation import simulate
from iclglass.validation.statistics import mean_and_error
from iclglass.validation.suite.compared import finite_size_table
from iclglass.validation.sweeping.sweep import sweep_simulated
from iclglass.validation.training.loop import train
from tests.validation.test_finite_size_theory import TEMPERATURE, Z_SCORE, excess, simulated_and_theory

SCALED = {"last_feature": "scaled-tokens"}
ABSENT = {"last_row": False}
LAYERS = ({}, SCALED, ABSENT)
# Condition numbers up to 1e4 times rounding.
ROUNDING = 1e-10


def draw(seed=1, *, dimension=6, context=9, prompts=120, **options):
    sizes = {"dimension": dimension, "context": context, "prompts": prompts}
    return draw_prompts(**sizes, **options, rng=np.random.default_rng(seed))


@pytest.mark.parametrize("method", ["reduced", "tokens"])
@pytest.mark.parametrize("norm", ["N", "N+1"])
@pytest.mark.parametrize("structured", [False, True])
def test_layers_of_one_seed_differ_in_the_last_column_only(method, norm, structured):
    options = {"label_noise": 0.2, "method": method, "norm": norm}
    if structured:
        options |= {
            "tasks": np.random.default_rng(2).standard_normal((3, 6)),
            "token_covariance": np.eye(6) + 0.5,
        }
    unit, scaled, absent = (draw(**options, **layer) for layer in LAYERS)
    for other in (scaled, absent):
        assert np.array_equal(other.context[:, :6], unit.context[:, :6])
        assert np.array_equal(other.query, unit.query)
        assert np.array_equal(other.label, unit.label)
    assert np.array_equal(scaled.context[:, 6], unit.context[:, 6] * (1 / np.sqrt(6)))
    assert [data.context.shape[1] for data in (unit, scaled, absent)] == [7, 7, 6]
    assert [data.spins for data in (unit, scaled, absent)] == [42, 42, 36]
    assert [data.last_row for data in (unit, scaled, absent)] == [True, True, False]
    assert absent.context.flags.c_contiguous


def test_the_layer_of_scaled_tokens_is_what_scaled_tokens_give():
    """LU's layer on tokens of variance 1/D, H = x [(D/N) sum y x^T, (1/N) sum y^2], written out token by token."""
    rng = np.random.default_rng(3)
    dimension, tokens, prompts = 5, 7, 4
    x = rng.standard_normal((prompts, tokens, dimension)) / np.sqrt(dimension)
    query = rng.standard_normal((prompts, dimension)) / np.sqrt(dimension)
    tasks = rng.standard_normal((prompts, dimension))
    labels = np.einsum("pkd,pd->pk", x, tasks) + 0.1 * rng.standard_normal((prompts, tokens))
    label = np.einsum("pd,pd->p", query, tasks)
    sums = dimension / tokens * np.einsum("pk,pkd->pd", labels, x)
    row = np.column_stack([sums, (labels**2).mean(axis=1)])
    features = np.einsum("pj,pi->pij", query, row)  # s_ij = row_i query_j
    unit = np.sqrt(dimension)
    data = Instance.from_tokens(unit * x, labels, unit * query, label, **SCALED)
    assert np.allclose(data.features.dense(), features.reshape(prompts, -1), rtol=1e-12, atol=0)
    without = Instance.from_tokens(unit * x, labels, unit * query, label, last_row=False)
    assert np.array_equal(without.context, data.context[:, :dimension])
    # Their ridge, (n/d) lam |Gamma|^2 beside a sum over n prompts, is lambda0 = lam/D beside a mean.
    lam, flat = 0.3, features.reshape(prompts, -1)
    matrix = flat.T @ flat + prompts / dimension * lam * np.eye(flat.shape[1])
    theirs = np.linalg.solve(matrix, flat.T @ label).reshape(dimension + 1, dimension)
    assert np.allclose(ground_state(data, lam / dimension), theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("prompts", [60, 20])
def test_linear_response_without_last_row(prompts):
    data = draw(prompts=prompts, **ABSENT)
    inverse = np.linalg.inv(hessian(data) + 0.2 * np.eye(36))
    for method in ("primal", "dual"):
        for diagonal in (False, True):
            found = linear_response(data, 0.2, method, diagonal=diagonal)
            assert found.last_row_trace == 0.0
            assert math.isclose(found.block_trace, float(np.trace(inverse)), rel_tol=ROUNDING)
            assert math.isclose(found.log_determinant, -float(np.linalg.slogdet(inverse)[1]), rel_tol=ROUNDING)
    assert hessian_eigenvalues(data).size == 36
    assert np.sum(hessian_eigenvalues(data) < 1e-12) == max(0, 36 - prompts)
    minimum = linear_response(draw(prompts=20, **ABSENT), 0.0)
    assert (minimum.block_trace, minimum.last_row_trace) == (math.inf, 0.0)


def test_every_solver_takes_weights_without_last_row():
    data = draw(prompts=400, label_noise=0.1, **ABSENT)
    ridge0, beta = 0.05, 30.0
    exact = boltzmann(data, ridge0=ridge0, beta=beta)
    variances = np.diagonal(exact.covariance).reshape(6, 6)
    for method in ("exact", "gamp", "tap"):
        found = iclglass.solve_instance(data, ridge0=ridge0, beta=beta, method=method)
        assert found.status == Status.CONVERGED
        for matrix in (found.mean, found.variance, found.variance_error):
            assert matrix.shape == (6, 7)
        assert np.all(found.mean[:, 6] == 0)
        assert np.allclose(found.mean[:, :6], exact.mean, rtol=0, atol=1e-8), method
        # GAMP's are right to O(1/D); TAP's, to second order in J, less
        assert np.allclose(found.variance[:, :6], variances, rtol={"exact": 1e-9, "gamp": 0.1, "tap": 0.5}[method])
        assert math.isclose(found.log_partition, exact.log_partition, rel_tol=0.05)
        order = overlaps(found)
        assert math.isclose(order.m, float(np.trace(exact.mean)) / 6, rel_tol=1e-7)
        assert math.isclose(order.q, float(np.sum(exact.mean**2)) / 6, rel_tol=1e-7)
        assert math.isclose(contrast(found), order.m / math.sqrt(order.q), rel_tol=1e-12)
    krylov = ground_state(data, ridge0, "cg")
    assert np.allclose(krylov, exact.mean, rtol=0, atol=1e-8)
    for start in (None, np.random.default_rng(5)):
        published = iclglass.solve_instance(data, ridge0=ridge0, beta=beta, method="published", rng=start)
        assert published.mean.shape == (6, 7)
    diverged = iclglass.solve_instance(draw(prompts=30, **ABSENT), ridge0=1e-6, beta=1.0, method="tap")
    assert diverged.status == Status.DIVERGES
    assert diverged.mean.shape == (6, 7)
    features = data.features.dense()[:5]
    found = iclglass.solve_instance(data, ridge0=ridge0, beta=beta, method="exact")
    guess = predict(found, data.context[:5], data.query[:5], instance=data)
    assert np.allclose(guess.mean, features @ exact.mean.ravel(), rtol=0, atol=1e-9)
    assert np.allclose(guess.deviation**2, np.einsum("pn,nm,pm->p", features, exact.covariance, features), rtol=1e-8)
    glass, zero = spin_glass(data, ridge0), np.zeros((6, 6))
    difference = energy(data, exact.mean, ridge0) - energy(data, zero, ridge0)
    assert math.isclose(glass.energy(exact.mean) - glass.energy(zero), difference, rel_tol=1e-9)
    assert len(draw_solution(found).axes) >= 4
    with pytest.raises(ParameterError, match="contexts of 7 numbers for a solution with 6 rows of weights"):
        predict(found, draw().context, draw().query, instance=data)
    with pytest.raises(ParameterError, match="another layer"):
        predict(found, data.context, data.query, instance=draw())


def test_spin_by_spin_variances_need_nothing_of_a_small_last_row():
    """At lam > a SG's last row has variances for tau > a/lam = 0.2 only, the block from 4/(1 + lam/a)^2 = 0.11 on."""
    point = {"context_length": 5.0, "ridge": 6.0}
    for layer, threshold in zip(LAYERS, (0.2, 1 / 9, 1 / 9), strict=True):
        for factor, exists in ((1.001, True), (0.999, False)):
            limit = spin_by_spin_limit(task_diversity=threshold * factor, **point, **layer)
            assert math.isfinite(limit.chi) == exists
            assert math.isnan(limit.tap[0]) == (not exists)
    # (1 + rho)^2 (a chi/tau - 1) above lam: the small row's spins have none either
    noisy = {"task_diversity": 0.12, "context_length": 60.0, "ridge": 5.0, "label_noise": 1.0}
    assert math.isnan(spin_by_spin_limit(**noisy, **SCALED).chi)
    assert math.isfinite(spin_by_spin_limit(**noisy, **ABSENT).chi)
    for layer, exists in zip(LAYERS, (False, True, True), strict=True):
        data = draw(2, dimension=40, context=200, prompts=256, **layer)  # tau = 0.16
        onsite = 6 / 40 + data.features.diagonal()
        found = spin_by_spin_variances(squared_couplings(data), onsite)
        assert (found is not None) == exists
        if found is not None:
            limit = spin_by_spin_limit(task_diversity=0.16, **point, **layer)
            assert math.isclose(float(found[:40].mean()) / 40, limit.chi, rel_tol=0.15)
            if layer == SCALED:
                last = 6 + 1 - 1.2 * limit.chi / 0.16
                assert math.isclose(float(found[40].mean()) / 40, 1 / last, rel_tol=0.15)


def test_many_spins_without_last_row_by_krylov_solves():
    """Above 4000 spins variances are estimated from probes, group by group: there is one group."""
    data = draw(dimension=64, context=64, prompts=4200, **ABSENT)
    given = {"ridge0": 0.01, "beta": 1.0, "method": "exact", "probes": 4}
    found = iclglass.solve_instance(data, **given, rng=np.random.default_rng(6))
    assert found.mean.shape == (64, 65)
    assert found.status == Status.CONVERGED
    unit = np.sum((found.variance[:, :64] - found.variance[:, :64].mean()) ** 2)
    assert 0 < unit < np.sum(found.variance[:, :64] ** 2)


def test_a_source_that_hides_its_layer_is_named():
    class Hidden:
        prompts, dimension, blocks = 120, 6, 1

        def block(self, index):
            return draw(**ABSENT)

    with pytest.raises(ParameterError, match=r"have 6 numbers, not 7: .* last_row = False"):
        iclglass.solve_distributed(Hidden(), ridge0=0.1, beta=1.0)


def test_samplers_without_last_row():
    data = draw(prompts=80, label_noise=0.1, **ABSENT)
    law = boltzmann_law(data, ridge0=0.1, beta=5.0)
    for method in ("exact", "heat-bath", "hmc"):
        found = sample(data, ridge0=0.1, beta=5.0, method=method, draws=400, chains=4, rng=np.random.default_rng(7))
        assert found.weights.shape == (4, 400, 6, 6)
        assert all(check.passed for check in check_law(found, law)), method


@pytest.mark.parametrize("layer", [SCALED, ABSENT])
def test_replicas_of_every_layer_follow_the_theory(layer):
    point = {"dimension": 8, "context": 16, "prompts": 128, "ridge": 0.2, "temperature": 0.5, **layer}
    found = draw_replicas(**point, data_sets=60, pairs=20, rng=np.random.default_rng(8))
    assert all(check.passed for check in thermal_checks(found))


@pytest.mark.parametrize("parametrisation", ["merged", "separate"])
def test_training_ends_at_the_ground_state_without_last_row(parametrisation):
    data = draw(dimension=4, context=8, prompts=200, label_noise=0.1, **ABSENT)
    moments = gaussian_moments(np.ones(4), context=8, label_noise=0.1, norm="N", **ABSENT)
    rng = np.random.default_rng(9)
    given = {"parametrisation": parametrisation, "steps": 4000, "learning_rate": 0.3, "tolerance": 1e-7}
    run = train(data, **given, test=moments, rng=rng)
    assert run.weights.shape == (4, 4)
    ground = ground_state(data, 0.0)
    assert np.allclose(run.weights, ground, rtol=0, atol=1e-5)
    assert math.isclose(run.test_error[-1], population_error(ground, moments), rel_tol=1e-5)
    with pytest.raises(ParameterError, match="5 rows of weights, the training prompts 4: draw"):
        train(data, steps=1, learning_rate=0.1, ridge0=0.0, test=draw(dimension=4), rng=rng)
    start = initial_weights(dimension=4, overlap=1.0, last_row=False, rng=rng)
    late = gradient_flow(data, 0.0, [math.inf], start=start)[0]
    assert np.allclose(late, ground, rtol=0, atol=1e-9)


POINTS = [
    (8, 0.7, 1.0, 0.1, 0.1, "N"),
    (10, 2.5, 2.0, 0.2, 0.0, "N+1"),
    *(
        pytest.param(*point, marks=pytest.mark.slow)
        for point in ((14, 0.5, 3.0, 0.05, 0.05, "N"), (16, 1.5, 1.0, 0.3, 0.2, "N"), (20, 0.3, 0.5, 0.01, 0.2, "N+1"))
    ),
]


@pytest.mark.parametrize("layer", [SCALED, ABSENT])
@pytest.mark.parametrize(("dimension", "tau", "alpha", "ridge", "noise", "norm"), POINTS)
def test_theory_of_every_layer_against_simulation(layer, dimension, tau, alpha, ridge, noise, norm):
    """The same data tell SG's layer apart: a test that could not would not be one."""
    point = {"dimension": dimension, "task_diversity": tau, "context_length": alpha, "ridge": ridge, "norm": norm}
    point["label_noise"] = noise
    rows = simulated_and_theory(point | {"samples": 400 if dimension > 10 else 300}, seed=10, **layer)
    other = solve_finite(**point, temperature=TEMPERATURE)
    worst = {name: excess(name, row, row[2], dimension, floor=0.0) for name, row in rows.items()}
    assert max(worst.values()) < Z_SCORE, worst
    assert max(abs(row[0] - getattr(other, name)) / row[1] for name, row in rows.items()) > 2 * Z_SCORE


@pytest.mark.slow
def test_lus_layer_with_few_tasks_at_d_100():
    """5 % between the two sizes: d = 100, alpha = 1, kappa = 0.5, tau = 0.2, rho = 0.01 (LU Fig. 1)."""
    point = {"task_diversity": 0.2, "context_length": 1.0, "distinct_tasks": 0.5, "label_noise": 0.01, "ridge": 1e-8}
    unit, scaled = (
        mean_and_error(simulate(**point, **layer, dimensions=(100,), samples=12, seed=1).values["e_icl"][0])
        for layer in ({}, SCALED)
    )
    for (mean, error), expected, uncertainty in ((unit, 1.0966, 0.0016), (scaled, 1.0444, 0.0015)):
        assert abs(mean - expected) < Z_SCORE * math.hypot(error, uncertainty)
    published, error = 1.04657, 0.00128  # LU's own run: mean and standard error of 10 pools
    assert abs(scaled[0] - published) < Z_SCORE * math.hypot(scaled[1], error)
    assert abs(unit[0] - published) > 10 * math.hypot(unit[1], error)


@pytest.mark.parametrize("layer", [SCALED, ABSENT])
def test_message_passing_goes_as_predicted(layer):
    """Iterates of GAMP on data sets of the layer against state evolution at D = 16, three steps."""
    size, runs, point = 16, 30, {"task_diversity": 2.0, "context_length": 2.0, "label_noise": 0.1, "ridge": 0.1}
    path = state_evolution(**point, steps=3, dimension=size, **layer)
    values = np.empty((runs, 3, 2))
    for run in range(runs):
        data = draw([11, run], dimension=size, context=32, prompts=512, label_noise=0.1, **layer)

        def record(step, mean, _, run=run):
            values[run, step - 1] = np.trace(mean) / size, np.sum(mean[:size] ** 2) / size

        iclglass.numerics.instance.gamp.gamp(
            data, ridge0=0.1 / size, beta=1.0, damping=0.0, tolerance=1e-300, max_iterations=3, callback=record
        )
    for index, name in enumerate(("m", "q")):
        mean, error = mean_and_error(np.moveaxis(values[:, :, index], 0, -1))
        predicted = getattr(path, name)[1:]
        assert np.all(np.abs(mean - predicted) < Z_SCORE * error + 2.0 / size**2 * predicted), name


@pytest.mark.parametrize("road", ["simulation", "message-passing", "sampling", "training", "theory"])
def test_simulated_sweeps_of_every_layer(road):
    thermal = {"temperature": 0.3, "draws": 20} if road == "sampling" else {}
    drawn = {} if road == "theory" else {"samples": 2}
    runs = []
    for layer in LAYERS:
        found = sweep_simulated(
            task_diversity=2.5, context_length=2.0, dimension=6, road=road, **drawn, **thermal, **layer
        )
        recorded = json.loads(found.attrs[PROVENANCE])["parameters"]
        full = {"last_feature": "unit-tokens", "last_row": True} | layer
        assert {name: recorded[name] for name in full} == full
        theory = solve_finite(task_diversity=2.5, context_length=2.0, dimension=6, **layer)
        name = "m" if road == "theory" else "m_theory"
        assert math.isclose(float(found[name]), float(theory.m), rel_tol=1e-9)
        runs.append(float(found["m"]))
    assert len(set(runs)) == 3
    assert np.ptp(runs) < 0.1
    with pytest.raises(ParameterError, match=r"no meaning at D -> infinity|finite size: give it a dimension"):
        sweep_simulated(task_diversity=2.5, context_length=2.0, road=road, **drawn, **thermal, **ABSENT)


@pytest.mark.parametrize("layer", [SCALED, ABSENT])
def test_validate_simulates_its_layer(layer):
    found = validate(task_diversity=2, context_length=1, dimension=(8, 16, 32), samples=32, **layer)
    assert found.passed, found.sentence
    full = {"last_feature": "unit-tokens", "last_row": True} | layer
    assert {name: found.to_dict()[name] for name in full} == full


def test_without_ridge_the_number_of_spins_decides_what_can_be_compared():
    point = {"task_diversity": 1.05, "context_length": 2.0, "ridge": 0.0, "label_noise": 0.2}
    with pytest.raises(ParameterError, match="dimension 8 has 67 prompts for 72 spins"):
        validate(**point, dimension=(8, 16))
    samples = simulate(**point, dimensions=(8, 12), samples=2, **ABSENT)
    assert compare(samples).last_row is False
    table = finite_size_table(samples, {"e_icl": [1.0, 1.0]})
    expected = solve_finite(**point, dimension=[8, 12], **ABSENT).e_icl
    assert any(np.allclose(column, expected) for column in table["e_icl"].T)


@pytest.mark.parametrize(
    ("layer", "error", "message"),
    [
        ({"last_feature": "small"}, ParameterError, "last_feature must be one of unit-tokens, scaled-tokens"),
        ({"last_feature": 1}, ParameterTypeError, "last_feature must be one of"),
        ({"last_row": None}, ParameterTypeError, "last_row must be True or False"),
        ({"last_row": False, **SCALED}, ParameterError, "without the last row has no last feature"),
    ],
)
def test_bad_layers_are_refused_everywhere(layer, error, message):
    tokens = ([[[1.0, 0.0]]], [[1.0]], [[1.0, 0.0]], [1.0])
    point = {"task_diversity": 2.0, "context_length": 1.0}
    for function in (
        lambda: draw(**layer),
        lambda: Instance.from_tokens(*tokens, **layer),
        lambda: PromptBlocks(dimension=4, context=2, prompts=3, seed=0, **layer),
        lambda: simulate(**point, dimensions=(6,), samples=2, **layer),
        lambda: validate(**point, **layer),
        lambda: sweep_simulated(**point, dimension=6, samples=2, **layer),
        lambda: gaussian_moments(np.ones(3), context=2, label_noise=0.0, norm="N", **layer),
    ):
        with pytest.raises(error, match=message):
            function()
