"""Fig. S2: divergences by hand and by SciPy, mean squares against the derived moments."""

import numpy as np
import pytest
from scipy import stats

from iclglass.validation.paper import fig_s2

ROUNDING = 1e-12


def test_divergence_is_scipys():
    rng = np.random.default_rng(1)
    p, q = rng.integers(0, 50, (2, 7)).astype(float)
    assert fig_s2.divergence(p, q) == pytest.approx(stats.entropy(p + 1, q + 1, base=2), rel=ROUNDING)


def test_what_is_judged_is_drawn(small):
    data = small("fig-S2")
    squares, scores, *_ = fig_s2.draw(data, {}).axes
    rows = fig_s2.judge(data, {}).rows[data.sizes["type"] :]  # after those of all N
    drawn = [line.get_ydata() for line in scores.lines if len(line.get_xdata()) == 3]
    np.testing.assert_array_equal(np.concatenate(drawn), [row[4] for row in rows])
    assert [panel.get_title()[:6] for panel in (squares, scores)] == ["judged", "judged"]


def test_divergence_grows_from_zero_at_the_reference(small):
    data = small("fig-S2")
    mean = data["divergence"].mean("repeat")
    assert np.all(mean.sel(context=5) == 0)
    assert mean.sel(context=20, type="J1") > mean.sel(context=6, type="J1") > 0


def test_published_data_are_compared(small):
    data = small("fig-S2")
    mean, std = data["divergence"].mean("repeat"), data["divergence"].std("repeat")
    fake = {}
    for name in fig_s2.TYPES:
        fake[f"fig-S2/data/{name}_mean.npy"] = mean.sel(type=name).values
        fake[f"fig-S2/data/{name}_std.npy"] = std.sel(type=name).values
    remarks = fig_s2.judge(data, fake).remarks
    assert sum("+0.0 to +0.0 standard errors from ours" in remark for remark in remarks) == 5
    assert fig_s2.draw(data, fake)
