"""Training against exact ground states, its stable bound, interruption and resumption, refusals."""

import math
from concurrent.futures import BrokenExecutor
from itertools import pairwise

import numpy as np
import pytest

from iclglass.numerics.errors import OutputError, ParameterError, ParameterTypeError, WorkerError
from iclglass.numerics.instance import spin_glass
from iclglass.numerics.instance.linear_response import ground_state
from iclglass.numerics.plotting import draw_training
from iclglass.validation.gradient_flow import gradient_flow
from iclglass.validation.population import gaussian_moments, population_error
from iclglass.validation.prompts import draw_prompts
from iclglass.validation.training import Outcome, train
from iclglass.validation.training.course import Course
from iclglass.validation.training.layer import largest_curvature
from tests.validation.descent import euler

DIMENSION, CONTEXT, RIDGE0 = 5, 10, 0.05
# Steps of the same arithmetic in another order.
ROUNDING = 1e-11
# Of an energy of order one at its minimum.
LAST_BITS = 1e-15
# A residual r leaves at most r |h|/lowest eigenvalue in W; eigenvalues here are above 0.05.
CONVERGED = 1e-8
# One mode over 550 steps, from 1 to 1e-4 of its start: rounding of 1e-16 relative to the start.
DECAY = 1e-9


def drawn(prompts, seed=1, noise=0.1):
    rng = np.random.default_rng(seed)
    return draw_prompts(dimension=DIMENSION, context=CONTEXT, prompts=prompts, label_noise=noise, rng=rng)


@pytest.fixture(scope="module")
def data():
    return drawn(80)


def rng():
    return np.random.default_rng(7)


def stopping_at(wanted):
    def progress(done, total):
        if done == wanted:
            raise KeyboardInterrupt

    return progress


def gd(data, **options):
    return train(data, **({"steps": 200, "learning_rate": 0.2, "ridge0": RIDGE0, "rng": rng()} | options))


@pytest.mark.parametrize("prompts", [80, 15], ids=["more prompts than spins", "fewer"])
def test_descent_reaches_the_ground_state_at_the_rate_of_the_slowest_mode(prompts):
    data = drawn(prompts)
    goal = ground_state(data, RIDGE0)
    eigenvalues, modes = np.linalg.eigh(spin_glass.hessian(data))
    slowest = max(eigenvalues[0], 0.0) + RIDGE0
    distances = []

    def measure(step, weights):
        distances.append((abs((weights - goal).ravel() @ modes[:, 0]), np.linalg.norm(weights - goal)))

    run = gd(data, steps=4000, tolerance=1e-11, record=range(0, 4001, 50), callback=measure)
    assert run.outcome is Outcome.CONVERGED
    assert np.linalg.norm(run.weights - goal) < CONVERGED
    assert np.all(np.diff(run.energy) <= LAST_BITS)
    decay = np.array([np.divide(late, early) for early, late in pairwise(distances[:12])])
    expected = (1 - 0.2 * slowest) ** 50
    np.testing.assert_allclose(decay[:, 0], expected, rtol=DECAY)
    # All other modes are faster, and the slowest is left over in the end.
    assert np.all(decay[:, 1] < expected * (1 + DECAY))
    assert decay[-1, 1] == pytest.approx(expected, rel=0.05)


def test_adam_reaches_the_ground_state(data):
    goal = ground_state(data, RIDGE0)
    run = gd(data, optimiser="adam", steps=4000, learning_rate=0.003, tolerance=1e-7, record=range(0, 4001, 100))
    assert run.outcome is Outcome.CONVERGED, run.reason
    assert np.linalg.norm(run.weights - goal) < 1e-5


