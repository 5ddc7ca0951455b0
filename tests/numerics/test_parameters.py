"""Validation: every bad value refused with its name, its value and a remedy."""

import inspect
import math
import pickle
import re
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
import xarray as xr

from iclglass.numerics.best_ridge import best_ridge
from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.learning_curve import learning_curve
from iclglass.numerics.parameters import PARAMETERS, Given, Parameters, closest, real
from iclglass.numerics.phase_diagram import phase_diagram
from iclglass.numerics.precision import solve_digits
from iclglass.numerics.saddle_point import solve
from iclglass.numerics.sizes import Sizes
from iclglass.numerics.state_evolution import state_evolution
from iclglass.numerics.task_spectrum import TaskSpectrum
from iclglass.validation.crosscheck import validate
from iclglass.validation.sweeping.sweep import sweep_simulated

NAMES = tuple(PARAMETERS)
POSITIVE = ("task_diversity", "context_length", "test_context_length", "distinct_tasks")
GOOD = {"task_diversity": 2.0, "context_length": 1.0}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1, -1e-300, -5.0, 0], ids=str)
def test_out_of_range(name, value):
    known, given = PARAMETERS[name], {**GOOD, name: value}
    if (value == math.inf and known.infinite) or (value == 0 and name not in POSITIVE):
        assert np.isfinite(solve(**given).m)
        return
    message = rf"{name} = {float(value)} must be {known.range}: {known.remedy}"
    with pytest.raises(ParameterError, match=re.escape(message)):
        solve(**given)
    with pytest.raises(ParameterError, match=re.escape(message)):
        solve(**{**GOOD, name: [[1.0, 0.2], [value, 0.3]]})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "value",
    [
        *("1", b"1", True, np.True_, 1j, object(), {"a": 1}, {1.0}, sp.Symbol("x"), sp.I, sp.true),
        *([1, "2"], [1, None], [True, False], [1, 2 + 0j], [True, 2.0], [1.0, np.array(True)], [[1, 2], [3]]),
        *([[1, 2], 3], np.array([1, "2"], dtype=object), np.array(["2020-01-01"], dtype="datetime64[D]")),
    ],
    ids=lambda value: type(value).__name__ if type(value) is object else repr(value)[:30],
)
def test_wrong_type(name, value):
    with pytest.raises(ParameterTypeError, match=rf"^{name} .*must be a|^{name} must be a"):
        solve(**{**GOOD, name: value})


def test_numbers_too_large_for_a_double():
    huge = np.longdouble("1e4000")
    if np.isinf(huge):
        pytest.skip("long double is a double on this platform")
    with pytest.raises(ParameterError, match="task_diversity"):
        solve(task_diversity=huge, context_length=1)
    for number in (huge, 1 / huge):
        with pytest.raises(ParameterError, match=r"^distinct_tasks = .* is beyond double precision"):
            solve(**GOOD, distinct_tasks=np.array([1, number]))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [10**400, Fraction(1, 10**400), Decimal("1e-400"), [1.0, Decimal("1e400")]], ids=repr)
def test_a_number_that_a_double_cannot_hold_does_not_become_another_one(name, value):
    """As 0 it would be the ridgeless limit, as infinity one task per prompt."""
    with pytest.raises(ParameterError, match=rf"^{name} = .* is beyond double precision"):
        solve(**{**GOOD, name: value})


@pytest.mark.parametrize("name", ["task_diversity", "context_length"])
def test_required(name):
    values = {key: value for key, value in GOOD.items() if key != name}
    with pytest.raises(ParameterTypeError, match=f"{name} is required: {PARAMETERS[name].meaning.split()[0]}"):
        Parameters.of(values)
    with pytest.raises(ParameterTypeError, match=f"{name} is required"):
        solve(**values, **{name: None})
    with pytest.raises(TypeError, match=name):
        solve(**values)


def test_an_unknown_keyword():
    for function in (solve, learning_curve, state_evolution, best_ridge):
        with pytest.raises(TypeError, match="got an unexpected keyword argument 'task_diversty'; did you mean"):
            function(task_diversty=1, context_length=1)
    for function, name in ((learning_curve, "temperature"), (state_evolution, "tasks"), (best_ridge, "ridge")):
        with pytest.raises(TypeError, match=f"got an unexpected keyword argument '{name}'"):
            function(**GOOD, **{name: 1})


