"""The roads: what each computes of a data set, against the library called by hand and against each other."""

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import iclglass.validation.experiment as experiment
from iclglass.numerics.running import blas
from iclglass.numerics.solution import DIAGNOSTICS, OBSERVABLES
from iclglass.numerics.status import Status
from iclglass.numerics.sweep import sweep
from iclglass.validation.observables import QUANTITIES, measure
from iclglass.validation.pools import draw_pool
from iclglass.validation.prompts import draw_prompts
from iclglass.validation.statistics import bonferroni_threshold
from iclglass.validation.sweeping.evaluation import columns, evaluate, quantities_of
from iclglass.validation.sweeping.grid import ROAD_NAMES
from iclglass.validation.sweeping.points import random_generator
from iclglass.validation.sweeping.roads import ROADS, measure_data_set
from iclglass.validation.sweeping.sweep import sweep_simulated
from tests.validation.sweeping.workloads import grid_of

MESSAGE_PASSING = 1e-9
"""Two solvers of one linear system, each to a relative residual of 1e-12 and better, conditioned below 1e3."""
TRAINING = 1e-4
"""Relative gradient of 1e-6 at a condition number below 1e2."""
THEORY = 1e-12
"""One point at a time or all at once: NumPy's vector loops round powers otherwise than its scalar ones."""
FALSE_ALARM = 1e-3
BASE = {"task_diversity": 1.5, "context_length": 2.0, "dimension": 6, "seed": 3, "ridge": 0.3}
LAWS = {
    "plain": {},
    "warm": {"temperature": 0.4},
    "noise": {"label_noise": 0.5},
    "pool": {"distinct_tasks": 1.0},
    "tested": {"test_context_length": 4.0},
    "norm": {"norm": "N+1"},
    "ridgeless": {"ridge": 0.0},
    "all": {
        "temperature": 0.4,
        "label_noise": 0.5,
        "distinct_tasks": 1.5,
        "test_context_length": 4.0,
        "norm": "N+1",
    },
}


def point_of(**given):
    return grid_of(**BASE | given).points[0]


def data_by_hand(point, sample):
    """The data set of an index, without `validation.sweeping.roads`."""
    rng = random_generator(point, sample)
    tasks = draw_pool(dimension=point.dimension, count=point.task_count, rng=rng) if point.task_count else None
    return draw_prompts(
        dimension=point.dimension,
        context=round(point.context_length * point.dimension),
        prompts=round(point.task_diversity * point.dimension**2),
        label_noise=point.label_noise,
        norm=point.norm,
        tasks=tasks,
        rng=rng,
    )


def measured(point, sample):
    tested = None if point.test_context_length is None else round(point.test_context_length * point.dimension)
    return asdict(
        measure(data_by_hand(point, sample), ridge=point.ridge, temperature=point.temperature, test_context=tested)
    )


@pytest.mark.parametrize("law", LAWS)
def test_simulation_is_measure_on_the_same_data_set(law):
    point = point_of(**LAWS[law], samples=3)
    assert measure_data_set(point, 1).values == pytest.approx(measured(point, 1), rel=0, abs=0, nan_ok=True)
    found = dict(zip(columns("simulation", theory=False), evaluate(point).values, strict=True))
    samples = [measured(point, index) for index in range(3)]
    for name in QUANTITIES:
        values = np.array([sample[name] for sample in samples])
        with np.errstate(invalid="ignore"):
            error = values.std(ddof=1) / math.sqrt(3)
        np.testing.assert_allclose(found[name], values.mean(), rtol=1e-14)
        np.testing.assert_allclose(found[f"{name}_standard_error"], error, rtol=1e-12)


@pytest.mark.parametrize("law", [law for law in LAWS if law != "plain"])
def test_every_parameter_changes_the_result(law):
    assert measure_data_set(point_of(**LAWS[law]), 0).values != measure_data_set(point_of(), 0).values


@pytest.mark.parametrize("law", ["plain", "warm", "noise", "pool", "tested", "norm", "all"])
@pytest.mark.parametrize("method", ["gamp", "exact"])
def test_message_passing_finds_the_measure_of_the_same_data_set(law, method):
    point = point_of(**LAWS[law], road="message-passing", method=method)
    found = measure_data_set(point, 1)
    assert found.status == Status.CONVERGED, found.reason
    assert set(found.values) == set(ROADS["message-passing"].quantities)
    exact = measured(point, 1)
    names = set(found.values) - {"q_self"} if method == "gamp" and point.temperature else set(found.values)
    for name in names:
        assert found.values[name] == pytest.approx(exact[name], rel=MESSAGE_PASSING), name


