"""Update rules against a scalar version written out, and the order of batches."""

import math

import numpy as np
import pytest

from iclglass.validation.prompts import draw_prompts
from iclglass.validation.training.layer import energy_and_slope, initial_parameters
from iclglass.validation.training.optimisers import BatchOrder, adam, descent, initial_state

ROUNDING = 1e-14


def test_adam_is_the_published_algorithm():
    """Kingma and Ba, algorithm 1, one number at a time; the slope of (x - 3)^4."""
    state, rate = initial_state((np.array([1.0]),)), 0.05
    x, first, second = 1.0, 0.0, 0.0
    for t in range(1, 30):
        slope = 4 * (x - 3) ** 3
        first = 0.9 * first + 0.1 * slope
        second = 0.999 * second + 0.001 * slope**2
        x -= rate * (first / (1 - 0.9**t)) / (math.sqrt(second / (1 - 0.999**t)) + 1e-8)
        state = adam(state, (4 * (state.parameters[0] - 3) ** 3,), rate)
        assert state.step == t
        assert state.parameters[0][0] == pytest.approx(x, rel=ROUNDING)
    assert 2.0 < x < 3.0  # towards the minimum


def test_a_step_leaves_the_old_state_alone():
    state = initial_state((np.ones(3),))
    for rule in (descent, adam):
        new = rule(state, (np.ones(3),), 0.1)
        assert state.step == 0
        assert state.parameters[0].tolist() == [1.0, 1.0, 1.0]
        assert state.second[0].tolist() == [0.0, 0.0, 0.0]
        assert np.all(new.parameters[0] < 1)


def test_an_epoch_visits_every_prompt_once():
    order = BatchOrder(prompts=12, batch=3, seed=5)
    epochs = [[order.rows(4 * epoch + k) for k in range(4)] for epoch in range(3)]
    for epoch in epochs:
        assert sorted(np.concatenate(epoch)) == list(range(12))
    assert not np.array_equal(epochs[0][0], epochs[1][0])


def test_the_order_does_not_depend_on_where_it_is_entered():
    through, entered = (BatchOrder(prompts=11, batch=4, seed=5) for _ in range(2))
    rows = [through.rows(step) for step in range(20)]
    np.testing.assert_array_equal(entered.rows(13), rows[13])
    assert all(part.size == 4 for part in rows)
    assert not np.array_equal(BatchOrder(prompts=11, batch=4, seed=6).rows(0), rows[0])


@pytest.mark.parametrize("parametrisation", ["merged", "separate"])
def test_slopes_of_an_epoch_average_to_the_slope_on_all_prompts(parametrisation):
    data = draw_prompts(dimension=4, context=6, prompts=24, rng=np.random.default_rng(1))
    start = initial_parameters(parametrisation, dimension=4, rng=np.random.default_rng(2))
    order = BatchOrder(prompts=24, batch=6, seed=3)
    features = type(data.features)
    parts = []
    for step in range(4):
        rows = order.rows(step)
        batch = features(data.context[rows], data.query[rows])
        parts.append(energy_and_slope(start, batch, data.label[rows], 0.2)[1])
    _, whole = energy_and_slope(start, data.features, data.label, 0.2)
    for k, matrix in enumerate(whole):
        np.testing.assert_allclose(np.mean([part[k] for part in parts], axis=0), matrix, rtol=0, atol=1e-14)
