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
    means, variances = data.messages.isel(repeat=0).values
    arrays = {"fig-2/data/m.npy": means, "fig-2/data/v.npy": variances}
    for row in (0, 1):
        arrays[f"fig-2/data/loss-{row + 1}.npy"] = data.adam.values[row, 0, :-1]
    verdict = fig_2.FIGURE.judge(data, arrays)
    assert verdict.agrees, verdict.rows
    assert len(verdict.rows) == 16
    # a data set of ours is within the spread of ours
    assert max(abs(row[4]) for row in verdict.rows if row[0].endswith("published")) < 4
    assert sum("descent" in row[0] for row in verdict.rows) == 4
    # a flow of another time
    assert not fig_2.FIGURE.judge(data.assign(flow=data.flow.roll(time=9)), {}).agrees
    assert not fig_2.FIGURE.judge(data.assign(exact=data.exact * 1.5), {}).agrees
    assert fig_2.FIGURE.draw(data, arrays).axes
    assert np.all(data.adam.values[:, :, -1] < data.adam.values[:, :, 0])