def test_defaults():
    values = Parameters(**GOOD).scaled
    assert list(values) == list(NAMES)
    assert [float(value) for value in values.values()] == [2.0, 1.0, math.inf, 0.0, 0.1, 0.0, 1.0]


def test_shapes_and_along_which_axes_they_were_given():
    point = Parameters(task_diversity=np.ones((2, 1)), context_length=[1, 2, 3], ridge=[[0.1]])
    assert {value.shape for value in point.scaled.values()} == {(2, 3)}
    np.testing.assert_array_equal(point.scaled["test_context_length"], point.context_length)
    given = ("task_diversity", "context_length", "ridge", "label_noise")
    assert [point.varying(name).shape for name in given] == [(2,), (3,), (), ()]
    assert Parameters(task_diversity=[2.0], context_length=1).record()["task_diversity"] == [2.0, 2.0, 1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tasks": "isotropic"}, "tasks must be a TaskSpectrum"),
        ({"norm": "M"}, "norm"),
        ({"last_row": 1.5}, "last_row"),
        ({"dimension": 2.5}, "dimension = 2.5 must be a whole number"),
        ({"dimension": 0}, "dimension = 0 must be a whole number >= 1"),
        ({"dimension": "8"}, "dimension must be a real number"),
        ({"dimension": True}, "dimension must be a real number"),
        ({"dimension": [10, math.nan]}, "dimension = nan must be a whole number"),
        ({"dimension": [8, 10], "ridge": [1, 2, 3]}, r"do not broadcast: ridge \(3,\), dimension \(2,\)"),
        ({"context_length": [1, 2, 3], "ridge": [1, 2]}, r"do not broadcast: context_length \(3,\), ridge \(2,\)"),
    ],
)
def test_parameters_of_wrong_types_or_values(given, message):
    with pytest.raises((ParameterError, ParameterTypeError), match=message):
        Parameters(**(GOOD | given))


def test_functions_take_one_object_fields_or_both():
    point = Parameters(**GOOD)
    assert solve(point).m == solve(**GOOD).m
    assert solve(point, ridge=1.0).m == solve(**GOOD, ridge=1.0).m
    with pytest.raises(
        ParameterTypeError, match=r"must be an iclglass.Parameters, got dict: give numbers by their names"
    ):
        solve(GOOD)


def test_parameters_are_checked_once_and_stay_as_they_are():
    point = Parameters(task_diversity=[1.0, 2.0], context_length=1.5)
    for found in (point, pickle.loads(pickle.dumps(point))):  # noqa: S301
        for name in ("task_diversity", "ridge"):
            with pytest.raises(ValueError, match="read-only"):
                getattr(found, name)[0] = -5
        np.testing.assert_allclose(solve(found).m, solve(point).m, rtol=1e-14)
        assert found.varying("ridge").shape == ()


def test_fields_are_replaced_by_others_of_any_shape():
    point = Parameters(task_diversity=[1.0, 2.0], context_length=1.5)
    assert point.replaced(task_diversity=[1, 2, 3]).shape == (3,)
    assert point.replaced(task_diversity=3).shape == ()
    assert solve(point, context_length=[[1.0], [2.0], [3.0]]).m.shape == (3, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda point: point.at(2.5), "dimension must be a whole number"),
        (lambda point: point.at(True), "dimension must be an integer"),
        (lambda point: point.at("16"), "dimension must be an integer"),
        (lambda point: point.at(8, norm="X"), "norm"),
        (lambda point: point.replaced(ridge=[0.1, 0.2]).at(8), "of 2 points: sizes are those of one"),
        (lambda point: point.replaced(rigde=1), "did you mean 'ridge'"),
        (lambda _: Parameters.from_unscaled(10, prompts=20, context=5, ridge0=0.1, beta=0), "beta"),
        (lambda _: Parameters.from_unscaled(0, prompts=20, context=5, ridge0=0.1), "dimension must be at least 1"),
        (lambda _: Parameters.from_unscaled(10, prompts=2.5, context=5, ridge0=0.1), "prompts must be a whole number"),
        (lambda point: validate(point.replaced(dimension=10), dimension=(6, 8)), "leave it out of them"),
    ],
)
def test_what_parameters_cannot_do_is_said(call, message):
    with pytest.raises((ParameterError, ParameterTypeError), match=message):
        call(Parameters(**GOOD))


