"""The pictures of notes/models.md: what is located in them, and the files."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from iclglass.validation.model_theory import model_theory

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def drawing():
    spec = importlib.util.spec_from_file_location("draw_models", ROOT / "notes/draw_models.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_least_value_is_found_elementwise_and_holes_are_stepped_over(drawing):
    centres = np.array([0.3, 1.7, 2.5])

    def bowl(places):
        return np.where(places > 2.9, np.nan, (places - centres) ** 2)

    found = drawing.least(bowl, np.zeros(3), np.full(3, 3.0))
    assert np.abs(found - centres).max() < 1e-4


@pytest.mark.slow
def test_the_lasso_is_at_its_best_and_its_density_there_follows_from_d_alone(drawing):
    """The error is excess t^2/D of the diagonal and E(|z| - t)_+^2 of the rest, so the best t = l1/sqrt(Q) is D's."""
    found = drawing.lasso(np.array([0.5, 3.0]), np.array([1.0, 10.0]))
    size = drawing.LASSO_DIMENSION
    best = brentq(lambda t: t - 2 * size * (norm.pdf(t) - t * norm.sf(t)), 0.1, 5)
    assert found.density.values == pytest.approx(np.full((2, 2), 2 * norm.sf(best)), rel=1e-3)
    for place in np.ndindex(2, 2):
        point = {
            "task_diversity": found.task_diversity.values[place[1]],
            "context_length": found.context_length.values[place[0]],
        }
        least, *others = (
            model_theory(diagonal_dimension=size, l1=factor * found.strength.values[place], **point).e_icl
            for factor in (1, 0.9, 1.1)
        )
        assert least < min(others)
    assert (found.ratio < 1).all()


def test_every_picture_is_kept_on_the_page_and_small(drawing):
    page = (ROOT / "notes/models.md").read_text(encoding="utf-8")
    kept = {file.stem: file for file in (ROOT / "notes/figures").glob("models-*.png")}
    assert set(kept) == set(drawing.PICTURES)
    for name, file in kept.items():
        assert file.stat().st_size < 150_000
        assert f"(figures/{name}.png)" in page
