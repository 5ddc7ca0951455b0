"""A sweep is solve over the product of its axes, labelled, with failures marked and its origin recorded."""

import json
import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.parameters import PARAMETERS
from iclglass.numerics.saddle_point import solve
from iclglass.numerics.solution import OBSERVABLES
from iclglass.numerics.status import Status
from iclglass.numerics.storage import PROVENANCE
from iclglass.numerics.sweep import sweep

DIAGNOSTICS = {"residual", "error_bound", "status"}


@pytest.fixture(scope="module")
def dataset():
    return sweep(ridge=[0.0, 0.1], task_diversity=[0.5, 1.0, 2.0], context_length=1.5, temperature=0.3)


def test_every_quantity_is_a_variable_with_its_meaning_along_the_axes_in_the_order_of_the_fields(dataset):
    assert tuple(dataset.sizes.items()) == (("task_diversity", 3), ("ridge", 2))
    assert set(dataset.data_vars) == {*OBSERVABLES, *DIAGNOSTICS}
    for name, variable in dataset.data_vars.items():
        assert variable.dims == ("task_diversity", "ridge")
        assert variable.dtype == (np.int8 if name == "status" else np.float64)
        assert variable.attrs["units"] == "1"
        assert variable.attrs["long_name"] == OBSERVABLES.get(name, variable.attrs["long_name"])
        assert len(variable.attrs["long_name"].split()) >= 1


def test_every_parameter_is_a_coordinate_with_symbol_and_meaning(dataset):
    assert set(dataset.coords) == set(PARAMETERS) - {"test_context_length"}
    for name, coordinate in dataset.coords.items():
        known = PARAMETERS[name]
        assert coordinate.dtype == np.float64
        assert coordinate.attrs == {"long_name": known.meaning, "units": "1", "symbol": known.symbol}
    assert dataset.task_diversity.values.tolist() == [0.5, 1.0, 2.0]
    assert dataset.context_length.ndim == 0
    assert float(dataset.context_length) == 1.5
    assert float(dataset.label_noise) == 0


def test_a_test_context_length_is_a_coordinate_only_when_given():
    given_ = sweep(task_diversity=2, context_length=1, test_context_length=[1.0, 5.0])
    assert tuple(given_.sizes) == ("test_context_length",)
    assert float(given_.e_icl[0]) == float(sweep(task_diversity=2, context_length=1).e_icl)
    assert float(given_.e_icl[1]) < float(given_.e_icl[0])


def test_no_axis_at_all_is_a_dataset_of_one_point():
    point = sweep(task_diversity=3, context_length=5, ridge=1)
    assert point.sizes == {}
    assert point.e_icl.shape == ()
    assert float(point.e_icl) == pytest.approx(9 / 22, rel=1e-14)


def test_status_carries_its_meaning(dataset):
    attributes = dataset.status.attrs
    assert attributes["flag_values"].dtype == np.int8
    words = attributes["flag_meanings"].split()
    assert dict(zip(attributes["flag_values"].tolist(), words, strict=True)) == {
        status.value: status.name.lower() for status in Status
    }


def test_a_failed_point_is_nan_in_every_quantity_with_its_status(dataset):
    failed = dataset.sel(task_diversity=1.0, ridge=0.0)
    assert int(failed.status) == Status.DIVERGES
    for name in {*OBSERVABLES, *DIAGNOSTICS} - {"status"}:
        assert math.isnan(float(failed[name])), name
    assert int((dataset.status == Status.CONVERGED).sum()) == 5


def test_no_finite_number_has_a_failed_status():
    grid = sweep(
        task_diversity=[1e-300, 1e-3, 1.0, 1e3, 1e300],
        context_length=[1e-300, 1e-2, 1e4, 1e300],
        ridge=[0.0, 1e-300, 1e-12, 1e300],
        temperature=[0.0, 1e300],
    )
    failed = grid.status != Status.CONVERGED
    assert bool(failed.any())
    for name in {*OBSERVABLES, "residual", "error_bound"}:
        assert not bool(np.isfinite(grid[name]).where(failed, False).any()), name


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_every_value_is_that_of_solve_at_its_coordinates(data):
    axes = {
        "task_diversity": st.floats(0.01, 100),
        "context_length": st.floats(0.01, 100),
        "label_noise": st.floats(0, 10),
        "ridge": st.floats(0, 10),
        "temperature": st.floats(0, 10),
        "test_context_length": st.floats(0.01, 100),
    }
    given_ = {
        name: data.draw(st.one_of(values, st.lists(values, min_size=1, max_size=3)), label=name)
        for name, values in axes.items()
    }
    dataset = sweep(**given_)
    assert list(dataset.sizes) == [name for name in axes if isinstance(given_[name], list)]
    chosen = {name: data.draw(st.integers(0, size - 1), label=name) for name, size in dataset.sizes.items()}
    point = dataset.isel(chosen)
    alone = solve(**{name: float(point[name]) for name in axes}, throw=False)
    for name in point.data_vars:
        np.testing.assert_array_equal(point[name].values, getattr(alone, name), err_msg=name)


def test_provenance_is_one_json_string_with_all_that_is_needed():
    before = datetime.now(UTC) - timedelta(seconds=1)
    grid = np.linspace(0.5, 2, 7)
    dataset = sweep(task_diversity=grid, context_length=2, label_noise=0.25)
    assert dataset.attrs["title"]
    assert isinstance(dataset.attrs[PROVENANCE], str)
    record = json.loads(dataset.attrs[PROVENANCE])
    assert set(record) == {"versions", "git_revision", "source", "modules", "parameters", "seed", "time"}
    assert {"python", "iclglass", "numpy", "scipy", "sympy", "xarray", "h5netcdf"} <= set(record["versions"])
    assert record["parameters"]["task_diversity"] == [0.5, 2.0, 7]
    assert record["parameters"]["label_noise"] == 0.25
    assert record["parameters"]["ridge"] == 0.1
    assert record["seed"] is None
    assert before <= datetime.fromisoformat(record["time"]) <= datetime.now(UTC)


def test_input_arrays_are_left_alone_and_integers_are_numbers():
    grid = np.array([1, 2])
    grid.flags.writeable = False
    assert sweep(task_diversity=grid, context_length=1).task_diversity.dtype == np.float64
    assert grid.tolist() == [1, 2]


def test_more_points_than_memory_are_refused_with_the_estimate():
    axis = np.linspace(0.1, 4, 200_000)
    with pytest.raises(ParameterError, match=r"40000000000 grid points need about .* GiB of memory, .* GiB are free"):
        sweep(task_diversity=axis, context_length=axis)


def test_what_is_no_axis_is_refused_by_name():
    """What is no parameter is refused where `Parameters` are made, and tested there."""
    for changes, error, message in (
        ({"task_diversity": []}, ParameterError, "task_diversity is an empty axis: give at least one value"),
        ({"task_diversity": [[1.0, 2.0]]}, ParameterError, "task_diversity has 2 dimensions"),
        ({"task_diversity": [1.0, 0.0]}, ParameterError, r"task_diversity = 0\.0 must be finite and > 0"),
        ({"ridge": [[1], [2, 3]]}, ParameterTypeError, "ridge must be a number or a rectangular array"),
        ({"task_diversity": None}, ParameterTypeError, "task_diversity is required"),
        ({"ridge": None}, ParameterTypeError, "ridge must be a real number"),
    ):
        with pytest.raises(error, match=message):
            sweep(**{"task_diversity": 1.0, "context_length": 1.0, **changes})
