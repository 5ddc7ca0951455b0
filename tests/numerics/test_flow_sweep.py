"""Gradient flow as a dataset: the numbers of the three functions it is made of, and of the saddle point it ends in."""

import numpy as np
import pytest

from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.flow_sweep import flow_sweep
from iclglass.numerics.learning_curve import learning_curve
from iclglass.numerics.saddle_point import solve
from iclglass.numerics.stopping_time import best_stopping_time
from iclglass.numerics.storage import load, save

POINT = {"context_length": 2.0, "label_noise": 0.1, "ridge": 0.01}
TAUS = [0.5, 1.5, 4.0]
TIMES = np.geomspace(1e-2, 1e3, 400)


def test_numbers_are_those_of_flow_saddle_point_and_stopping_time(tmp_path):
    found = flow_sweep(task_diversity=TAUS, **POINT)
    save(found, tmp_path / "flow.nc")
    found = load(tmp_path / "flow.nc").transpose("time", ...)
    curve = learning_curve(time=TIMES[:, None], task_diversity=TAUS, **POINT)
    limit = solve(task_diversity=TAUS, **POINT)
    best = best_stopping_time(task_diversity=TAUS, **POINT)
    for name in ("e_icl", "e_train"):
        np.testing.assert_array_equal(found[name], getattr(curve, name))
        np.testing.assert_allclose(found[f"{name}_end"], getattr(limit, name), rtol=1e-9)
    np.testing.assert_array_equal(found.best_time, best.time)
    np.testing.assert_array_equal(found.e_icl_best, best.e_icl)
    at_best = learning_curve(time=best.time, task_diversity=TAUS, **POINT)
    np.testing.assert_array_equal(found.e_train_best, at_best.e_train)
    assert (float(found.ridge), float(found.initial_overlap), found.task_diversity.values.tolist()) == (0.01, 0.0, TAUS)


def test_the_end_is_that_of_the_flow_where_it_is_not_the_saddle_point():
    """Ridgeless below tau = 1 with initial weights; at tau = 1, where it diverges."""
    point = {"task_diversity": [0.5, 1, 2], "context_length": 2.0, "label_noise": 0.1, "ridge": 0.0}
    found, limit = flow_sweep(**point, initial_overlap=1.0), solve(**point)
    late = learning_curve(time=1e9, initial_overlap=1.0, **point)
    np.testing.assert_allclose(found.e_icl_end[[0, 2]], late.e_icl[[0, 2]], rtol=1e-6)
    assert np.isclose(found.e_icl_end, limit.e_icl).tolist() == [False, False, True]
    assert np.isnan(found.e_icl_end[1])


def test_arrays_become_axes_and_bad_ones_are_refused():
    assert set(flow_sweep(time=[1.0], task_diversity=TAUS, context_length=[1, 2]).e_icl.dims) == {
        "time",
        "task_diversity",
        "context_length",
    }
    for changes, words in (
        ({"time": 3.0}, "time must be a list"),
        ({"time": [-1, 1]}, "time = -1"),
        ({"initial_overlap": -1}, "initial_overlap = -1"),
    ):
        with pytest.raises(ParameterError, match=words):
            flow_sweep(**({"task_diversity": TAUS} | POINT | changes))
    for changes, words in (({"time": "long"}, "time"), ({"task_diversity": [[1.0, 2.0]]}, "task_diversity")):
        with pytest.raises(ParameterTypeError, match=words):
            flow_sweep(**({"task_diversity": TAUS} | POINT | changes))
