"""SG Fig. 2: whole, at reduced repeats."""

import numpy as np
import pytest
import xarray as xr

from iclglass.validation.paper import fig_2
from iclglass.validation.paper.simulating import in_turn

SHARED, OWN = {10: 0.055, 20: 0.026}, {10: 0.06, 20: 0.035}
"""Relative scatter of the losses of the flow from data set to data set: at all times alike, and while it falls."""


@pytest.fixture(scope="module")
def data():
    """As many data sets as at quick scale, about the theories."""
    rng = np.random.default_rng(1)
    repeats, time = fig_2.parameters("quick")["repeats"], np.array(fig_2._TIMES)
    curve = fig_2._flow_theory(1000, time)

    def flow(dimension):
        shared, own = rng.normal(size=(2, repeats, 1))
        falling = 1 - curve[-1] / curve
        return curve * (
            fig_2._least_loss(dimension) / curve[-1] * (1 + SHARED[dimension] * shared) + OWN[dimension] * own * falling
        )

    small, large = flow(10), flow(20)
    epochs = 1 + np.arange(301)
    descent = np.broadcast_to(np.exp(-0.01 * epochs), (2, repeats, 301)) * (1 + 0.1 * rng.normal(size=(2, repeats, 1)))
    theory = fig_2._theory(5000, 0.01)
    exact = np.array([theory.m, theory.q])[:, None] * (1 + 0.01 * rng.normal(size=(2, repeats)))
    return xr.Dataset(
        {
            "flow": (("prompts", "repeat", "time"), np.array([small, small])),
            "larger_flow": (("repeat", "time"), large),
            "ground": ("repeat", small[:, -1]),
            "descent": (("prompts", "repeat", "epoch"), descent),
            "adam": (("prompts", "repeat", "epoch"), descent),
            "exact": (("overlap", "repeat"), exact),
            "statistics": (("statistic", "repeat"), 0.5 + 0.01 * rng.normal(size=(3, repeats))),
        },
        coords={"time": time},
        attrs={"learning_rate": 0.01},
    )


def test_the_right_theories_agree(data):
    verdict = fig_2.judge(data, {})
    assert verdict.agrees, verdict.sentence
    assert verdict.sentence.count("would be seen") == 4
    # what all times share is taken off
    off, chosen = verdict.rows[0], list(fig_2._POOLED_TIMES)
    values = [
        (one[:, chosen] / fig_2._flow_theory(1000, data.time.values[chosen])).mean(axis=1)
        for one in (data.larger_flow.values, data.flow.values[1])
    ]
    errors = [one.std(ddof=1) / np.sqrt(one.size) for one in values]
    assert off[3] < 0.6 * np.hypot(2 * errors[0], errors[1])


def test_the_pooled_flow_is_extrapolated_linearly_in_the_inverse_dimension(data):
    """A deviation a/D of the transient from its theory is taken off; one that does not depend on D stays."""
    falling = 1 - fig_2._flow_theory(1000, np.inf) / fig_2._flow_theory(1000, data.time.values)
    before = fig_2._flow_pooled(data, 1).row[1]
    tenth, half = (
        data.assign(flow=data.flow * (1 + small * falling), larger_flow=data.larger_flow * (1 + large * falling))
        for small, large in ((1.0, 0.5), (1.0, 1.0))
    )
    middle = falling[list(fig_2._POOLED_TIMES)].mean()
    # the values multiplied are within their scatter of the theory
    assert fig_2._flow_pooled(tenth, 1).row[1] == pytest.approx(before, abs=0.03)
    assert fig_2._flow_pooled(half, 1).row[1] == pytest.approx(before + middle, abs=0.03)


@pytest.mark.parametrize(("factor", "pace"), [(0.9, 1.0), (1.1, 1.0), (1.0, 1.15), (1.0, 1 / 1.15)])
def test_a_flow_off_by_a_tenth_or_in_another_time_is_seen_at_quick_scale(data, monkeypatch, factor, pace):
    right = fig_2._flow_theory
    monkeypatch.setattr(fig_2, "_flow_theory", lambda prompts, time: factor * right(prompts, pace * np.asarray(time)))
    assert fig_2.judge(data, {}).agrees is False


@pytest.mark.parametrize("factor", [0.9, 1.1])
@pytest.mark.parametrize("name", ["m", "q", "loss"])
def test_ground_states_off_by_a_tenth_are_seen_at_quick_scale(data, name, factor):
    if name == "loss":
        wrong = data.assign(ground=data.ground * factor, flow=data.flow * factor, larger_flow=data.larger_flow * factor)
    else:
        wrong = data.assign(exact=data.exact * np.where(np.array(["m", "q"]) == name, factor, 1.0)[:, None])
    assert fig_2.judge(wrong, {}).agrees is False


def test_an_epoch_of_descent_is_a_hundredth_of_a_step_over_the_dimension(data):
    np.testing.assert_allclose(fig_2._time(data, np.array([100, 300])), [0.1, 0.3])


def test_the_larger_flow_has_the_same_ratios():
    """P/D^2 = 10 and N/D = 10 of both; the finite-size loss comes down to the flow's as D grows."""
    ends = [fig_2._least_loss(dimension) for dimension in (10, 20, 200)]
    assert ends[0] > ends[1] > ends[2]
    np.testing.assert_allclose(ends[2], fig_2._flow_theory(1000, np.inf), rtol=3e-3)
    assert fig_2._least_loss(10) == fig_2._theory(1000, 0.0).e_train


def test_one_published_data_set_scatters_as_one_of_ours_and_our_mean(data):
    matrix = np.full((11, 11), 0.5)
    arrays = {"fig-2/data/m.npy": matrix, "fig-2/data/v.npy": matrix, "fig-2/data/loss-1.npy": np.full(300, 0.1)}
    found = {row[0]: row for row in fig_2.judge(data, arrays).rows}
    factor = np.sqrt(1 + 1 / data.sizes["repeat"])
    for values, name in zip(data.statistics.values, fig_2._STATISTICS, strict=True):
        np.testing.assert_allclose(found[f"{name}: published"][3], values.std(ddof=1) * factor)
    ours = np.log10(data.adam.values[0, :, -2]).std(ddof=1)
    np.testing.assert_allclose(found["log10 of Adam's loss at the end, P=10: published"][3], ours * factor)


@pytest.mark.slow
def test_verdict_and_comparison():
    given = {**fig_2.parameters("quick"), "repeats": 8}
    data = fig_2.simulate(given, 1, in_turn)
    means, variances = data.messages.isel(repeat=0).values
    arrays = {"fig-2/data/m.npy": means, "fig-2/data/v.npy": variances}
    for row in (0, 1):
        arrays[f"fig-2/data/loss-{row + 1}.npy"] = data.adam.values[row, 0, :-1]
    verdict = fig_2.judge(data, arrays)
    assert verdict.agrees, verdict.rows
    assert len(verdict.rows) == 17
    # a data set of ours is within the spread of ours
    assert max(abs(row[4]) for row in verdict.rows if row[0].endswith("published")) < 4
    assert sum("descent" in row[0] for row in verdict.rows) == 4
    # a flow of another time
    assert not fig_2.judge(
        data.assign(flow=data.flow.roll(time=9), larger_flow=data.larger_flow.roll(time=9)), {}
    ).agrees
    assert fig_2.judge(data.assign(exact=data.exact * 1.5), {}).agrees is False
    assert fig_2.draw(data, arrays).axes
    assert np.all(data.adam.values[:, :, -1] < data.adam.values[:, :, 0])
