"""Sweeps of models: the theory beside what is drawn, and the road "theory", are those of the dimension at hand."""

import pytest

from iclglass.numerics.saddle_point import solve
from iclglass.validation.sweeping.sweep import sweep_simulated

MODELS = [
    {"l1": 0.5},
    {"loss": "log_loss", "labels": "sign", "ridge": 0.1, "last_row": False},
    {"spins": "binary", "ridge": 0.1, "temperature": 1.0},
    {"nuclear": 0.3, "last_row": False},
]


@pytest.mark.parametrize("model", MODELS)
def test_the_theory_of_a_sweep_is_that_of_its_dimension(model):
    given = {"task_diversity": [1.0, 2.0], "context_length": 1.5, "dimension": 5, **model}
    expected = solve(**given)
    drawn = sweep_simulated(**given, samples=2, seed=1)
    for name in ("m", "q", "energy", "contrast"):
        assert drawn[f"{name}_theory"].values == pytest.approx(getattr(expected, name), rel=1e-6), name
    alone = sweep_simulated(**given, road="theory")
    assert alone.m.values == pytest.approx(expected.m, rel=1e-6)


def test_the_nuclear_norm_with_last_row_has_that_of_infinite_dimension_beside_it():
    given = {"task_diversity": 1.0, "context_length": 2.0, "nuclear": 0.3}
    drawn = sweep_simulated(**given, dimension=5, samples=2, seed=1)
    assert float(drawn.m_theory) == pytest.approx(float(solve(**given).m), rel=1e-6)
