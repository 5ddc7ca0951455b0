"""From axes to points: order, integers, settings; whatever is wrong is refused before any work."""

import json
import math

import numpy as np
import pytest

from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.validation.sweeping.grid import ROAD_NAMES
from iclglass.validation.sweeping.roads import ROADS
from tests.validation.sweeping.workloads import grid_of

BASE = {"task_diversity": 1.0, "context_length": 2.0, "dimension": 6}


def test_the_names_of_the_roads_are_those_that_exist():
    assert set(ROAD_NAMES) == {*ROADS, "theory"}


def test_points_are_in_c_order_of_the_axes_in_the_order_of_the_parameters():
    grid = grid_of(
        task_diversity=[1.0, 2.0], context_length=0.5, ridge=[0.1, 0.2, 0.3], dimension=[6, 8], label_noise=0.3
    )
    assert dict(grid.axes) == {"task_diversity": 2, "ridge": 3, "dimension": 2}
    found = [(point.task_diversity, point.ridge, point.dimension) for point in grid.points]
    assert found == [(t, r, d) for t in (1.0, 2.0) for r in (0.1, 0.2, 0.3) for d in (6, 8)]
    assert {point.label_noise for point in grid.points} == {0.3}
    assert {point.context_length for point in grid.points} == {0.5}


def test_integers_are_the_rounded_ones():
    point = grid_of(task_diversity=1.3, context_length=1.6, distinct_tasks=2.2, dimension=7).points[0]
    assert (point.prompts, point.context, point.task_count, point.test_context) == (64, 11, 15, 11)
    assert grid_of(**BASE, test_context_length=3.0).points[0].test_context == 18
    assert grid_of(**BASE).points[0].task_count == 0


def test_defaults_of_the_roads_are_filled_in_so_that_they_are_part_of_the_checkpoint():
    assert grid_of(**BASE, road="message-passing").settings["method"] == "gamp"
    assert grid_of(**BASE, road="training").settings["steps"] == 100_000
    sampling = grid_of(**BASE, road="sampling", temperature=0.1).settings
    assert (sampling["method"], sampling["draws"]) == ("exact", 200)
    theory = grid_of(**BASE, road="theory", samples=7, seed=3).settings
    assert (theory["samples"], theory["seed"]) == (0, 0)  # nothing is drawn: results do not follow from them


def test_parameters_of_the_checkpoint_are_exact_json():
    grid = grid_of(**BASE | {"task_diversity": [0.1, 1 / 3]}, distinct_tasks=math.inf)
    text = json.dumps(grid.parameters, allow_nan=False, sort_keys=True)
    back = json.loads(text)
    assert back["task_diversity"] == [0.1, 1 / 3]
    assert back["distinct_tasks"] == ["inf"]
    assert back["axes"] == ["task_diversity"]
    assert json.dumps(back, sort_keys=True) == text


@pytest.mark.parametrize(
    "change",
    [
        {"task_diversity": 1.01},
        {"ridge": 0.2},
        {"samples": 3},
        {"seed": 1},
        {"theory": True},
        {"norm": "N+1"},
        {"road": "training"},
        {"dimension": 8},
        {"task_diversity": [1.0]},  # an axis of one
    ],
)
def test_whatever_results_follow_from_is_in_the_parameters(change):
    assert grid_of(**BASE | change).parameters != grid_of(**BASE).parameters


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"road": "guessing"}, r"road.*guessing"),
        ({"dimension": None}, "give it a dimension D"),
        ({"dimension": 1}, "dimension"),
        ({"dimension": 6.5}, "dimension"),
        ({"task_diversity": 0.0}, "task_diversity"),
        ({"task_diversity": 0.001}, r"P = round\(tau D\^2\) = 0"),
        ({"context_length": math.nan}, "context_length"),
        ({"context_length": 0.01}, r"N = round\(alpha D\) = 0"),
        ({"test_context_length": 0.01}, r"test_context_length = 0.01 gives round\(alpha_test D\) = 0"),
        ({"distinct_tasks": 100.0}, "more than its P"),
        ({"distinct_tasks": 0.01}, r"K = round\(kappa D\) = 0"),
        ({"ridge": -1.0}, "ridge"),
        ({"temperature": -1.0}, "temperature"),
        ({"label_noise": -0.1}, "label_noise"),
        ({"samples": 0}, "samples"),
        ({"seed": -1}, "seed"),
        ({"norm": "D"}, "norm"),
        ({"task_diversity": []}, "empty axis"),
        ({"task_diversity": [[1.0]]}, "dimensions"),
        ({"road": "sampling"}, r"temperature = 0 must be > 0"),
        ({"road": "sampling", "temperature": [0.1, 0.0]}, r"temperature = 0 must be > 0"),
        ({"draws": 5}, "takes no draws; it has no options"),
        ({"method": "gamp"}, "has one method"),
        ({"road": "message-passing", "method": "guess"}, "guess"),
        ({"road": "message-passing", "draws": 5}, "takes no draws; its options are steps, tolerance"),
        ({"road": "message-passing", "tolerance": 1.0}, "tolerance must be finite and > 0 and < 1"),
        ({"label_noise": 1e308}, r"label_noise = 1e\+308 must be below"),
        ({"road": "sampling", "temperature": [0.1, 1e300]}, r"temperature = 1e\+300 must be below"),
        ({"dimension": 150, "task_diversity": 2.0}, r"dimension = 150: exact linear algebra takes a matrix of 4\.1 GB"),
        ({"dimension": 8.5}, r"dimension = 8\.5 must be a whole number"),
        ({"road": "training", "method": "adam"}, "has one method"),
        ({"road": "training", "steps": 0}, "steps"),
        ({"road": "training", "learning_rate": 0.0}, "learning_rate"),
        ({"road": "training", "tolerance": -1.0}, "tolerance"),
        ({"road": "sampling", "temperature": 0.1, "draws": 0}, "draws"),
        ({"road": "theory", "method": "gamp"}, "takes no method"),
        ({"road": "theory", "draws": 1, "steps": 2}, "takes no draws or steps"),
    ],
)
def test_bad_values_are_refused_with_a_name(change, message):
    with pytest.raises(ParameterError, match=message):
        grid_of(**BASE | change)


@pytest.mark.parametrize("change", [{"samples": "8"}, {"seed": True}, {"task_diversity": "one"}, {"road": 3}])
def test_wrong_types_are_refused(change):
    with pytest.raises((ParameterTypeError, ParameterError)):
        grid_of(**BASE | change)


def test_too_many_points_are_refused_before_they_are_made():
    with pytest.raises(ParameterError, match="take several sweeps"):
        grid_of(**BASE | {"task_diversity": np.linspace(1, 2, 10_000), "ridge": np.linspace(0, 1, 10_000)})
