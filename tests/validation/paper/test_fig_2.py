"""SG Fig. 2: whole, at reduced repeats."""

import numpy as np
import pytest

from validation.paper import fig_2
from validation.paper.figure import quiet


@pytest.mark.slow
def test_verdict_and_comparison(monkeypatch):
    given = {**fig_2.parameters("quick"), "repeats": 4}
    monkeypatch.setattr(fig_2, "parameters", lambda scale: given)
    data = fig_2.FIGURE.simulate("quick", 1, quiet())
    arrays = {"fig-2/data/m.npy": data.messages.values[0], "fig-2/data/v.npy": data.messages.values[1]}
    verdict = fig_2.FIGURE.judge(data, arrays)
    assert verdict.agrees, verdict.rows
    assert len(verdict.rows) == 6
    # a data set of ours is within the spread of ours
    assert max(abs(row[4]) for row in verdict.rows[3:]) < 4
    assert not fig_2.FIGURE.judge(data.assign(exact=data.exact * 1.5), {}).agrees
    assert fig_2.FIGURE.draw(data, arrays).axes
    assert np.all(data.adam.values[:, :, -1] < data.adam.values[:, :, 0])
