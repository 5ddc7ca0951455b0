"""A change of the model's data changes theory and simulation alike: eight changes, each derived, solved and simulated.

Each changed theory agrees with the simulation of the changed model; the theory of the unchanged one does not.
"""

from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import sympy as sp

from iclglass.numerics.errors import ParameterError
from iclglass.numerics.handshake import solve_model
from iclglass.numerics.saddle_point import solve
from iclglass.numerics.task_spectrum import TaskSpectrum
from iclglass.replica import symbols as S
from iclglass.replica.model import linear_attention
from iclglass.validation.crosscheck import compare
from iclglass.validation.model_theory import model_theory
from iclglass.validation.observables import QUANTITIES
from iclglass.validation.simulation import simulate

POINT = {"task_diversity": 2.0, "context_length": 2.0, "label_noise": 0.2, "ridge": 0.3}
RUN = {"dimensions": (4, 8, 16), "samples": 40, "seed": 1}
LARGEST_UNSEEN_BIAS = 0.35

BASE = linear_attention()
SQUARE = (S.y - S.f) ** 2 / 2

CHANGED = {
    "label noise x 3": linear_attention(label_noise=3 * S.rho),
    "stiffer prior": linear_attention(prior_precision=3 * S.lambda0),
    "loss x 3": linear_attention(loss=3 * SQUARE),
    "a linear term": linear_attention(loss=SQUARE + S.y * S.f / 2),
    "another loss": linear_attention(loss=sp.sqrt(1 + (S.y - S.f) ** 2) - 1),
    "other spins": linear_attention(spins="nonnegative"),
}
"""Those that are minimised; two more, of tasks and of norm, have the exact measure below."""


@cache
def samples_of(name):
    """Data sets of a changed model, drawn once."""
    return simulate(model=CHANGED[name], **POINT, **RUN)


def of_model(model):
    """The theory of a model of ridge regression, whatever was simulated; what it does not have is NaN."""

    def theory(*, ridge, distinct_tasks, tasks, **law):
        return SimpleNamespace(**(dict.fromkeys(QUANTITIES, np.nan) | solve_model(model, {"lam": ridge}, **law)))

    return theory


def unchanged(**law):
    return model_theory(**(law | {"model": BASE}))


def compared(samples, theory=solve):
    return compare(samples, theory=theory, largest_unseen_bias=LARGEST_UNSEEN_BIAS)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGED)
def test_a_changed_model_agrees_with_its_simulation(name):
    found = compared(samples_of(name))
    assert found.passed, found.sentence


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGED)
def test_the_unchanged_theory_does_not(name):
    assert compared(samples_of(name), unchanged).passed is False


@pytest.mark.slow
def test_task_variance():
    """The exact measure with tasks of variance 2, against theories derived with and without it."""
    twice = TaskSpectrum(np.array([2.0]), np.array([2.0]), np.array([1.0]))
    samples = simulate(tasks=twice, **POINT, **RUN)
    found = compared(samples, of_model(linear_attention(task_variance=2)))
    assert found.passed, found.sentence
    assert compared(samples, of_model(BASE)).passed is False


@pytest.mark.slow
def test_norm():
    """N + 1 in the place of N is the same as D -> infinity, and is not at D = 4."""
    model = replace(BASE, scaling=((S.norm, S.N + 1), *BASE.scaling[1:]))
    samples = simulate(norm="N+1", **POINT, **RUN)
    found = compared(samples, of_model(model))
    assert found.passed, found.sentence
    # The same random numbers.
    change = samples.values["m"][0] - simulate(**POINT, **RUN).values["m"][0]
    assert np.mean(change) > 4 * np.std(change) / np.sqrt(change.size)


def test_tasks_of_another_variance_are_not_simulated():
    with pytest.raises(ParameterError, match="task variance 2 are not simulated"):
        simulate(model=linear_attention(task_variance=2), **POINT, **RUN)