def test_arrays_of_an_object_and_data_arrays_are_not_paired_by_position():
    point = Parameters(task_diversity=[1.0, 2.0], context_length=1.5)
    with pytest.raises(ParameterTypeError, match="parameters is an array without names"):
        solve(point, ridge=xr.DataArray([0.1, 0.2], dims="r"))
    assert solve(point.replaced(task_diversity=1.0), ridge=xr.DataArray([0.1, 0.2], dims="r")).m.dims == ("r",)


def test_solutions_of_data_arrays_are_datasets_with_their_axes():
    axes = {"task_diversity": [1.0, 2, 3], "context_length": [1.0, 2]}
    found = solve(**{name: xr.DataArray(values, dims=name) for name, values in axes.items()}).to_dataset()
    assert {name: found[name].values.tolist() for name in axes} == axes
    assert found.e_icl.sel(task_diversity=2, context_length=1).item() == solve(**GOOD).e_icl
    both = xr.DataArray([[1.0, 2], [3, 4]], dims=("task_diversity", "run"))
    with pytest.raises(ParameterError, match="rename the dimension task_diversity"):
        solve(task_diversity=both, context_length=1.0).to_dataset()
    assert "e_icl" in solve(**GOOD)._repr_html_()
    with pytest.raises(ParameterError, match="must name 0 axes"):
        solve(**GOOD).to_dataset(("a",))


def test_lines_are_those_of_isotropic_tasks_and_simulations_too():
    with pytest.raises(ParameterTypeError, match="unexpected keyword argument 'tasks'"):
        phase_diagram(**GOOD, tasks=TaskSpectrum.power_law(1.0))
    assert "tasks" not in inspect.signature(sweep_simulated).parameters


def test_the_signature_names_every_field():
    names = list(inspect.signature(Parameters).parameters)
    assert set(names) == set(Given.__annotations__)
    assert list(inspect.signature(solve).parameters) == ["parameters", *names, "method", "throw"]


def test_unscaled_there_and_back():
    point = Parameters.from_unscaled(10, prompts=200, context=20, ridge0=0.01, beta=1000, label_noise=0.2)
    assert point.at(10) == Sizes(10, 200, 20, 20, 200, "N")
    assert [float(value) for value in (point.ridge, point.temperature, point.label_noise)] == [0.1, 0.1, 0.2]


def test_real_returns_doubles_of_any_shape():
    assert real("ridge", 1).dtype == np.float64
    assert real("ridge", np.float32(0.5)).shape == ()
    assert real("ridge", []).shape == (0,)
    # Negative zero is zero.
    assert real("ridge", -0.0) == 0


def test_closest():
    assert closest("task_diversty", NAMES) == "; did you mean 'task_diversity'?"
    assert closest("xyz", ["m", "q"]) == "; known: m, q"


# A pool of tasks has no closed form to evaluate to any digits.
@pytest.mark.parametrize("name", [name for name in NAMES if name != "distinct_tasks"])
@pytest.mark.parametrize(
    "value", ["nan", "inf", "-inf", "-1", "one", "", "1/0", "--1", -1, -0.5, math.nan, math.inf], ids=repr
)
def test_digits_out_of_range(name, value):
    with pytest.raises(ParameterError) as caught:
        solve_digits(digits=10, **{**GOOD, name: value})
    message = str(caught.value)
    assert message.startswith(f"{name} = ")
    assert PARAMETERS[name].remedy in message


NO_NUMBERS = [True, 1j, [1], b"1", None, np.array([1.0]), sp.Symbol("x"), sp.I, sp.true]


@pytest.mark.parametrize("value", [*NO_NUMBERS, "1e999999999", "1e-999999999", "1e10001"], ids=repr)
def test_digits_wrong_type_and_absurd_exponents(value):
    error, words = (ParameterError, "") if isinstance(value, str) else (ParameterTypeError, " must be a number or its")
    with pytest.raises(error, match=rf"^ridge = .*{words}"):
        solve_digits(digits=10, **GOOD, ridge=value)


@pytest.mark.parametrize("value", [0, -3, 100_001, 10**9, 2.5, math.nan, "40", None, True])
def test_digits_count(value):
    error = ParameterError if type(value) in (int, float) else ParameterTypeError
    with pytest.raises(error, match="digits"):
        solve_digits(digits=value, **GOOD)
