"""Small simulations of the figures, each made once for all tests. What is made of them must leave them as they are."""

import sys
from functools import cache
from importlib import import_module

import pytest

from iclglass.validation.paper.catalogue import FIGURES
from iclglass.validation.paper.simulating import in_turn

SMALL = {
    "fig-1": (1, {"dimension": 4, "context": 12, "prompts": 30, "norm": "N", "repeats": 300}),
    "fig-3": (3, {"dimension": 4, "context": 10, "prompts": [5, 300], "ridge0": 0.02, "weights": 200, "grid": 5}),
    "fig-S1": (1, {"dimension": 6, "context": 30, "learning_rate": 0.02, "steps": 1500, "task_diversity": (0.5, 2.0)}),
    "fig-S2": (1, {"dimension": 5, "prompts": 200, "contexts": [5, 6, 20], "repeats": 60}),
    "fig-S3": (5, {"dimension": 4, "context": 30, "prompts": 2000, "ridge0": 0.02, "repeats": 60}),
    "fig-S4": (
        2,
        {"dimension": 6, "context": 12, "prompts": 400, "correlations": [0.1, 0.6], "repeats": 12, "iterations": 1},
    ),
    "fig-S5": (1, {"dimension": 10, "contexts": [10, 20, 40, 80, 160, 320], "matrices": 120}),
    "fig-S6": (1, {"dimension": 4, "context": 30, "tasks": 5, "epochs": 50, "repeats": 150}),
    "fig-S7": (1, {"dimensions": (10,), "prompts": (25, 100, 150), "context": 20, "repeats": 2, "spectrum_repeats": 3}),
}
"""Name -> seed, and what differs from the parameters at quick scale."""


@cache
def _simulated(name):
    module = import_module(FIGURES[name])
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "sklearn.manifold", None)  # t-SNE needs more points
        return module.simulate(module.parameters("quick"), SMALL[name][0], in_turn)


@pytest.fixture
def small(monkeypatch):
    """Name -> data; the figure's parameters are those of the data, at every scale."""

    def data(name):
        module = import_module(FIGURES[name])
        given = {**module.parameters("quick"), **SMALL[name][1]}
        monkeypatch.setattr(module, "parameters", lambda scale: given)
        return _simulated(name)

    return data