def test_variances_of_message_passing_are_approximate_but_not_wrong():
    """GAMP's variances are exact at D -> infinity; here they are the exact ones to relative 1/D = 1/12, with room."""
    point = point_of(road="message-passing", temperature=0.4, dimension=12)
    found, exact = measure_data_set(point, 0).values, measured(point, 0)
    chi = (found["q_self"] - found["q"]) / 0.4
    assert chi == pytest.approx(exact["chi"], rel=1 / 12)


@pytest.mark.parametrize("law", ["plain", "noise", "pool", "tested", "norm"])
def test_training_ends_at_the_ground_state_of_the_same_data_set(law):
    point = point_of(**LAWS[law], road="training")
    found, exact = measure_data_set(point, 1), measured(point, 1)
    assert found.status == Status.CONVERGED, found.reason
    for name, value in found.values.items():
        assert value == pytest.approx(exact[name], rel=TRAINING), name
    looser = measure_data_set(replace(point, tolerance=1e-3), 1).values
    assert abs(looser["m"] - exact["m"]) > abs(found.values["m"] - exact["m"])


def test_training_without_ridge_ends_at_the_weights_of_minimum_norm():
    """Fewer prompts than spins: the start's part along the zero modes would stay for ever."""
    point = point_of(road="training", ridge=0.0, task_diversity=0.5, steps=1_000_000)
    found, exact = measure_data_set(point, 1), measured(point, 1)
    assert found.status == Status.CONVERGED, found.reason
    for name in ("m", "q", "e_icl", "contrast"):
        assert found.values[name] == pytest.approx(exact[name], rel=TRAINING), name


@pytest.mark.parametrize("law", ["warm", "all"])
def test_sampling_agrees_with_the_exact_averages_of_the_same_data_set(law):
    """Draws of method "exact" are independent: the mean over 30 data sets of (sampled - exact) is zero within its
    spread, for five quantities at a family false-alarm rate of 1e-3."""
    point, count = point_of(**LAWS[law], road="sampling", draws=200), 30
    found = [measure_data_set(point, index).values for index in range(count)]
    exact = [measured(point, index) for index in range(count)]
    names = ROADS["sampling"].quantities
    threshold = bonferroni_threshold(FALSE_ALARM, len(names), dof=count - 1)
    for name in names:
        gap = np.array([one[name] - other[name] for one, other in zip(found, exact, strict=True)])
        assert abs(gap.mean() / (gap.std(ddof=1) / math.sqrt(count))) < threshold, name
        assert gap.std() < 0.2 * np.std([one[name] for one in exact]) + 0.1 * abs(np.mean([one[name] for one in exact]))


def test_more_draws_have_less_noise():
    few, many = (
        np.std(
            [measure_data_set(point, index).values["energy"] - measured(point, index)["energy"] for index in range(12)]
        )
        for point in (point_of(road="sampling", temperature=0.4, draws=draws) for draws in (10, 1000))
    )
    # Ten times less; a chi-squared ratio with 11 and 11 degrees of freedom is within 3.2 at 1e-3.
    assert few > 3.2 * many


@pytest.mark.parametrize("road", [name for name in ROAD_NAMES if name not in ("theory", "sampling")])
def test_all_roads_see_the_same_data_sets(road, monkeypatch):
    seen = []

    def noted(**options):
        seen.append(draw_prompts(**options))
        return seen[-1]

    monkeypatch.setattr(experiment, "draw_prompts", noted)
    point = point_of(**LAWS["pool"], road=road)
    measure_data_set(point, 2)
    expected = data_by_hand(point_of(**LAWS["pool"]), 2)
    for name in ("context", "query", "label"):
        np.testing.assert_array_equal(getattr(seen[0], name), getattr(expected, name))


@pytest.mark.parametrize("road", ["message-passing", "training"])
def test_a_road_that_does_not_get_there_says_so_and_gives_no_number(road):
    change = {"tolerance": 1e-30} if road == "message-passing" else {"steps": 3}
    found = evaluate(point_of(road=road, **change, theory=True))
    assert found.status in (Status.NOT_CONVERGED, Status.DIVERGES)
    assert found.message.startswith("data set 0: ")
    assert_theory_alone(found, road)


