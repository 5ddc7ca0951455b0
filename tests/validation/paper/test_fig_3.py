"""Fig. 3: flat directions, parabolas, mean energies; what is said without scikit-learn."""

import re
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from iclglass.numerics.instance.spin_glass import spin_glass
from iclglass.validation.paper import fig_3
from iclglass.validation.paper.figure import quiet
from iclglass.validation.prompts import draw_prompts

ROUNDING = 1e-10
SMALL = {"dimension": 4, "context": 10, "prompts": [5, 300], "ridge0": 0.02, "weights": 200, "grid": 5}


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(type(fig_3.FIGURE), "checked_parameters", lambda self, scale: SMALL)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    return fig_3.FIGURE.simulate("quick", 3, quiet())


def test_verdict_counts_flat_directions_and_names_the_extra(small):
    verdict = fig_3.FIGURE.judge(small, {})
    # So few data sets see no bias of 25 %; what they can see agrees.
    assert replace(verdict, largest_unseen_bias=2).agrees
    assert "15 flat directions of 20 at P = 5 (15 predicted)" in verdict.sentence
    assert any("pip install 'iclglass[benchmarks]'" in remark for remark in verdict.remarks)
    assert len(fig_3.FIGURE.draw(small, {}).axes) == 6  # two panels and a colour bar for each P


def test_the_papers_picture_has_a_column_where_there_is_one(small):
    grid = np.linspace(0, 1, 5)
    found = small.assign(
        tsne_x=(("prompts", "grid_x"), [grid, grid]),
        tsne_y=(("prompts", "grid_y"), [grid, grid]),
        tsne_energy=small["tsne_energy"].copy(data=np.arange(50.0).reshape(2, 5, 5)),
    )
    assert len(fig_3.FIGURE.draw(found, {}).axes) == 10
    assert not any("pip install" in remark for remark in fig_3.FIGURE.judge(found, {}).remarks)


def test_a_wrong_curvature_or_energy_is_seen(small):
    assert fig_3.FIGURE.judge(small.assign(curvature=1.001 * small["curvature"]), {}).agrees is False
    assert fig_3.FIGURE.judge(small.assign(energy=1.5 * small["energy"]), {}).agrees is False
    assert fig_3.FIGURE.judge(small.assign(energy_doubled=small["energy"]), {}).agrees is False


def test_doubled_energy_is_that_of_the_published_formula(small):
    rng = np.random.default_rng([3, 3, 5])
    data = draw_prompts(dimension=4, context=10, prompts=5, rng=rng)
    glass = spin_glass(data, 0.02)
    weights = rng.standard_normal((200, 5, 5))[0]
    active, masked = weights[:, :-1].ravel(), weights[:, -1]
    couplings = glass.couplings - np.diag(glass.onsite - 0.02)  # with the diagonal that SG leave in
    expected = -active @ couplings @ active / 2 - glass.fields @ active + glass.onsite @ active**2 / 2
    expected += 0.02 / 2 * masked @ masked
    assert abs(float(small["energy_doubled"].sel(prompts=5)[0]) - expected) < ROUNDING * abs(expected)


def test_published_level_is_reported(small):
    fake = {fig_3.PUBLISHED[1]: np.ones((200, 200))}
    remarks = fig_3.FIGURE.judge(small, fake).remarks
    assert sum("mean level 1.00" in remark for remark in remarks) == 1


def test_the_extra_named_exists_and_brings_scikit_learn():
    named = re.search(r"iclglass\[(\w+)\]", fig_3.INSTALL).group(1)
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))
    assert any(line.startswith("scikit-learn") for line in project["project"]["optional-dependencies"][named])


@pytest.mark.slow
def test_quick_scale_with_tsne():
    pytest.importorskip("sklearn")
    data = fig_3.FIGURE.simulate("quick", 0, quiet())
    assert np.all(np.isfinite(data["tsne_energy"]))
    assert fig_3.FIGURE.judge(data, {}).agrees
