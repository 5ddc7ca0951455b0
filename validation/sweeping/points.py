"""What one point of a sweep is: a few plain values that travel to any worker and fix its random numbers.

Random numbers follow from what a point is (its integers, noise, ridge and temperature), the sweep's seed and the index
of the data set; not from its place in the grid, the order of work, the worker, or the road. So any subset of a sweep,
on any engine, gives the same numbers, and two roads see the same data sets.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np

from iclglass.numerics.last_row import LastRow
from iclglass.numerics.parameters import PARAMETERS, Parameters

__all__ = ["Point", "random_generator"]


@dataclass(frozen=True)
class Point:
    """One point: the payload of `validation.sweeping.evaluation.evaluate`.

    road : how it is computed, a name of `validation.sweeping.roads.ROADS`.
    task_diversity .. test_context_length : scaled parameters; test_context_length None: as in pretraining.
    dimension : D; None: D -> infinity (road "theory" only).
    prompts, context, task_count, test_context : P, N, K and the tokens of a test prompt; 0 for infinite D. K = 0: every
        prompt has its own task.
    last_feature, last_row : the layer. One seed gives one data set for all layers, but for the last column.
    samples : independent data sets; seed : of the sweep.    theory : whether the theory is solved beside them.
    pools : whether some point of the sweep has a pool of tasks; the theory then has a standard error.
    method, draws, steps, learning_rate, tolerance : of the road; None or 0 where it has none, or takes its default.
    """

    road: str
    task_diversity: float
    context_length: float
    distinct_tasks: float
    label_noise: float
    ridge: float
    temperature: float
    test_context_length: float | None
    dimension: int | None
    prompts: int
    context: int
    task_count: int
    test_context: int
    norm: str
    last_feature: str
    last_row: bool
    samples: int
    seed: int
    theory: bool
    pools: bool
    method: str | None = None
    draws: int = 0
    steps: int | None = None
    learning_rate: float | None = None
    tolerance: float | None = None

    @property
    def parameters(self) -> Parameters:
        """What the theory takes."""
        given = {name: getattr(self, name) for name in PARAMETERS}
        return Parameters(**given, dimension=self.dimension, norm=self.norm, **self.layer.to_dict())

    @property
    def layer(self) -> LastRow:
        """The last feature, and whether there is one."""
        return LastRow(self.last_feature, self.last_row)


def random_generator(point: Point, sample: int) -> np.random.Generator:
    """The random numbers of one data set of a point.

    The key is the SHA-256 of the point's law as text, numbers in hexadecimal: exact, and the same on every machine.
    """
    law = (
        f"D={point.dimension} P={point.prompts} N={point.context} K={point.task_count} M={point.test_context} "
        f"norm={point.norm} rho={_exact(point.label_noise)} lam={_exact(point.ridge)} T={_exact(point.temperature)}"
    )
    words = np.frombuffer(hashlib.sha256(law.encode()).digest(), dtype="<u4")
    key = (*(int(word) for word in words), sample)
    return np.random.default_rng(np.random.SeedSequence(entropy=point.seed, spawn_key=key))


def _exact(value: float) -> str:
    return "inf" if math.isinf(value) else float(value).hex()