def test_sgd_is_nearer_the_ground_state_the_smaller_its_rate(data):
    """Noise at a fixed rate leaves energy in proportion to it, or less: batches without replacement partly cancel."""
    goal = ground_state(data, RIDGE0)
    lowest = spin_glass.energy(data, goal, RIDGE0)

    def excess(rate, steps):
        options = {"optimiser": "sgd", "batch": 20, "start": [goal], "learning_rate": rate, "steps": steps}
        run = gd(data, record=range(steps // 2, steps, 20), **options)
        return run.energy[1:].mean() - lowest

    coarse, fine = excess(0.04, 1000), excess(0.01, 4000)
    assert 0 < fine < coarse / 4
    assert coarse < 0.1 * lowest


def test_batches_of_all_prompts_are_descent(data):
    whole = gd(data)
    batches = gd(data, optimiser="sgd", batch=data.prompts)
    np.testing.assert_allclose(batches.weights, whole.weights, rtol=0, atol=ROUNDING)


def test_the_separate_layer_has_the_ground_state_without_ridge(data):
    run = gd(data, parametrisation="separate", ridge0=0.0, steps=40_000, learning_rate=0.2, tolerance=1e-9)
    assert run.outcome is Outcome.CONVERGED, run.reason
    assert np.linalg.norm(run.weights - ground_state(data, 0.0)) < 1e-6


def test_ridge_on_the_factors_is_a_nuclear_norm(data):
    """At its minimum G = S^T (y - S W)/P has singular values <= ridge0 and G.W = ridge0 |W|_*."""
    run = gd(data, parametrisation="separate", ridge0=0.1, steps=40_000, learning_rate=0.2, tolerance=1e-9)
    assert run.outcome is Outcome.CONVERGED, run.reason
    pull = data.features.adjoint(data.label - data.features.predict(run.weights)) / data.prompts
    nuclear = np.linalg.svd(run.weights, compute_uv=False).sum()
    assert np.linalg.svd(pull, compute_uv=False)[0] <= 0.1 * (1 + 1e-6)
    assert np.sum(pull * run.weights) == pytest.approx(0.1 * nuclear, rel=1e-6)
    expected = np.mean((data.label - data.features.predict(run.weights)) ** 2) / 2 + 0.1 * nuclear
    assert run.energy[-1] == pytest.approx(expected, rel=1e-9)
    assert np.linalg.norm(run.weights - ground_state(data, 0.1)) > 1e-2  # not the merged layer's ridge


def test_descent_is_euler_on_the_flow(data):
    start = np.random.default_rng(3).standard_normal((DIMENSION + 1, DIMENSION))
    rate, steps = 0.01, 300
    run = gd(data, steps=steps, learning_rate=rate, start=[start])
    expected = euler(data, RIDGE0, time=rate * steps / DIMENSION, steps=steps, start=start)
    np.testing.assert_allclose(run.weights, expected, rtol=0, atol=ROUNDING)


def test_small_rates_tend_to_the_exact_flow(data):
    time = 0.6
    start = np.random.default_rng(3).standard_normal((DIMENSION + 1, DIMENSION))
    exact = gradient_flow(data, RIDGE0, time, start=start)[0]
    errors = []
    for steps in (1000, 2000, 4000):
        run = gd(data, steps=steps, learning_rate=time * DIMENSION / steps, start=[start], record=[])
        errors.append(np.linalg.norm(run.weights - exact))
    ratios = np.divide(errors[:-1], errors[1:])
    np.testing.assert_allclose(ratios, 2, rtol=0.02)
    assert errors[-1] < 1e-3 * np.linalg.norm(exact - start)


def test_errors_recorded_are_those_of_the_weights(data):
    moments = gaussian_moments(np.ones(DIMENSION), context=CONTEXT, label_noise=0.1, norm="N")
    held_out = drawn(500, seed=2)
    exact, sampled = (gd(data, test=test) for test in (moments, held_out))
    assert exact.test_error[-1] == population_error(exact.weights, moments)
    predicted = held_out.features.predict(exact.weights)
    assert sampled.test_error[-1] == pytest.approx(np.mean((held_out.label - predicted) ** 2), rel=1e-12)
    fitted = data.features.predict(exact.weights)
    assert exact.train_error[-1] == pytest.approx(np.mean((data.label - fitted) ** 2), rel=1e-12)
    assert np.isnan(gd(data).test_error).all()


def test_the_stable_bound_is_where_descent_begins_to_diverge(data):
    start = np.random.default_rng(3).standard_normal((DIMENSION + 1, DIMENSION))
    bound = 2 / largest_curvature((start,), data.features, data.label, RIDGE0)
    hessian = spin_glass.hessian(data) + RIDGE0 * np.eye(data.spins)
    below, above = (np.abs(np.linalg.eigvalsh(np.eye(data.spins) - f * bound * hessian)).max() for f in (0.999, 1.001))
    assert below < 1 < above
    stable = gd(data, learning_rate=0.999 * bound, start=[start], steps=3000)
    assert stable.outcome is Outcome.COMPLETED
    assert stable.energy[-1] < stable.energy[0]
    assert stable.stable_rate == pytest.approx(bound)
    unstable = gd(data, learning_rate=1.001 * bound, start=[start], steps=3000)
    assert unstable.outcome is Outcome.DIVERGES
    assert unstable.steps.tolist() == [0]
    assert np.isnan(unstable.weights).all()
    assert f"2/L = {bound:.6g}" in unstable.reason


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"parametrisation": "separate", "learning_rate": 5.0}, "2/L"),
        ({"optimiser": "sgd", "batch": 10, "learning_rate": 5.0}, "2/L"),
        ({"optimiser": "adam", "learning_rate": 1e4}, "Adam"),
        ({"optimiser": "adam", "parametrisation": "separate", "learning_rate": 1e3}, "Adam"),
        ({"parametrisation": "separate", "learning_rate": 1e200}, "2/L"),
    ],
)
def test_other_divergences_are_seen_while_running(data, options, words):
    run = gd(data, steps=20_000, **options)
    assert run.outcome is Outcome.DIVERGES
    assert words in run.reason
    assert f"{options['learning_rate']:g}" in run.reason
    assert np.isnan(run.weights).all()
    assert all(np.isfinite(values).all() for values in (run.energy, run.train_error, run.residual))


