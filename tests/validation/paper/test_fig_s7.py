"""SG Fig. S7: zero eigenvalues exactly."""

import numpy as np
import pytest

from numerics.spectrum import zero_eigenvalue_fraction
from validation.paper import fig_s7
from validation.paper.figure import quiet
from validation.prompts import draw_prompts


@pytest.fixture
def small(monkeypatch):
    given = {"dimensions": (10,), "prompts": (25, 100, 150), "context": 20, "repeats": 2, "spectrum_repeats": 3}
    monkeypatch.setattr(fig_s7, "parameters", lambda scale: given)
    return fig_s7.FIGURE.simulate("quick", 1, quiet())


@pytest.mark.parametrize("prompts", [7, 20, 60])
def test_both_roads_give_the_same_eigenvalues(prompts):
    data = draw_prompts(dimension=4, context=8, prompts=prompts, rng=np.random.default_rng(1))
    dense = data.features.dense()
    full = np.zeros((25, 25))
    full[:20, :20] = dense.T @ dense / prompts
    np.testing.assert_allclose(fig_s7.eigenvalues(data), np.linalg.eigvalsh(full), rtol=1e-9, atol=1e-13)


def test_zeros_are_exact_and_the_trace_agrees(small):
    verdict = fig_s7.FIGURE.judge(small, {})
    assert verdict.agrees
    assert verdict.sentence.startswith("6 of 6 counts")
    assert "(law 0.52) at P=1500" in verdict.remarks[0]
    wrong = small.assign(zeros=small.zeros + 1)
    assert not fig_s7.FIGURE.judge(wrong, {}).agrees


def test_published_fractions_are_compared_point_by_point(small):
    sizes, prompts = range(10, 41, 5), range(25, 2001, 25)
    ratio = np.array([[zero_eigenvalue_fraction(dimension=d, prompts=p) for p in prompts] for d in sizes])
    verdict = fig_s7.FIGURE.judge(small, {"fig-S7/data/zero-ratio.npy": ratio})
    assert "3 of 3 equal" in verdict.sentence
    ratio[0, 3] += 1 / 121
    verdict = fig_s7.FIGURE.judge(small, {"fig-S7/data/zero-ratio.npy": ratio})
    assert "2 of 3 equal" in verdict.sentence
    assert any("D=10 P=100 by +1.00" in remark for remark in verdict.remarks)
    assert len(fig_s7.FIGURE.draw(small, {"fig-S7/data/zero-ratio.npy": ratio}).axes) == 4


def test_the_law_that_is_not_judged_says_so_and_every_spectrum_is_named(small):
    (legend,) = fig_s7.FIGURE.draw(small, {"fig-S7/data/P=500.npy": np.geomspace(1e-3, 1, 400)}).legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert "published" in labels
    assert any(label.startswith("Marchenko-Pastur") and "not judged" in label for label in labels)
