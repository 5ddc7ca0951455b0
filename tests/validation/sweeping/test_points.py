"""Payloads: they travel unchanged, and the random numbers follow from what a point is, and from nothing else."""

import dataclasses
import multiprocessing.reduction

import numpy as np
import pytest

from iclglass.validation.sweeping.points import random_generator
from tests.validation.sweeping.workloads import grid_of


def one(**given):
    settings = {"task_diversity": 1.0, "context_length": 2.0, "dimension": 6, "seed": 5}
    return grid_of(**settings | given).points[0]


def drawn(point, sample=0):
    return random_generator(point, sample).random(4).tolist()


def test_a_payload_is_plain_values():
    """Anything that carries it carries it exactly: no arrays, no functions."""
    point = one(temperature=0.1, distinct_tasks=2.0)
    values = dataclasses.asdict(point).values()
    assert {type(value) for value in values} <= {str, float, int, bool, type(None)}
    assert len(multiprocessing.reduction.ForkingPickler.dumps(point)) < 1000


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 6},
        {"dimension": 7},
        {"task_diversity": 1.1},
        {"context_length": 2.5},
        {"distinct_tasks": 2.0},
        {"label_noise": 0.1},
        {"ridge": 0.2},
        {"temperature": 0.1},
        {"norm": "N+1"},
        {"test_context_length": 4.0},
    ],
)
def test_another_law_has_other_random_numbers(change):
    assert drawn(one(**change)) != drawn(one())


def test_data_sets_of_a_point_are_independent():
    draws = {tuple(drawn(one(samples=20), sample)) for sample in range(20)}
    assert len(draws) == 20


@pytest.mark.parametrize(
    "change",
    [
        {"road": "message-passing"},
        {"road": "training"},
        {"road": "message-passing", "method": "exact", "tolerance": 1e-3},
        {"samples": 9},
        {"theory": True},
        {"task_diversity": np.array([3.0, 1.0])},
    ],
)
def test_road_number_of_data_sets_and_place_in_the_grid_do_not_matter(change):
    points = grid_of(**{"task_diversity": 1.0, "context_length": 2.0, "dimension": 6, "seed": 5} | change).points
    assert drawn(points[-1]) == drawn(one())


def test_nearby_parameters_are_told_apart_and_equal_ones_are_not():
    assert drawn(one(ridge=0.1)) != drawn(one(ridge=np.nextafter(0.1, 1)))
    assert drawn(one(ridge=0.5)) == drawn(one(ridge=np.float32(0.5)))


def test_random_numbers_are_the_same_on_every_machine():
    """SHA-256, SeedSequence and the bits of PCG64 are specified: what they give here they give everywhere."""
    assert random_generator(one(), 3).bit_generator.random_raw(2).tolist() == [88404432297747812, 13858068714808592851]