def test_a_tolerance_not_reached_is_said(data):
    run = gd(data, steps=3, tolerance=1e-9)
    assert run.outcome is Outcome.NOT_CONVERGED
    assert "1e-09" in run.reason
    assert run.steps[-1] == 3


COMBINATIONS = [
    {"optimiser": "gd"},
    {"optimiser": "sgd", "batch": 16},
    {"optimiser": "adam", "learning_rate": 0.01},
    {"optimiser": "adam", "batch": 16, "learning_rate": 0.01, "parametrisation": "separate"},
]


@pytest.mark.parametrize("options", COMBINATIONS)
def test_an_interrupted_run_goes_on_bit_for_bit(data, tmp_path, options):
    options = {"learning_rate": 0.05, "record": range(0, 200, 9)} | options
    whole = gd(data, **options)
    file = tmp_path / "run.npz"
    calls = []

    def interrupt(done, total):
        if done == 99 and not calls:
            calls.append(done)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gd(data, checkpoint=file, progress=interrupt, **options)
    seen = []
    resumed = gd(data, checkpoint=file, callback=lambda step, _: seen.append(step), **options)
    again = gd(data, checkpoint=file, **options)
    assert min(seen) == 108
    for other in (resumed, again):
        np.testing.assert_array_equal(other.weights, whole.weights)
        for name in ("steps", "energy", "train_error", "residual"):
            np.testing.assert_array_equal(getattr(other, name), getattr(whole, name))


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["processes", "dask"])
def test_workers_train_the_same_layer_and_go_on_with_what_was_begun_here(data, tmp_path, executor):
    if executor == "dask":
        pytest.importorskip("distributed")
    options = {"optimiser": "adam", "batch": 16, "learning_rate": 0.01, "record": range(0, 200, 50)}
    whole = gd(data, **options)
    file, there = tmp_path / "run.npz", {"executor": executor, "workers": 2}
    with pytest.raises(KeyboardInterrupt):
        gd(data, checkpoint=file, progress=stopping_at(50), **options)
    for seen in (gd(data, checkpoint=file, **there, **options), gd(data, **there, **options)):
        np.testing.assert_array_equal(seen.weights, whole.weights)
        np.testing.assert_array_equal(seen.energy, whole.energy)


