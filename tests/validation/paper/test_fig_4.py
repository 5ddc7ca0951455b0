"""SG Fig. 4: the divergence line, the map, the losses."""

import numpy as np
import pytest

from numerics.instance.stability import spin_by_spin_limit
from validation.paper import fig_4
from validation.paper.figure import quiet


def test_the_line_separates_convergence_from_divergence():
    (line,) = fig_4.divergence_line(np.array([40]), 0.1)
    for factor, converges in ((1.001, True), (0.999, False)):
        limit = spin_by_spin_limit(task_diversity=factor * line / 400, context_length=2.0, ridge=2.0)
        assert (limit.published[1] < 1) is converges


@pytest.mark.slow
def test_verdict(monkeypatch):
    given = {
        **fig_4.parameters("quick"),
        "map_context": (20, 60),
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
    assert fig_4.FIGURE.draw(data, {"fig-4/data/contrast.npy": np.zeros((50, 50))}).axes
