"""SG Fig. S1: double descent, against theory and against published numbers."""

import numpy as np
import pytest

from validation.paper import fig_s1
from validation.paper.figure import quiet


@pytest.fixture
def small(monkeypatch):
    given = {
        "dimension": 6,
        "context": 30,
        "norm": "N+1",
        "learning_rate": 0.02,
        "steps": 1500,
        "repeats": 6,
        "task_diversity": (0.5, 2.0),
    }
    monkeypatch.setattr(fig_s1, "parameters", lambda scale: given)
    return fig_s1.FIGURE.simulate("quick", 1, quiet())


@pytest.mark.slow
def test_verdict(small):
    verdict = fig_s1.FIGURE.judge(small, {})
    assert verdict.agrees, verdict.rows
    assert len(verdict.rows) == 2
    assert not fig_s1.FIGURE.judge(small.assign(test_error=small.test_error + 5), {}).agrees


def test_published_means_are_compared(small):
    folder = "fig-S1/data-a"
    arrays = {f"{folder}/alphas.npy": np.array(fig_s1._TAUS)}
    for layer in fig_s1.LAYERS:
        arrays[f"{folder}/{layer}_test_mean.npy"] = np.full(24, 1.0)
        arrays[f"{folder}/{layer}_test_std.npy"] = np.full(24, 0.1)
    verdict = fig_s1.FIGURE.judge(small, arrays)
    assert len(verdict.rows) == 6
    assert verdict.rows[2][2] == 1.0
    assert len(fig_s1.FIGURE.draw(small, arrays).axes) == 2
