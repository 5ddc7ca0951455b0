"""SG Fig. 1: kinds of couplings, derived moments."""

import numpy as np
import pytest

from validation.paper import fig_1
from validation.paper.figure import quiet


@pytest.fixture
def small(monkeypatch):
    given = {"dimension": 4, "context": 12, "prompts": 30, "norm": "N", "repeats": 300}
    monkeypatch.setattr(fig_1, "parameters", lambda scale: dict(given))
    return fig_1.FIGURE.simulate("quick", 1, quiet())


def test_kinds_cover_every_field_and_pair_once():
    masks = list(fig_1.kinds(4).values())
    assert np.array_equal(sum(mask.astype(int) for mask in masks[:3]), np.ones(20))
    pairs = sum(mask.astype(int) for mask in masks[3:])
    assert np.array_equal(pairs, np.triu(np.ones((20, 20)), 1))


@pytest.mark.slow
def test_derived_moments_agree_and_a_wrong_one_does_not(small):
    verdict = fig_1.FIGURE.judge(small, {})
    assert verdict.agrees, verdict.sentence
    assert len(verdict.rows) == 18
    wrong = small.copy(deep=True)
    wrong["powers"].values[5, 1] *= 3  # the variance of one kind
    assert not fig_1.FIGURE.judge(wrong, {}).agrees
    assert len(fig_1.FIGURE.draw(small, {}).axes) == 9
