"""Labelled and masked arrays: paired by the names of dimensions or refused, never by position in silence."""

from decimal import Decimal
from fractions import Fraction

import mpmath
import numpy as np
import pandas as pd
import pytest
import sympy as sp
import xarray as xr

import iclglass
from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.finite_size import solve_finite

TAU = xr.DataArray([0.5, 2.0, 4.0], dims="tau", coords={"tau": ["few", "some", "many"]})
RIDGE = xr.DataArray([0.1, 1.0, 2.0], dims="lam", coords={"lam": [0.1, 1.0, 2.0], "letter": ("lam", ["a", "b", "c"])})
# Every function whose parameters broadcast, with what it needs beside task_diversity and ridge (if it takes one).
FUNCTIONS = {
    "solve": (iclglass.solve, {"context_length": 1.5}),
    "solve at a dimension": (iclglass.solve, {"context_length": 1.5, "dimension": 8}),
    "solve_finite": (solve_finite, {"context_length": 1.5, "dimension": 8}),
    "learning_curve": (iclglass.learning_curve, {"context_length": 1.5, "time": 2.0}),
    "best_stopping_time": (iclglass.best_stopping_time, {"context_length": 1.5}),
    "state_evolution": (iclglass.state_evolution, {"context_length": 1.5, "steps": 4}),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_dataarrays_broadcast_by_name_and_come_back(name):
    """Three values and three: by position they would pair along the diagonal."""
    function, others = FUNCTIONS[name]
    found = function(task_diversity=TAU, ridge=RIDGE, **others)
    plain = function(task_diversity=TAU.values[:, None], ridge=RIDGE.values[None, :], **others)
    assert type(found) is type(plain)
    if hasattr(found, "converged"):
        assert bool(found.converged.all())
        assert found.converged.dims == ("tau", "lam")
    for quantity, expected in plain.to_dict().items():
        values = getattr(found, quantity)
        assert values.name == quantity
        assert values.dims == ("step", "tau", "lam")[3 - expected.ndim :]
        np.testing.assert_array_equal(values, expected)
        for coordinate in ("tau", "lam", "letter"):
            source = TAU if coordinate == "tau" else RIDGE
            xr.testing.assert_identical(values[coordinate].variable, source[coordinate].variable)


def test_every_dimension_and_every_order_of_axes():
    """Permuting the axes of what is given changes nothing but the order of axes of what comes back."""
    both = (TAU * RIDGE).drop_vars("letter")
    one = iclglass.solve(task_diversity=both, context_length=TAU, ridge=RIDGE)
    other = iclglass.solve(task_diversity=both.transpose("lam", "tau"), context_length=TAU, ridge=RIDGE)
    assert other.e_icl.dims == ("lam", "tau")
    np.testing.assert_array_equal(other.e_icl.transpose("tau", "lam"), one.e_icl)
    point = one.e_icl.sel(tau="many", lam=1.0)
    assert point == iclglass.solve(task_diversity=4.0, context_length=4.0, ridge=1.0).e_icl


def test_best_ridge_and_a_given_pool_come_back_by_name():
    found = iclglass.best_ridge(task_diversity=TAU, context_length=xr.DataArray([1.0, 2.0], dims="alpha"))
    np.testing.assert_array_equal(
        found, iclglass.best_ridge(task_diversity=TAU.values[:, None], context_length=[1.0, 2.0])
    )
    assert found.dims == ("tau", "alpha")
    pool = np.random.default_rng(0).standard_normal((2, 4))
    given = iclglass.solve_given_pool(pool, task_diversity=TAU, context_length=1.0)
    assert given.e_icl.dims == given.task_count.dims == ("tau",)


def test_a_dataarray_without_axes_is_a_number():
    one = TAU.sel(tau="some")
    found = iclglass.solve(task_diversity=one, context_length=1.0)
    assert found.e_icl.dims == ()
    assert found.e_icl == iclglass.solve(task_diversity=2.0, context_length=1.0).e_icl
    # Beside arrays without names, too.
    mixed = iclglass.solve(task_diversity=one, context_length=np.array([1.0, 2.0]))
    assert type(mixed.e_icl) is np.ndarray
    # Of two scalar coordinates that differ none is the result's.
    both = iclglass.solve(task_diversity=one, context_length=TAU.sel(tau="many"))
    assert "tau" not in both.e_icl.coords


NAMELESS = "is an array without names and task_diversity a DataArray"
APART = "task_diversity, context_length do not fit together"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        *[({"ridge": value}, ParameterTypeError, f"ridge {NAMELESS}") for value in ([0.1, 1.0, 2.0], np.ones(3), (1,))],
        ({"dimension": [8, 10, 12]}, ParameterTypeError, f"dimension {NAMELESS}"),
        ({"context_length": TAU.assign_coords(tau=["some", "many", "more"])}, ParameterError, APART),
        ({"context_length": TAU[:2]}, ParameterError, APART),
        ({"ridge": xr.DataArray([1.0, -1.0], dims="lam")}, ParameterError, r"ridge = -1\.0 must be finite and >= 0"),
    ],
)
def test_what_cannot_be_paired_by_name_is_refused(change, error, message):
    with pytest.raises(error, match=message):
        iclglass.solve(**({"task_diversity": TAU, "context_length": 1.0} | change))


