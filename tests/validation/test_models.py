"""Models against their simulation: each agrees, and each is refused when its saddle point is broken on purpose.

Data sets of a model are drawn once and compared with five theories: its own, and four in which one of the fields K,
M, Q that prompts give to spins is multiplied by a number, before the spins answer.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any
from unittest.mock import patch

import pytest
import sympy as sp

import iclglass
from iclglass.numerics.lowering.compiled import CompiledSystem
from iclglass.validation.crosscheck import compare
from iclglass.validation.model_theory import model_theory
from iclglass.validation.simulation import FiniteSizeSamples, simulate

LARGEST_UNSEEN_BIAS = 0.35
"""What these few data sets can promise; every broken theory is further off in at least one quantity."""

DIMENSIONS = (4, 8, 16)

BROKEN = [("K", 1.5), ("M", 0.7), ("M", -1.0), ("Q", 1.5)]


@dataclass(frozen=True)
class Case:
    """A model at one point, and how many data sets at each dimension."""

    point: dict[str, Any]
    samples: int = 32


BINARY = {"task_diversity": 2, "context_length": 5, "spins": "binary", "ridge": 0.1}
"""Its de Almeida-Thouless temperature is 0.2139."""

OWN = iclglass.Model(
    loss=lambda y, f: sp.log(sp.cosh(y - f)), penalty=lambda s: s**2 / 20 + (sp.sqrt(1 + s**2) - 1) / 2
)

CASES = {
    "lasso": Case({"task_diversity": 1, "context_length": 2, "l1": 0.5}),
    "elastic net": Case({"task_diversity": 1, "context_length": 2, "ridge": 0.1, "l1": 0.3, "label_noise": 0.1}),
    "huber": Case({"task_diversity": 2, "context_length": 2, "loss": "huber", "ridge": 0.1, "label_noise": 0.1}),
    "log loss": Case({"task_diversity": 2, "context_length": 2, "loss": "log_loss", "labels": "sign", "ridge": 0.1}),
    "nonnegative": Case({"task_diversity": 1, "context_length": 2, "spins": "nonnegative", "ridge": 0.1}),
    "binary, T = 1": Case({**BINARY, "temperature": 1.0}, samples=16),
    "binary, T = 0.5": Case({**BINARY, "temperature": 0.5}, samples=16),
    "nuclear norm": Case({"task_diversity": 1, "context_length": 2, "nuclear": 0.3, "last_row": False}),
    "nuclear norm, last row": Case({"task_diversity": 1, "context_length": 2, "nuclear": 0.3}, samples=64),
    "own": Case({"model": OWN, "task_diversity": 2, "context_length": 2}),
}


@cache
def samples_of(name: str) -> FiniteSizeSamples:
    """The data sets of a model, drawn once."""
    case = CASES[name]
    return simulate(**case.point, dimensions=DIMENSIONS, samples=case.samples, seed=1)


def broken_theory(field: str, factor: float):
    """The theory with one of the fields multiplied by a number, at every step to its fixed point."""
    fields = CompiledSystem.fields

    def changed(self, point, fineness=1.0):
        found = fields(self, point, fineness)
        return {**found, field: factor * found[field]}

    def theory(**law):
        with patch.object(CompiledSystem, "fields", changed):
            return model_theory(**law)

    return theory


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_model_agrees_with_its_simulation(name):
    found = compare(samples_of(name), largest_unseen_bias=LARGEST_UNSEEN_BIAS)
    assert found.passed, found.sentence


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("field", "factor"), BROKEN)
def test_a_broken_theory_disagrees(name, field, factor):
    found = compare(samples_of(name), theory=broken_theory(field, factor), largest_unseen_bias=LARGEST_UNSEEN_BIAS)
    assert found.passed is False, found.sentence
