"""Validation: every bad value refused with its name, its value and a remedy."""

import inspect
import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp

from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.parameters import PARAMETERS, Given, Parameters, closest, real
from iclglass.numerics.precision import solve_digits
from iclglass.numerics.saddle_point import solve
from iclglass.numerics.sizes import Sizes

NAMES = tuple(PARAMETERS)
POSITIVE = ("task_diversity", "context_length", "test_context_length", "distinct_tasks")
GOOD = {"task_diversity": 2.0, "context_length": 1.0}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1, -1e-300, -5.0], ids=str)
def test_out_of_range(name, value):
    if value == math.inf and PARAMETERS[name].infinite:
        assert solve(**{**GOOD, name: value}).m == solve(**GOOD).m
        return
    with pytest.raises(ParameterError) as caught:
        solve(**{**GOOD, name: value})
    message = str(caught.value)
    assert f"{name} = {float(value)}" in message
    assert PARAMETERS[name].range in message
    assert PARAMETERS[name].remedy in message


@pytest.mark.parametrize("name", NAMES)
def test_zero(name):
    if name in POSITIVE:
        with pytest.raises(ParameterError, match=rf"{name} = 0\.0 must be {PARAMETERS[name].range}: "):
            solve(**{**GOOD, name: 0})
    else:
        assert np.isfinite(solve(**{**GOOD, name: 0}).m)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "value",
    [
        "1",
        b"1",
        True,
        np.True_,
        1j,
        object(),
        {"a": 1},
        {1.0},
        [1, "2"],
        [1, None],
        [True, False],
        [1, 2 + 0j],
        np.array([1, "2"], dtype=object),
        [True, 2.0],
        [1.0, np.array(True)],
        sp.Symbol("x"),
        sp.I,
        sp.true,
        np.array(["2020-01-01"], dtype="datetime64[D]"),
        [[1, 2], [3]],
        [[1, 2], 3],
    ],
    ids=lambda value: type(value).__name__ if type(value) is object else repr(value)[:30],
)
def test_wrong_type(name, value):
    with pytest.raises(ParameterTypeError) as caught:
        solve(**{**GOOD, name: value})
    message = str(caught.value)
    assert message.startswith(name)
    assert "must be a" in message


def test_one_bad_value_in_an_array_is_named():
    with pytest.raises(ParameterError, match=r"ridge = -3\.0 must be finite and >= 0"):
        solve(**GOOD, ridge=[[0.1, 0.2], [-3, 0.3]])


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


def test_shapes_that_do_not_broadcast():
    with pytest.raises(ParameterError, match=r"do not broadcast: task_diversity \(2,\), context_length \(3,\)"):
        solve(task_diversity=[1, 2], context_length=[1, 2, 3])


def test_an_unknown_keyword():
    with pytest.raises(TypeError, match="task_diversty"):
        solve(task_diversty=1, context_length=1)


def test_defaults():
    values = Parameters(**GOOD).scaled
    assert set(values) == set(NAMES)
    found = {name: float(value) for name, value in values.items()}
    assert found == {
        "task_diversity": 2.0,
        "context_length": 1.0,
        "distinct_tasks": math.inf,
        "label_noise": 0.0,
        "ridge": 0.1,
        "temperature": 0.0,
        "test_context_length": 1.0,
    }


def test_broadcast_shapes():
    values = Parameters(task_diversity=np.ones((2, 1)), context_length=[1, 2, 3]).scaled
    assert {value.shape for value in values.values()} == {(2, 3)}
    np.testing.assert_array_equal(values["test_context_length"], values["context_length"])


def test_parameters_remember_along_which_axes_they_were_given():
    point = Parameters(task_diversity=np.ones((2, 1)), context_length=[1, 2, 3], ridge=[[0.1]])
    assert [point.varying(name).shape for name in ("task_diversity", "context_length", "ridge", "label_noise")] == [
        (2,),
        (3,),
        (),
        (),
    ]
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
    ],
)
def test_parameters_of_wrong_types_or_values(given, message):
    with pytest.raises((ParameterError, ParameterTypeError), match=message):
        Parameters(**GOOD, **given)


def test_functions_take_one_object_fields_or_both():
    point = Parameters(**GOOD)
    assert solve(point).m == solve(**GOOD).m
    assert solve(point, ridge=1.0).m == solve(**GOOD, ridge=1.0).m
    with pytest.raises(
        ParameterTypeError, match=r"must be an iclglass.Parameters, got dict: give numbers by their names"
    ):
        solve(GOOD)


def test_the_signature_names_every_field():
    assert list(inspect.signature(solve).parameters) == ["parameters", *Given.__annotations__, "method", "throw"]


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


@pytest.mark.parametrize("value", [True, 1j, [1], b"1", np.array([1.0])], ids=repr)
def test_digits_wrong_type(value):
    with pytest.raises(ParameterTypeError, match=r"ridge = .* must be a number or its decimal string"):
        solve_digits(digits=10, **GOOD, ridge=value)


@pytest.mark.parametrize("value", ["1e999999999", "1e-999999999", "1e10001"])
def test_digits_absurd_exponents(value):
    with pytest.raises(ParameterError, match="ridge"):
        solve_digits(digits=10, **GOOD, ridge=value)


@pytest.mark.parametrize("value", [0, -3, 100_001, 10**9, 2.5, math.nan])
def test_digits_count(value):
    with pytest.raises(ParameterError, match="digits"):
        solve_digits(digits=value, **GOOD)


@pytest.mark.parametrize("value", ["40", None, True])
def test_digits_count_type(value):
    with pytest.raises(ParameterTypeError, match="digits must be an integer"):
        solve_digits(digits=value, **GOOD)