@pytest.mark.parametrize(
    "value", [pd.Series([1.0, 2.0], index=[1, 0]), pd.DataFrame({"a": [1.0, 2.0]})], ids=["S", "D"]
)
def test_pandas_is_refused_with_a_remedy(value):
    for given in (value, [value, value]):
        with pytest.raises(ParameterTypeError, match=rf"ridge .* not a {type(value).__name__}, .*\.to_numpy\(\)"):
            iclglass.solve(task_diversity=1.0, context_length=1.0, ridge=given)
    by_name = pd.Series([1.0, 2.0], index=pd.Index([10, 20], name="run")).to_xarray()
    assert iclglass.solve(task_diversity=1.0, context_length=1.0, ridge=by_name).e_icl.dims == ("run",)


def test_names_that_cannot_be_used_are_refused():
    for call in (
        lambda: iclglass.Instance(xr.DataArray(np.ones((3, 3))), np.ones((3, 2)), np.ones(3)),
        lambda: iclglass.TaskSpectrum.from_eigenvalues(TAU),
        lambda: iclglass.solve_given_pool(xr.DataArray(np.ones((2, 4))), task_diversity=2.0, context_length=1.0),
        lambda: iclglass.solve(task_diversity=xr.Variable("tau", [1.0, 2.0]), context_length=1.0),
    ):
        with pytest.raises(
            ParameterTypeError, match=r"whose labels would be ignored: pass its numbers, \.to_numpy\(\)"
        ):
            call()


def test_an_axis_of_a_sweep_is_along_itself():
    first = iclglass.sweep(task_diversity=[0.5, 2.0], context_length=[1.0, 2.0], ridge=0.2)
    again = iclglass.sweep(task_diversity=first.task_diversity, context_length=first.context_length, ridge=first.ridge)
    np.testing.assert_array_equal(again.e_icl, first.e_icl)
    paired = xr.DataArray([0.5, 2.0], dims="run")
    for call in (iclglass.sweep, iclglass.phase_diagram, iclglass.sweep_simulated):
        with pytest.raises(ParameterError, match=r"ridge is a DataArray along run, and an axis .* along ridge itself"):
            call(task_diversity=[0.5, 2.0], context_length=1.0, ridge=paired)


def test_masked_entries_are_refused_and_an_empty_mask_is_none():
    masked = np.ma.masked_array([0.1, 1.0], mask=[False, True])
    for given in (masked, [masked, [0.1, 0.2]], np.ma.masked, [0.1, np.ma.masked]):
        with pytest.raises(ParameterTypeError, match=r"^ridge .*masked.*\.filled\("):
            iclglass.solve(task_diversity=1.0, context_length=1.0, ridge=given)
    whole = np.ma.masked_array([0.1, 1.0], mask=False)
    found = iclglass.solve(task_diversity=1.0, context_length=1.0, ridge=whole)
    assert type(found.e_icl) is np.ndarray
    np.testing.assert_array_equal(
        found.e_icl, iclglass.solve(task_diversity=1.0, context_length=1.0, ridge=[0.1, 1.0]).e_icl
    )