def assert_theory_alone(found, road):
    """What was drawn has no number; the theory beside it has."""
    values = dict(zip(columns(road, theory=True), found.values, strict=True))
    assert all(math.isnan(value) for name, value in values.items() if not name.endswith("_theory"))
    assert not math.isnan(values["m_theory"])


def test_message_passing_gets_there_with_more_steps():
    law = {"road": "message-passing", "method": "published", "task_diversity": 16.0, "dimension": 12}
    few, more = (evaluate(point_of(**law, ridge=0.1, steps=steps)) for steps in (None, 1000))
    assert few.status == Status.NOT_CONVERGED
    assert few.message.endswith("; give it more steps")
    assert more.status == Status.CONVERGED


@pytest.mark.parametrize("method", ["heat-bath", "mala"])
def test_chains_that_have_not_met_give_no_number(method):
    """Almost flat directions and few draws: averages were five times too large, with small error bars."""
    law = {"task_diversity": 0.5, "ridge": 1e-6, "temperature": 0.3, "dimension": 4, "road": "sampling"}
    found = evaluate(point_of(**law, method=method, draws=20))
    assert found.status == Status.NOT_CONVERGED
    assert "R-hat of" in found.message
    assert "take more draws" in found.message
    assert evaluate(point_of(**law, method="exact", draws=20)).status == Status.CONVERGED


def test_an_error_of_one_point_is_its_status():
    found = evaluate(replace(point_of(theory=True), prompts=10**12))
    assert found.status == Status.FAILED
    assert found.message
    assert_theory_alone(found, "simulation")


def test_a_learning_rate_is_passed_on():
    found = evaluate(point_of(road="training", learning_rate=1e3))
    assert found.status == Status.DIVERGES


def test_one_data_set_has_no_standard_error():
    found = dict(zip(columns("simulation", theory=False), evaluate(point_of(samples=1)).values, strict=True))
    assert math.isnan(found["e_icl_standard_error"])
    assert found["e_icl"] == measured(point_of(), 0)["e_icl"]


@pytest.mark.parametrize("road", ROAD_NAMES)
def test_columns_are_those_that_a_point_gives(road):
    point = point_of(road=road, temperature=0.4 if road == "sampling" else 0.0, theory=True, samples=2)
    found = evaluate(point)
    names = columns(road, theory=point.theory)
    assert len(found.values) == len(names) == len(set(names))
    assert set(quantities_of(road)) <= set(OBSERVABLES) | set(DIAGNOSTICS)
    assert found.seconds > 0


def test_a_worker_uses_one_blas_thread(monkeypatch):
    """Whoever the executor belongs to; the driver's own process is tested in test_driver."""
    monkeypatch.setattr(blas, "_PINNED", set())
    with threadpool_limits(limits=2, user_api="blas"):
        evaluate(point_of())
        assert {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"} == {1}


# --- theory ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [{}, {"dimension": 8}, {"distinct_tasks": [0.5, 3.0]}])
def test_the_road_theory_is_the_sweep_of_numerics(size):
    given = {
        "task_diversity": [0.5, 1.0],
        "context_length": [0.5, 2.0],
        "ridge": [0.0, 0.3],
        "temperature": 0.2,
        "label_noise": 0.1,
    }
    assert_same_theory(sweep_simulated(**given, **size, road="theory"), sweep(**given, **size))


def assert_same_theory(ours, theirs):
    for name in (*OBSERVABLES, "status"):
        assert ours[name].dims == theirs[name].dims
        assert ours[name].dtype == theirs[name].dtype
        np.testing.assert_allclose(ours[name].values, theirs[name].values, rtol=THEORY, err_msg=name)


@pytest.mark.slow
def test_the_road_theory_solves_pools_at_finite_size():
    given = {"task_diversity": [1.0, 2.0], "context_length": 1.0, "distinct_tasks": [0.5, 2.0], "dimension": 6}
    assert_same_theory(sweep_simulated(**given, road="theory"), sweep(**given))


def test_the_theory_beside_a_simulation_is_that_of_its_sizes():
    given = {"task_diversity": [0.5, 2.0], "context_length": 1.0, "dimension": 6, "temperature": 0.2, "norm": "N+1"}
    simulated, theory = sweep_simulated(**given, samples=2), sweep(**given)
    for name in QUANTITIES:
        np.testing.assert_allclose(simulated[f"{name}_theory"].values, theory[name].values, rtol=THEORY)
    assert "m_theory" not in sweep_simulated(**given, samples=2, theory=False)
