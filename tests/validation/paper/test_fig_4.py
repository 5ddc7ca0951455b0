"""SG Fig. 4: the map, the losses, published losses."""

import numpy as np
import pytest

from validation.paper import fig_4
from validation.paper.figure import quiet


@pytest.mark.slow
def test_verdict(monkeypatch):
    given = {
        **fig_4.parameters("quick"),
        "map_context": (20, 60),
        "map_repeats": 4,
        "map_prompts": (200, 800),
        "context": (30,),
        "repeats": 3,
        "adam_repeats": 2,
        "adam_steps": 50,
    }
    monkeypatch.setattr(fig_4, "parameters", lambda scale: given)
    data = fig_4.FIGURE.simulate("quick", 1, quiet())
    verdict = fig_4.FIGURE.judge(data, {})
    assert verdict.agrees, verdict.rows
    assert not fig_4.FIGURE.judge(data.assign(trace=data.trace * 2), {}).agrees
    assert "at D -> infinity" in verdict.sentence
    folder = "fig-4/data"
    fake = {f"{folder}/contrast.npy": np.zeros((50, 50)), f"{folder}/N_list.npy": np.array([20, 30])}
    for name in ("amp", "sgd"):
        fake[f"{folder}/{name}_loss_mean.npy"] = np.array([0.5, 0.4])
        fake[f"{folder}/{name}_loss_std.npy"] = np.array([0.1, 0.1])
    rows = fig_4.FIGURE.judge(data, fake).rows
    assert [row[2] for row in rows if "published" in row[0].split(": ")[-1]] == [0.4, 0.4]
    assert any("if transposed" in remark for remark in fig_4.FIGURE.judge(data, fake).remarks)
    assert fig_4.FIGURE.draw(data, fake).axes
