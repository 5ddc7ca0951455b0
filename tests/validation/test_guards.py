"""Guards of the guards: each test here fails under one mutation of the checks, the one its name says."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

import iclglass.validation.experiment as experiment
import iclglass.validation.suite.compared as compared_module
import iclglass.validation.suite.suite as suite_module
from iclglass.numerics.saddle_point import solve
from iclglass.validation.crosscheck import compare
from iclglass.validation.observables import QUANTITIES
from iclglass.validation.paper.judging import pooled
from iclglass.validation.simulation import simulate
from iclglass.validation.suite.controls import Detection
from iclglass.validation.suite.points import SCALES, RegisteredPoint, Scale
from iclglass.validation.suite.sampled import SampledRow
from tests.validation.synthetic import VALUE, exact_theory, synthetic_samples

Z_SCORE = 4.0
"""Of one statistic: a false alarm 6e-5 of the times, were the seeds not fixed."""


def most(count, rate):
    """Failures that `count` checks of false-alarm rate `rate` exceed with probability 1e-4."""
    return stats.binom.ppf(1 - 1e-4, count, rate)


# --- rounding --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gap", [1e-9, 1e-6, 1e-4, 5e-3])
def test_gaps_between_rounding_and_one_percent_are_seen(gap):
    """ROUND_OFF = 1e-2 passes them: e_train is 0 in theory and samples for ridge = 0 and tau < 1."""
    samples = simulate(task_diversity=0.5, context_length=2.0, ridge=0.0, dimensions=(6, 8, 12), samples=4, seed=4)

    def off(**parameters):
        found = solve(**parameters)
        values = {name: getattr(found, name) for name in QUANTITIES}
        return SimpleNamespace(**(values | {"e_train": values["e_train"] + gap}))

    assert next(row for row in compare(samples).rows if row.quantity == "e_train").agrees is True
    assert next(row for row in compare(samples, theory=off).rows if row.quantity == "e_train").agrees is False


# --- thresholds ------------------------------------------------------------------------------------------------


def test_false_alarms_of_few_samples_stay_at_the_stated_rate_with_students_threshold():
    """4 samples at two sizes; with the normal threshold a correct theory fails 3.5 times in 100, not 1."""
    rng, count = np.random.default_rng(21), 1000
    drawn = (synthetic_samples(rng, sizes=(8, 32), samples=4, curvature=0.0) for _ in range(count))
    failed = sum(compare(one, false_alarm=0.01, theory=exact_theory).passed is False for one in drawn)
    assert 0 < failed <= most(count, 0.01)


def test_false_alarms_of_pooled_comparisons_stay_at_the_stated_rate_with_students_threshold():
    """Two points, three repeats: 2 to 4 degrees of freedom."""
    rng, count = np.random.default_rng(22), 2000
    found = [pooled("x", 1 + 0.1 * rng.standard_normal((2, 3)), false_alarm=0.05, comparisons=1) for _ in range(count)]
    assert sum(not one.agrees for one in found) <= most(count, 0.05)


# --- random numbers --------------------------------------------------------------------------------------------


@pytest.fixture
def drawn(monkeypatch):
    """State of the generator before each data set is drawn, by what is drawn."""
    states = []
    usual = experiment.draw_prompts

    def spy(*, rng, **given):
        states.append((rng.bit_generator.state["state"]["state"], rng.bit_generator.state["state"]["inc"]))
        return usual(rng=rng, **given)

    monkeypatch.setattr(experiment, "draw_prompts", spy)
    return states


def uncorrelated(first, second):
    """z of the correlation coefficient of two rows."""
    return float(np.corrcoef(first, second)[0, 1]) * math.sqrt(len(first))


def test_sizes_have_seeds_of_their_own(drawn):
    """One seed for all sizes: equal generator states, and means at different D that are not independent."""
    found = simulate(task_diversity=2, context_length=1, dimensions=(4, 5, 6), samples=200, seed=3)
    assert len(drawn) == len(set(drawn)) == 600
    values = found.values["e_icl"]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert abs(uncorrelated(values[first], values[second])) < Z_SCORE


def test_suite_points_have_seeds_of_their_own(drawn, monkeypatch):
    """One seed for all points: the same data sets at points that differ in the ridge alone, z-scores that repeat."""
    monkeypatch.setitem(SCALES, "standard", Scale((4, 5, 6, 8), 64, 50, 4, 5, 500))
    monkeypatch.setattr(suite_module, "detections", lambda *, seed: (Detection("nothing", "none", 2.0, 1.0, 0.0),))
    monkeypatch.setattr(suite_module, "sampler_detections", lambda *, seed, draws: ())
    row = SampledRow("exact", "m", 1.0, 1.1, 0.1, -1.0, 4.0)
    monkeypatch.setattr(suite_module, "sampled_rows", lambda *, seed, draws: (row,))
    found = {}
    usual = suite_module.compare_point

    def spy(point, samples, **options):
        found[point] = samples
        return usual(point, samples, **options)

    monkeypatch.setattr(suite_module, "compare_point", spy)
    first = RegisteredPoint(2.0, 1.0, math.inf, 0.1, 0.3, 0.0, "N")
    second = replace(first, ridge=0.4)
    suite_module.run_suite(only=[first, second], models=())
    # Two points of four sizes, and what the coverage of error bars is measured on.
    assert len(drawn) == len(set(drawn)) == 2 * 4 * 64 + 50 * 4
    for size in range(4):
        assert abs(uncorrelated(*(found[point].values["e_icl"][size] for point in (first, second)))) < Z_SCORE


# --- errors ----------------------------------------------------------------------------------------------------


def test_z_includes_the_sampling_error_of_the_theory(monkeypatch):
    """A theory with a standard error of its own, as large as the simulation's: z has variance 1, not 2."""
    rng, error = np.random.default_rng(23), 0.02
    sizes, samples = (8, 16), 64
    z = []
    for _ in range(200):
        given = synthetic_samples(rng, sizes=sizes, samples=samples, curvature=0.0)
        given.values["e_icl"][:] = VALUE + error * math.sqrt(samples) * rng.standard_normal((2, samples))
        theory = SimpleNamespace(
            **dict.fromkeys(QUANTITIES, np.full(2, math.nan)) | {"e_icl": VALUE * (1 + error * rng.standard_normal(2))},
            standard_errors=dict.fromkeys(QUANTITIES, np.full(2, math.nan)) | {"e_icl": np.full(2, error * VALUE)},
        )
        monkeypatch.setattr(compared_module, "solve_finite", lambda law, theory=theory, **given: theory)
        table = compared_module.finite_size_table(given, {"e_icl": [VALUE, VALUE]})["e_icl"]
        z += ((table[:, 0] - table[:, 2]) / table[:, 1]).tolist()
    squares, count = float(np.sum(np.square(z))), len(z)
    assert abs(squares - count) / math.sqrt(2 * count) < Z_SCORE


def test_the_spread_taken_from_like_is_rescaled_to_the_number_of_repeats():
    """3 repeats judged by the spread of 48: unscaled, error bars are four times too small and most checks fail."""
    rng, count = np.random.default_rng(24), 400
    found = []
    for _ in range(count):
        few, many = (1 + 0.1 * rng.standard_normal((4, repeats)) for repeats in (3, 48))
        found.append(pooled("x", few, false_alarm=0.05, comparisons=1, like=many))
    failed = sum(not one.agrees for one in found)
    assert stats.binom.ppf(1e-4, count, 0.05) <= failed <= most(count, 0.05)
    # and the other way round, where unscaled they are too large
    few, many = (1 + 0.1 * rng.standard_normal((4, repeats)) for repeats in (3, 48))
    assert pooled("x", many, false_alarm=0.05, comparisons=1, like=few).row[3] < 0.05
