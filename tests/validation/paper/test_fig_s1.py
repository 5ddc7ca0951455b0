"""SG Fig. S1: double descent, against theory and against published numbers."""

import numpy as np
import pytest
import xarray as xr

from iclglass.validation.paper import fig_s1
from iclglass.validation.paper.simulating import in_turn

SPREAD = 0.07
"""Relative, from data set to data set at D = 20: 0.05 to 0.10 in 50 repeats of the paper's parameters."""
FOLDER = "fig-S1/data-a"


def quick_data(seed=1):
    """As many data sets as at quick scale, about the theory at P/D^2 >= 1.5 and about 1 below."""
    given = fig_s1.parameters("quick")
    tau = np.array(given["task_diversity"])
    shape = (len(fig_s1.LAYERS), tau.size, given["repeats"])
    data = xr.Dataset(
        {"residual": (("layer", "task_diversity", "repeat"), np.full(shape, 0.01))},
        coords={"layer": list(fig_s1.LAYERS), "task_diversity": tau},
        attrs={name: given[name] for name in ("dimension", "context", "norm")},
    )
    ended = tau >= fig_s1._TRAINED_FROM
    middle = np.where(ended, fig_s1._theory(data, np.where(ended, tau, 2.0)), 1.0)
    noise = 1 + SPREAD * np.random.default_rng(seed).normal(size=shape)
    return data.assign(test_error=(data.residual.dims, middle[:, None] * noise))


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_a_tenth_is_seen_at_quick_scale(monkeypatch, factor):
    data, right = quick_data(), fig_s1._theory
    verdict = fig_s1.judge(data, {})
    assert verdict.agrees
    assert "would be seen" in verdict.sentence
    monkeypatch.setattr(fig_s1, "_theory", lambda *given: factor * right(*given))
    wrong = fig_s1.judge(data, {})
    assert wrong.agrees is False
    np.testing.assert_allclose(wrong.rows[0][1], verdict.rows[0][1] / factor)


def test_one_point_off_is_seen_though_the_others_make_up_for_it():
    data = quick_data()
    values = data.test_error.values.copy()
    values[0, -1] *= 1.6
    values[1, -1] *= 0.4
    verdict = fig_s1.judge(data.assign(test_error=(data.residual.dims, values)), {})
    assert abs(verdict.rows[0][4]) < 2
    assert verdict.agrees is False


def test_theory_has_the_parameters_of_the_data(monkeypatch):
    """The norm drops out of it without ridge: it cannot show in numbers."""
    assert fig_s1.parameters("full")["norm"] == "N+1"
    given = {}
    right = fig_s1.solve_finite
    monkeypatch.setattr(fig_s1, "solve_finite", lambda **values: given.update(values) or right(**values))
    data = quick_data()
    fig_s1._theory(data, np.array([2.0]))
    assert {name: given[name] for name in ("dimension", "context_length", "ridge", "norm")} == {
        "dimension": 20,
        "context_length": 5.0,
        "ridge": 0.0,
        "norm": "N+1",
    }


def test_prompts_and_population_have_the_papers_norm(monkeypatch):
    seen = []

    def spy(name):
        right = getattr(fig_s1, name)
        monkeypatch.setattr(
            fig_s1, name, lambda *a, **b: seen.append((name, b["norm"], b["context"])) or right(*a, **b)
        )

    spy("gaussian_moments")
    spy("draw_prompts")
    given = {**fig_s1.parameters("quick"), "dimension": 4, "context": 10, "steps": 1, "repeats": 2}
    data = fig_s1.simulate({**given, "task_diversity": (2.0,)}, 1, in_turn)
    assert set(seen) == {("gaussian_moments", "N+1", 10), ("draw_prompts", "N+1", 10)}
    assert data.attrs["norm"] == "N+1"


def test_published_standard_errors_are_of_fifty_repeats():
    data = quick_data()
    arrays = {f"{FOLDER}/alphas.npy": np.array(fig_s1._TAUS)}
    for layer in fig_s1.LAYERS:
        arrays[f"{FOLDER}/{layer}_test_mean.npy"] = np.ones(24)
        arrays[f"{FOLDER}/{layer}_test_std.npy"] = np.linspace(0.1, 0.3, 24)
    rows = fig_s1.judge(data, arrays).rows
    assert len(rows) == 1 + 4 + 12  # all together, where training has ended, and the published means
    assert [row[2] for row in rows[5:]] == [1.0] * 12
    assert len(fig_s1.draw(data, arrays).axes) == 2
    row = rows[-1]
    assert row[0] == "separate, P/D^2=2: published"
    ours = data.test_error.values[1, -1].std(ddof=1) / np.sqrt(data.sizes["repeat"])
    np.testing.assert_allclose(row[3], np.sqrt(ours**2 + 0.3**2 / 50))
    np.testing.assert_allclose(fig_s1._published(arrays, "merged")[1][0], 0.1 / np.sqrt(50))