def test_a_unit_is_not_dropped():
    class Quantity(np.ndarray):
        unit = "cm"

    with pytest.raises(ParameterTypeError, match="ridge must be a plain number or array, not a Quantity with a unit"):
        iclglass.solve(task_diversity=1.0, context_length=1.0, ridge=np.array([1.0]).view(Quantity))


TENTHS = {
    "Fraction": Fraction(1, 10),
    "Decimal": Decimal("0.1"),
    "Rational": sp.Rational(1, 10),
    "Float": sp.Float("0.1", 30),
    "function": sp.log(sp.exp(1)) / 10,
    "mpf": mpmath.mpf("0.1"),
    "0-d": np.array(0.1),
    "float64": np.float64(0.1),
}


@pytest.mark.parametrize("name", TENTHS)
def test_exact_numbers_are_numbers_everywhere(name):
    tenth = TENTHS[name]
    expected = iclglass.solve(task_diversity=1.0, context_length=2.0, ridge=0.1).e_icl
    for given, shape in ((tenth, ()), ([tenth, 0.1], (2,)), (np.array([[tenth]], dtype=object), (1, 1))):
        found = iclglass.solve(task_diversity=1, context_length=sp.Integer(2), ridge=given).e_icl
        assert np.shape(found) == shape
        assert np.all(found == expected)
    grid = iclglass.sweep(task_diversity=[tenth, 1], context_length=1.0, ridge=tenth)
    xr.testing.assert_equal(grid, iclglass.sweep(task_diversity=[0.1, 1], context_length=1.0, ridge=0.1))
    data = iclglass.Instance([[tenth, 1]], [[tenth]], [tenth])
    assert data.context.dtype == np.float64
    assert iclglass.solve_instance(data, ridge0=tenth, beta=tenth).ridge0 == 0.1
    assert iclglass.draw_prompts(**SIZES, label_noise=tenth, rng=np.random.default_rng(1)).label_noise == 0.1


SIZES = {"dimension": Fraction(4), "context": Decimal(3), "prompts": sp.Integer(5)}
POINT = {"digits": 40, "task_diversity": 2, "context_length": 1}


@pytest.mark.parametrize("name", ["Fraction", "Decimal", "Rational", "mpf", "0-d", "float64"])
def test_digits_take_exact_numbers_exactly_and_a_float_as_the_binary_number_it_is(name):
    found = iclglass.solve_digits(**POINT, ridge=TENTHS[name])
    decimal, binary = (iclglass.solve_digits(**POINT, ridge=ridge) for ridge in ("1/10", Fraction(0.1)))
    exact = name in ("Fraction", "Decimal", "Rational")
    assert (found == decimal, found == binary) == (exact, not exact)


def test_digits_of_irrational_numbers():
    """pi to all digits, not those of its float."""
    with mpmath.workdps(60):
        text = mpmath.nstr(+mpmath.pi, 60)
    expected = iclglass.solve_digits(**POINT, ridge=text)
    for pi in (sp.pi, mpmath.pi):
        assert iclglass.solve_digits(**POINT, ridge=pi) == expected
    with pytest.raises(ParameterError, match="ridge = -pi must be finite and >= 0"):
        iclglass.solve_digits(**POINT, ridge=-sp.pi)
    for bad in (mpmath.mpf(-1), sp.oo, mpmath.inf, mpmath.nan, mpmath.mpf("1e100000000"), sp.exp(-(10**9))):
        with pytest.raises(ParameterError, match=r"^ridge = "):
            iclglass.solve_digits(**POINT, ridge=bad)


def test_a_dimension_called_as_that_of_the_result_is_refused():
    with pytest.raises(ParameterError, match=r"called step, .*rename"):
        iclglass.state_evolution(task_diversity=xr.DataArray([1.0, 2.0], dims="step"), context_length=1.0, steps=3)
