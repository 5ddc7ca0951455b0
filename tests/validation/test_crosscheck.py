"""The cross-check passes for the theory and fails for a theory, a temperature or a fit that is wrong."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from iclglass.numerics.errors import ParameterError
from iclglass.numerics.plotting import draw_extrapolation, save_figure
from iclglass.numerics.saddle_point import solve
from iclglass.validation.crosscheck import compare, validate
from iclglass.validation.observables import QUANTITIES
from iclglass.validation.simulation import simulate

POINT = {"task_diversity": 2.0, "context_length": 1.0, "ridge": 0.1}
SIZES = (12, 18, 30)  # spread by a constant factor: three times the precision of equal steps


@pytest.fixture(scope="module")
def cold():
    """Samples of the ground state."""
    return simulate(**POINT, dimensions=SIZES, samples=128, seed=1)


@pytest.fixture(scope="module")
def warm():
    """Samples at temperature 0.5, with label noise."""
    return simulate(**POINT, label_noise=0.2, temperature=0.5, dimensions=SIZES, samples=128, seed=1)


def changed_theory(**changes):
    """The theory with some of its parameters replaced by a function of them."""

    def theory(**parameters):
        return solve(**(parameters | {name: change(parameters[name]) for name, change in changes.items()}))

    return theory


def changed_quantity(name, change):
    """The theory with one quantity replaced by a function of it."""

    def theory(**parameters):
        solution = solve(**parameters)
        values = {quantity: getattr(solution, quantity) for quantity in QUANTITIES}
        return SimpleNamespace(**(values | {name: change(values[name])}))

    return theory


def test_ground_state_agrees(cold):
    found = compare(cold)
    assert found.passed, found.sentence
    assert [row.quantity for row in found.rows] == ["m", "q", "chi", "e_icl", "e_train", "contrast", "energy"]
    assert (found.powers, found.finite_size) == ((1, 2), False)


def test_finite_temperature_agrees_in_every_quantity(warm):
    found = compare(warm)
    assert found.passed, found.sentence
    assert [row.quantity for row in found.rows] == [name for name in QUANTITIES if name != "e_idg"]  # it is e_icl


def test_no_single_dimension_agrees(cold):
    """The 1/D corrections are many error bars: only the extrapolation can agree, and the sentence says so."""
    found = compare(cold)
    for index in range(len(SIZES)):
        assert max(abs(row.sizes[index].z) for row in found.rows) > 10
    assert "The extrapolation is checked, not any single dimension: at D = 12, 18, 30" in found.sentence
    assert "false-alarm rate of at most 0.01 for all 7 together" in found.sentence
    assert "Two dimensions" not in found.sentence


@pytest.mark.parametrize(
    "theory",
    [
        changed_quantity("m", np.negative),
        changed_quantity("chi", lambda chi: 1.1 * chi),
        changed_quantity("energy", lambda energy: 2 * energy),
        changed_theory(context_length=lambda alpha: np.asarray(alpha) / 1.2),  # a = 1 + (1 + rho)/alpha, 10 % off
        changed_theory(ridge=lambda ridge: 2 * np.asarray(ridge)),  # lambda0/2 lost
        changed_theory(task_diversity=lambda tau: np.asarray(tau) / 2),  # P counted by halves
    ],
)
def test_a_broken_theory_fails(cold, theory):
    found = compare(cold, theory=theory)
    assert found.passed is False
    assert found.sentence.startswith("Theory and simulation disagree in ")


@pytest.mark.parametrize(
    "theory",
    [
        changed_theory(temperature=lambda temperature: 1.1 * np.asarray(temperature)),
        changed_theory(label_noise=lambda rho: 0.0 * np.asarray(rho)),
        changed_quantity("entropy", lambda entropy: entropy + 0.5 * math.log(2)),
    ],
)
def test_wrong_temperature_noise_or_measure_fails(warm, theory):
    assert compare(warm, theory=theory).passed is False


def not_a_number(value):
    return np.full_like(value, math.nan)


def test_a_theory_without_numbers_fails(cold, warm):
    """NaN for everything but e_icl: nothing else can be compared, and that is not agreement."""

    def theory(**parameters):
        solution = solve(**parameters)
        values = {name: not_a_number(getattr(solution, name)) for name in QUANTITIES}
        return SimpleNamespace(**(values | {"e_icl": solution.e_icl}))

    for samples in (cold, warm):
        found = compare(samples, theory=theory)
        assert [row.quantity for row in found.rows if row.agrees] == ["e_icl"]
        assert "m (not finite in the theory)" in found.sentence


@pytest.mark.parametrize("name", [name for name in QUANTITIES if name != "e_icl"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_theory_without_one_number_fails(warm, name, value):
    """Also where the quantity would only have repeated another one (e_idg)."""
    found = compare(warm, theory=changed_quantity(name, lambda exact: np.full_like(exact, value)))
    assert [row.quantity for row in found.rows if row.agrees is False] == [name]
    assert found.passed is False


@pytest.mark.parametrize("name", ["m", "chi", "q_self", "e_idg"])
def test_a_theory_without_one_number_fails_at_zero_temperature(cold, name):
    assert compare(cold, theory=changed_quantity(name, not_a_number)).passed is False


def test_a_theory_without_a_number_at_one_dimension_fails(cold):
    """The dimension 18 has P/D^2 = 2 like the others: told apart by the order of the calls."""
    calls = []

    def theory(**parameters):
        calls.append(1)
        return changed_quantity("m", not_a_number)(**parameters) if len(calls) == 3 else solve(**parameters)

    row = compare(cold, theory=theory).rows[0]
    assert (row.quantity, row.agrees) == ("m", False)
    assert [math.isfinite(size.z) for size in row.sizes] == [True, False, True]


def test_a_sample_without_a_number_fails(cold):
    values = {name: array.copy() for name, array in cold.values.items()}
    values["q"][1, 5] = math.inf
    found = compare(replace(cold, values=values))
    assert found.passed is False
    assert "disagree in q (not finite in the simulation)" in found.sentence


def test_divergence_in_the_theory_alone_fails():
    """chi diverges for ridge = 0 below the threshold, but not in these samples."""
    samples = simulate(task_diversity=0.5, context_length=2.0, ridge=0.0, dimensions=(6, 8, 10), samples=4, seed=4)
    assert "chi" in compare(samples).left_out
    found = compare(replace(samples, values=dict(samples.values) | {"chi": samples.values["m"]}))
    assert [row.agrees for row in found.rows if row.quantity == "chi"] == [False]
    found = compare(samples, theory=changed_quantity("chi", np.ones_like))
    assert [row.agrees for row in found.rows if row.quantity == "chi"] == [False]


def test_a_row_without_a_number_can_be_written_and_drawn(cold, tmp_path):
    found = compare(cold, theory=changed_quantity("chi", not_a_number))
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    row = plain["rows"][2]
    assert (row["quantity"], row["agrees"], row["z"], row["theory"]) == ("chi", False, None, None)
    assert len(row["coefficients"]) == 3
    save_figure(draw_extrapolation(found), tmp_path / "picture.png")


def test_what_is_left_out_is_listed(cold, warm):
    found = compare(cold)
    assert found.left_out == ("q_self", "e_icl_gibbs", "e_idg", "free_energy", "entropy")
    assert "do not exist or diverge: q_self, e_icl_gibbs, e_idg, free_energy, entropy." in found.sentence
    assert found.to_dict()["left_out"] == list(found.left_out)
    assert {row.quantity for row in found.rows} | set(found.left_out) == set(QUANTITIES)
    assert compare(warm).left_out == ("e_idg",)


def test_two_dimensions_are_said_to_be_a_weak_check():
    samples = simulate(**POINT, dimensions=(6, 8), samples=4, seed=2)
    assert "Two dimensions cannot test the curvature in 1/D, and make a weak check" in compare(samples).sentence


def test_wrong_power_of_the_dimension_fails(cold):
    """1/D^2 where 1/D belongs, with the theory still at the right integers."""
    assert compare(replace(cold, dimensions=tuple(size**2 for size in SIZES))).passed is False


def test_small_task_diversity_agrees_through_the_truncation():
    """chi scatters by 1e-4 there, and the missing 1/D^3 alone is more than the threshold."""
    samples = simulate(
        task_diversity=0.2,
        context_length=5.0,
        label_noise=0.1,
        ridge=0.05,
        dimensions=SIZES,
        samples=96,
        seed=5,
    )
    found = compare(samples)
    assert found.passed is None, found.sentence  # nothing disagrees; these samples are too few for m, q and e_train
    chi = next(row for row in found.rows if row.quantity == "chi")
    assert chi.agrees is True
    assert abs(chi.z) > chi.threshold
    assert chi.truncation < 0.01 * chi.theory
    assert compare(samples, theory=changed_quantity("chi", lambda chi: 1.02 * chi)).passed is False


@pytest.mark.slow
def test_rounding_of_the_integers_is_removed():
    """At tau = 2.13, alpha = 0.87 nothing is whole; alpha_D is off by up to 1/(2D)."""
    point = {"task_diversity": 2.13, "context_length": 0.87, "ridge": 0.3}
    samples = simulate(**point, dimensions=SIZES, samples=64, seed=3)
    found = compare(samples)
    assert found.passed, found.sentence
    row = found.rows[0]
    for size, prompts, context in zip(row.sizes, found.prompts, found.contexts, strict=True):
        exact = solve(task_diversity=prompts / size.dimension**2, context_length=context / size.dimension, ridge=0.3)
        assert size.theory == pytest.approx(float(exact.m), rel=1e-12)


def test_rows_are_consistent(cold):
    for row in compare(cold).rows:
        assert row.z == pytest.approx((row.extrapolated - row.theory) / row.standard_error)
        limit = row.threshold * row.standard_error + row.truncation
        assert row.agrees == (abs(row.extrapolated - row.theory) < limit)
        assert row.smallest_detectable_bias > limit
        assert row.coefficients[0] == pytest.approx(row.extrapolated - row.theory)
        assert math.isnan(row.fit_p_value)  # three sizes, three coefficients
        for index, size in enumerate(row.sizes):
            assert size.mean == pytest.approx(cold.values[row.quantity][index].mean())


def test_to_dict_is_json_without_nan(cold):
    found = compare(cold)
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert (plain["schema_version"], plain["passed"], plain["sentence"]) == (1, True, found.sentence)
    assert plain["rows"][0]["fit_p_value"] is None
    assert plain["prompts"] == list(found.prompts)


def test_validate_is_simulate_then_compare():
    sizes, calls = (6, 8, 10), []
    found = validate(**POINT, dimension=sizes, samples=4, seed=2, progress=lambda done, total: calls.append(total))
    again = compare(simulate(**POINT, dimensions=sizes, samples=4, seed=2))
    assert found.to_dict() == again.to_dict()
    assert calls == [12] * 13


def test_threshold_without_ridge_is_refused_before_simulating(monkeypatch):
    monkeypatch.setattr("iclglass.validation.crosscheck.simulate_all", None)
    with pytest.raises(
        ValueError, match=r"no finite e_icl at task_diversity = 1 and ridge = 0, but nan .*use ridge > 0"
    ):
        validate(task_diversity=1.0, context_length=1.0, ridge=0.0)


@pytest.mark.slow
def test_without_ridge_on_both_sides_of_the_threshold():
    for tau in (0.5, 3.0):
        found = compare(
            simulate(task_diversity=tau, context_length=2.0, ridge=0.0, dimensions=SIZES, samples=48, seed=4),
            largest_unseen_bias=1,
        )
        assert found.passed, found.sentence
        assert ("chi" in {row.quantity for row in found.rows}) == (tau > 1)


def test_without_ridge_the_wrong_side_is_refused():
    """tau = 1.05 but P < n = D(D+1) at D = 12: the sample interpolates, the theory does not."""
    samples = simulate(task_diversity=1.05, context_length=2.0, ridge=0.0, dimensions=(12, 30), samples=2, seed=4)
    with pytest.raises(ValueError, match="dimension 12 has 151 prompts for 156 spins, on the other side"):
        compare(samples)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dimension": (16,)}, "dimension must hold at least 2 values"),
        ({"false_alarm": 0.0}, "false_alarm must be finite and > 0"),
        ({"false_alarm": 1.0}, "false_alarm must be finite"),
        ({"samples": 1}, "samples must be at least 2"),
    ],
)
def test_bad_input_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        validate(**(POINT | change))


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.0, 0.5])
def test_main_job_at_four_dimensions(temperature):
    found = validate(**POINT, temperature=temperature, dimension=(16, 24, 32, 48), samples=32)
    assert found.passed, found.sentence
    assert all(row.fit_p_value > 1e-3 for row in found.rows)


def test_a_pass_that_could_not_have_seen_an_error_of_its_own_size_is_inconclusive():
    """Few samples at the sharp peak: the bias that would have been seen exceeds the value itself."""
    found = validate(task_diversity=1, context_length=1, ridge=0.001, dimension=(6, 8, 12), samples=6)
    blind = [row.quantity for row in found.rows if row.smallest_detectable_bias >= abs(row.theory)]
    assert blind
    assert {row.quantity for row in found.rows if row.agrees is None} >= set(blind)
    assert found.passed is None
    assert all(row.smallest_detectable_bias > 0 for row in found.rows)
    strong = validate(task_diversity=2, context_length=1, dimension=(8, 16, 32), samples=32)
    assert strong.passed is True
    assert "nconclusive" not in strong.sentence


def test_whole_numbers_of_every_type_are_checked_alike():
    """NumPy's integers are no way around the smallest dimension."""
    for sizes in ((3, 6), [np.int64(3), np.int64(6)], (3.0, 6)):
        with pytest.raises(ParameterError, match=r"dimension = \[3, 6\] must be >= 4"):
            validate(task_diversity=2, context_length=1, dimension=sizes, samples=2)
