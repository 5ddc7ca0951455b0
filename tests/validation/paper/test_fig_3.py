"""Fig. 3: flat directions, parabolas, mean energies; what is said without scikit-learn."""

import re
import tomllib
from pathlib import Path

import numpy as np

from iclglass.numerics.instance.spin_glass import spin_glass
from iclglass.validation.paper import fig_3
from iclglass.validation.prompts import draw_prompts

ROUNDING = 1e-10


def test_verdict_counts_flat_directions_and_names_the_extra(small):
    verdict = fig_3.judge(small("fig-3"), {})
    assert "15 flat directions of 20 at P = 5 (15 predicted)" in verdict.sentence
    assert any("pip install 'iclglass[benchmarks]'" in remark for remark in verdict.remarks)


def test_the_papers_picture_has_a_column_where_there_is_one(small):
    grid = np.linspace(0, 1, 5)
    found = small("fig-3").assign(
        tsne_x=(("prompts", "grid_x"), [grid, grid]),
        tsne_y=(("prompts", "grid_y"), [grid, grid]),
        tsne_energy=small("fig-3")["tsne_energy"].copy(data=np.arange(50.0).reshape(2, 5, 5)),
    )
    assert len(fig_3.draw(found, {}).axes) == 10
    assert not any("pip install" in remark for remark in fig_3.judge(found, {}).remarks)


def test_doubled_energy_is_that_of_the_published_formula(small):
    rng = np.random.default_rng([3, 3, 5])
    data = draw_prompts(dimension=4, context=10, prompts=5, rng=rng)
    glass = spin_glass(data, 0.02)
    weights = rng.standard_normal((200, 5, 5))[0]
    active, masked = weights[:, :-1].ravel(), weights[:, -1]
    couplings = glass.couplings - np.diag(glass.onsite - 0.02)  # with the diagonal that SG leave in
    expected = -active @ couplings @ active / 2 - glass.fields @ active + glass.onsite @ active**2 / 2
    expected += 0.02 / 2 * masked @ masked
    assert abs(float(small("fig-3")["energy_doubled"].sel(prompts=5)[0]) - expected) < ROUNDING * abs(expected)


def test_published_level_is_reported(small):
    fake = {fig_3.PUBLISHED[1]: np.ones((200, 200))}
    remarks = fig_3.judge(small("fig-3"), fake).remarks
    assert sum("mean level 1.00" in remark for remark in remarks) == 1


def test_the_extra_named_exists_and_brings_scikit_learn():
    named = re.search(r"iclglass\[(\w+)\]", fig_3.INSTALL).group(1)
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))
    assert any(line.startswith("scikit-learn") for line in project["project"]["optional-dependencies"][named])