def test_a_worker_that_dies_is_one_error_and_the_same_call_goes_on(data, tmp_path, monkeypatch):
    file, whole = tmp_path / "run.npz", gd(data)
    with monkeypatch.context() as patch:
        patch.setattr(Course, "leg", dying)
        with pytest.raises(WorkerError, match=r"died .*what was finished is kept in"):
            gd(data, checkpoint=file)
    np.testing.assert_array_equal(gd(data, checkpoint=file).weights, whole.weights)


def dying(course, state, recorded):
    raise BrokenExecutor


def test_legs_of_any_length_give_the_same_run(data, monkeypatch):
    whole = gd(data, optimiser="adam", learning_rate=0.01)
    monkeypatch.setattr("iclglass.validation.training.course._LEG_SECONDS", -1.0)  # one step
    calls = []
    stepwise = gd(data, optimiser="adam", learning_rate=0.01, progress=lambda done, total: calls.append(done))
    assert sorted({*calls}) == list(range(201))
    np.testing.assert_array_equal(stepwise.weights, whole.weights)


def test_a_run_goes_on_from_what_was_last_written(data, tmp_path, monkeypatch):
    """It is written now and then, and at the end; the finished run takes the place of the unfinished one."""
    monkeypatch.setattr("iclglass.validation.training.loop._SAVE_EVERY", 0.0)
    options = {"optimiser": "adam", "learning_rate": 0.01, "batch": 16, "record": range(0, 200, 9)}
    file, unfinished = tmp_path / "run.npz", tmp_path / "run.npz.checkpoint"
    copies = []

    def copied(done, total):
        if done == 99:
            copies.append(unfinished.read_bytes() + unfinished.with_name("run.npz.checkpoint-wal").read_bytes())
            raise SystemExit

    with pytest.raises(SystemExit):
        gd(data, checkpoint=file, progress=copied, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["run.npz.checkpoint"]
    assert np.array(99).tobytes() in copies[0]  # before the end
    seen = []
    resumed = gd(data, checkpoint=file, callback=lambda step, _: seen.append(step), **options)
    assert min(seen) == 108
    np.testing.assert_array_equal(resumed.weights, gd(data, **options).weights)
    assert [path.name for path in tmp_path.iterdir()] == ["run.npz"]


def test_a_run_that_diverges_leaves_no_file(data, tmp_path):
    assert gd(data, checkpoint=tmp_path / "run.npz", optimiser="adam", learning_rate=1e6).outcome is Outcome.DIVERGES
    assert list(tmp_path.iterdir()) == []


def test_a_finished_run_of_another_version_is_read(data, tmp_path, monkeypatch):
    file = tmp_path / "run.npz"
    finished = gd(data, checkpoint=file)
    monkeypatch.setattr("iclglass.numerics.running.resuming.version", lambda package: "9.9")
    np.testing.assert_array_equal(gd(data, checkpoint=file).weights, finished.weights)


def test_a_converged_run_stays_so(data, tmp_path):
    options = {"checkpoint": tmp_path / "run.npz", "tolerance": 0.01, "steps": 4000}
    first, second = gd(data, **options), gd(data, **options)
    assert first.outcome is second.outcome is Outcome.CONVERGED
    np.testing.assert_array_equal(first.weights, second.weights)
    np.testing.assert_array_equal(first.steps, second.steps)


@pytest.mark.parametrize("content", [b"", b"rubbish", b"PK\x03\x04 torn"])
def test_a_foreign_file_is_refused(data, tmp_path, content):
    file = tmp_path / "run.npz"
    file.write_bytes(content)
    with pytest.raises(OutputError, match=r"run\.npz"):
        gd(data, checkpoint=file)
    np.savez(file, step=np.array(1))
    with pytest.raises(OutputError, match="is damaged or not a training run"):
        gd(data, checkpoint=file)
    whole = gd(data, checkpoint=file, fresh=True)
    torn = file.read_bytes()[:-200]
    file.write_bytes(torn)
    with pytest.raises(OutputError, match="damaged"):
        gd(data, checkpoint=file)
    assert whole.outcome is Outcome.COMPLETED


def test_a_file_that_cannot_be_written_is_refused_before_training(data, tmp_path):
    def never(done, total):
        raise AssertionError

    for path, words in ((tmp_path / "no" / "run.npz", "not a folder"), (tmp_path, "is a folder")):
        with pytest.raises(OutputError, match=words):
            gd(data, checkpoint=path, progress=never)


def test_a_picture_needs_a_step(data):
    run = gd(data)
    (panel,) = draw_training(run, ground_energy=0.01).axes  # without a test there is no test error
    (later, values), (_, ground) = (line.get_data() for line in panel.lines)
    assert (later.tolist(), values.tolist()) == (run.steps[1:].tolist(), run.energy[1:].tolist())
    assert ground[0] == 0.01
    tested = run.to_dataset().assign(test_error=2 * run.to_dataset().energy)
    theory = {"energy": [3.0, 4.0], "e_icl": [5.0, 6.0]}
    _, right = draw_training(tested, final_error=7.0, flow_steps=[1, 2], flow=theory).axes
    assert [line.get_ydata()[-1] for line in right.lines] == [2 * run.energy[-1], 6.0, 7.0]
    with pytest.raises(ParameterError, match="2/L"):
        draw_training(gd(data, learning_rate=50.0))


def test_single_precision_is_computed_in_double(data):
    single = data.as_float32()
    run = gd(single)
    double = gd(type(single)(*(getattr(single, name).astype(np.float64) for name in ("context", "query", "label"))))
    np.testing.assert_allclose(run.weights, double.weights, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"steps": 0}, ParameterError, "steps must be at least 1"),
        ({"steps": 2.5}, ParameterError, "whole number"),
        ({"learning_rate": 0.0}, ParameterError, "learning_rate must be finite and > 0"),
        ({"learning_rate": math.nan}, ParameterError, "learning_rate"),
        ({"ridge0": -1.0}, ParameterError, "ridge0"),
        ({"tolerance": 0.0}, ParameterError, "tolerance"),
        ({"optimiser": "rmsprop"}, ParameterError, "optimiser must be one of gd, sgd, adam"),
        ({"optimiser": "sgd"}, ParameterError, "needs batch"),
        ({"batch": 5}, ParameterError, "leave batch = 5 out"),
        ({"optimiser": "sgd", "batch": 0}, ParameterError, "batch must be at least 1"),
        ({"optimiser": "adam", "batch": 81}, ParameterError, "at most the number of prompts, 80"),
        ({"parametrisation": "joint"}, ParameterError, "parametrisation must be"),
        ({"backend": "jax"}, ParameterError, "backend must be"),
        ({"record": [201]}, ParameterError, "beyond the last one"),
        ({"record": [-1]}, ParameterError, "record must be at least 0"),
        ({"start": [np.zeros((5, 5))]}, ParameterError, "start must hold matrices of shapes"),
        ({"start": [np.full((6, 5), np.inf)]}, ParameterError, "start must be finite"),
        ({"test": 3.0}, ParameterTypeError, "test must be"),
        ({"rng": 1}, ParameterTypeError, "rng must be"),
    ],
)
def test_bad_input(data, options, error, words):
    with pytest.raises(error, match=words):
        gd(data, **options)


def test_test_prompts_of_another_dimension_are_refused(data):
    other = draw_prompts(dimension=3, context=4, prompts=10, rng=np.random.default_rng(1))
    with pytest.raises(ParameterError, match="dimension 3, the training prompts 5"):
        gd(data, test=other)
    with pytest.raises(ParameterTypeError, match="instance must be"):
        gd(data.context)
