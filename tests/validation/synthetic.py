"""Sample sets drawn from a known law, for statistics of the comparison: one quantity, e_icl, and its exact theory."""

import math
from types import SimpleNamespace

import numpy as np

from iclglass.numerics.parameters import Parameters
from iclglass.validation.observables import QUANTITIES
from iclglass.validation.simulation import FiniteSizeSamples

VALUE = 0.3
"""Of e_icl at D -> infinity, and in the theory."""


def spread(size):
    """Standard deviation of e_icl of one data set: proportional to 1/D, as of a self-averaging quantity."""
    return 1.0 / size


def synthetic_samples(rng, *, sizes=(8, 16, 32), samples=32, bias=0.0, curvature=1.0):
    """e_icl = VALUE + bias + curvature/D + noise; no other quantity has a number, nor has it in `exact_theory`."""
    inverse = 1 / np.array(sizes, dtype=float)[:, None]
    noise = np.array([spread(size) for size in sizes])[:, None] * rng.standard_normal((len(sizes), samples))
    values = {name: np.full((len(sizes), samples), math.nan) for name in QUANTITIES}
    values["e_icl"] = VALUE + bias + curvature * inverse + noise
    law = Parameters(task_diversity=2.0, context_length=1.0)
    return FiniteSizeSamples(parameters=law, dimensions=tuple(sizes), samples=samples, seed=0, values=values)


def exact_theory(**parameters):
    """VALUE for e_icl and no number for anything else."""
    return SimpleNamespace(**(dict.fromkeys(QUANTITIES, math.nan) | {"e_icl": VALUE}))
