"""Fig. S2: divergences by hand and by SciPy, mean squares against the derived moments."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from iclglass.validation.paper import fig_s2
from iclglass.validation.paper.figure import quiet

ROUNDING = 1e-12
SMALL = {"dimension": 5, "prompts": 200, "contexts": [5, 6, 20], "repeats": 60}


@pytest.fixture(scope="module")
def small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(fig_s2.FIGURE), "checked_parameters", lambda self, scale: SMALL)
        return fig_s2.FIGURE.simulate("quick", 1, quiet())


def test_divergence_is_scipys():
    rng = np.random.default_rng(1)
    p, q = rng.integers(0, 50, (2, 7)).astype(float)
    assert fig_s2.divergence(p, q) == pytest.approx(stats.entropy(p + 1, q + 1, base=2), rel=ROUNDING)


def test_mean_squares_agree_and_wrong_ones_do_not(small):
    verdict = fig_s2.FIGURE.judge(small, {})
    # So few data sets see no bias of 25 %; what they can see agrees.
    assert replace(verdict, largest_unseen_bias=1).agrees
    assert len(verdict.rows) == 5 + 15  # all N of a type, and N by N
    assert fig_s2.FIGURE.judge(small.assign(squares=1.2 * small["squares"]), {}).agrees is False


def test_what_is_judged_is_drawn(small):
    squares, scores, *_ = fig_s2.FIGURE.draw(small, {}).axes
    rows = fig_s2.FIGURE.judge(small, {}).rows[small.sizes["type"] :]  # after those of all N
    drawn = [line.get_ydata() for line in scores.lines if len(line.get_xdata()) == 3]
    np.testing.assert_array_equal(np.concatenate(drawn), [row[4] for row in rows])
    assert [panel.get_title()[:6] for panel in (squares, scores)] == ["judged", "judged"]


def test_divergence_grows_from_zero_at_the_reference(small):
    mean = small["divergence"].mean("repeat")
    assert np.all(mean.sel(context=5) == 0)
    assert mean.sel(context=20, type="J1") > mean.sel(context=6, type="J1") > 0


def test_published_data_are_compared(small):
    mean, std = small["divergence"].mean("repeat"), small["divergence"].std("repeat")
    fake = {}
    for name in fig_s2.TYPES:
        fake[f"fig-S2/data/{name}_mean.npy"] = mean.sel(type=name).values
        fake[f"fig-S2/data/{name}_std.npy"] = std.sel(type=name).values
    remarks = fig_s2.FIGURE.judge(small, fake).remarks
    assert sum("+0.0 to +0.0 standard errors from ours" in remark for remark in remarks) == 5
    assert fig_s2.FIGURE.draw(small, fake)


@pytest.mark.slow
def test_quick_scale():
    assert fig_s2.FIGURE.judge(fig_s2.FIGURE.simulate("quick", 0, quiet()), {}).agrees
