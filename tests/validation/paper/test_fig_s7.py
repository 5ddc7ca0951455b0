"""SG Fig. S7: zero eigenvalues exactly."""

import numpy as np
import pytest
from scipy.integrate import trapezoid

from iclglass.numerics.spectrum import zero_eigenvalue_fraction
from iclglass.validation.paper import fig_s7
from iclglass.validation.prompts import draw_prompts


@pytest.mark.parametrize("prompts", [7, 20, 60])
def test_both_roads_give_the_same_eigenvalues(prompts):
    data = draw_prompts(dimension=4, context=8, prompts=prompts, rng=np.random.default_rng(1))
    dense = data.features.dense()
    full = np.zeros((25, 25))
    full[:20, :20] = dense.T @ dense / prompts
    np.testing.assert_allclose(fig_s7.eigenvalues(data), np.linalg.eigvalsh(full), rtol=1e-9, atol=1e-13)


def test_zeros_are_counted_and_the_law_is_said(small):
    data = small("fig-S7")
    verdict = fig_s7.judge(data, {})
    assert verdict.found.startswith("6 of 6 counts")
    assert "(law 0.52) at P=1500" in verdict.remarks[0]


def test_published_fractions_are_compared_point_by_point(small):
    data = small("fig-S7")
    sizes, prompts = range(10, 41, 5), range(25, 2001, 25)
    ratio = np.array([[zero_eigenvalue_fraction(dimension=d, prompts=p) for p in prompts] for d in sizes])
    verdict = fig_s7.judge(data, {"fig-S7/data/zero-ratio.npy": ratio})
    assert "3 of 3 equal" in verdict.sentence
    ratio[0, 3] += 1 / 121
    verdict = fig_s7.judge(data, {"fig-S7/data/zero-ratio.npy": ratio})
    assert "2 of 3 equal" in verdict.sentence
    assert any("D=10 P=100 by +1.00" in remark for remark in verdict.remarks)
    assert len(fig_s7.draw(data, {"fig-S7/data/zero-ratio.npy": ratio}).axes) == 4


def test_the_law_that_is_not_judged_says_so_and_every_spectrum_is_named(small):
    data = small("fig-S7")
    (legend,) = fig_s7.draw(data, {"fig-S7/data/P=500.npy": np.geomspace(1e-3, 1, 400)}).legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert "published" in labels
    assert any(label.startswith("Marchenko-Pastur") and "not judged" in label for label in labels)


def test_eigenvalues_are_counted_below_the_cut_and_below_half_of_it(monkeypatch):
    monkeypatch.setattr(fig_s7, "_CUT", 0.2)
    found = fig_s7._counted({"prompts": (60,), "context": 8}, 1, 4, 0)
    rng = np.random.default_rng((1, 0, 4, 60, 0))
    values = fig_s7.eigenvalues(draw_prompts(dimension=4, context=8, prompts=60, norm="N", rng=rng))
    counts = [int(np.sum(values < limit)) for limit in (1e-9, 0.2, 0.1)]
    assert [int(found[name][0]) for name in ("zeros", "below_cut", "below_half_cut")] == counts
    assert counts[1] > counts[2] > counts[0]


def test_published_counts_have_a_spread_of_their_own(small):
    data = small("fig-S7")
    ratio = np.array(
        [[zero_eigenvalue_fraction(dimension=d, prompts=p) for p in range(25, 2001, 25)] for d in range(10, 41, 5)]
    )
    ratio[0, 3] += 1 / 121
    counted = data.copy(deep=True)
    counted["below_cut"].values[0, 1] = 22, 24  # mean 23, standard error 1
    rows = {row[0]: row for row in fig_s7.judge(counted, {"fig-S7/data/zero-ratio.npy": ratio}).rows}
    _, ours, _, error, _ = rows["eigenvalues < 1e-05, D=10, P=100"]
    assert (ours, error) == (23.0, pytest.approx(np.sqrt(1 + 2 / 10)))  # two repeats here, ten there


def test_the_law_drawn_has_the_mass_of_the_bulk_and_its_mean(small):
    """Without the D eigenvalues of the last row; P - D prompts are left for D^2 spins."""
    data = small("fig-S7")
    figure = fig_s7.draw(data, {})
    moments = fig_s7._moments(data)
    laws = {}
    for panel in figure.axes:
        for line in panel.get_lines():
            if str(line.get_label()).startswith("Marchenko"):
                laws[panel.get_title()] = (10 ** line.get_xdata(), line.get_ydata() / np.log(10))
    assert len(laws) == 3
    for prompts in (100, 500, 1500):
        value, density = laws[f"$D = 20$, $P = {prompts}$"]
        bulk = min(prompts - 20, 400)
        mass = trapezoid(density / value, value)
        mean = trapezoid(density, value) / mass
        # trapezia on 600 points, between edges where the density begins as a square root
        assert mass == pytest.approx(bulk / (bulk + 20), rel=0.02)
        assert mean == pytest.approx(moments.block / 20 * (prompts - 20) / prompts * 400 / bulk, rel=0.02)


def test_norms_fluctuate_as_drawn(small):
    data = small("fig-S7")
    context = int(data.attrs["context"])
    drawn = draw_prompts(dimension=20, context=context, prompts=40_000, norm="N", rng=np.random.default_rng(3))
    squares = np.sum(drawn.context[:, :-1] ** 2, axis=1) * np.sum(drawn.query**2, axis=1)
    groups = squares.reshape(40, 1000)
    found = groups.var(axis=1, ddof=1) / groups.mean(axis=1) ** 2
    error = found.std(ddof=1) / np.sqrt(40)
    assert abs(found.mean() - fig_s7._norm_variance(data)) < 4 * error  # false alarm 3e-4; a bias of 1/1000 beside
