"""What one point of a sweep is: a few plain values that travel to any worker and fix its random numbers.

Random numbers follow from what a point is (its integers, noise, ridge and temperature), the sweep's seed and the index
of the data set; not from its place in the grid, the order of work, the worker, or the road. So any subset of a sweep,
on any engine, gives the same numbers, and two roads see the same data sets.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from iclglass.numerics.last_row import LastRow
from iclglass.numerics.parameters import PARAMETERS, Parameters
from iclglass.numerics.sizes import Sizes
from iclglass.validation.experiment import generator, law_key

__all__ = ["SweepPoint", "random_generator"]


@dataclass(frozen=True)
class SweepPoint:
    """One point: the payload of `validation.sweeping.evaluation.evaluate`.

    road : how it is computed, a name of `validation.sweeping.roads.ROADS`.
    task_diversity .. test_context_length : scaled parameters; test_context_length None: as in pretraining.
    dimension : D; None: D -> infinity (road "theory" only).
    prompts, context, task_count, test_context : P, N, K and the tokens of a test prompt; 0 for infinite D. K = 0: every
        prompt has its own task.
    last_feature, last_row : the layer. One seed gives one data set for all layers, but for the last column.
    samples : independent data sets; seed : of the sweep.    theory : whether the theory is solved beside them.
    pools : whether some point of the sweep has a pool of tasks; the theory then has a standard error.
    model : what is not that of ridge regression, words and strengths by name.
    quantities : of a model, those of all points of the sweep.
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
    model: tuple[tuple[str, Any], ...] | None = None
    quantities: tuple[str, ...] | None = None
    method: str | None = None
    draws: int = 0
    steps: int | None = None
    learning_rate: float | None = None
    tolerance: float | None = None

    @cached_property
    def parameters(self) -> Parameters:
        """What the theory takes."""
        given: dict[str, Any] = {name: getattr(self, name) for name in PARAMETERS} | dict(self.model or ())
        return Parameters(**given, dimension=self.dimension, norm=self.norm, **self.layer.to_dict())

    @property
    def sizes(self) -> Sizes:
        """The integers; for finite D."""
        assert self.dimension is not None
        return Sizes(
            self.dimension, self.prompts, self.context, self.test_context, self.task_count or self.prompts, self.norm
        )

    @property
    def layer(self) -> LastRow:
        """The last feature, and whether there is one."""
        return LastRow(self.last_feature, self.last_row)


def random_generator(point: SweepPoint, index: int) -> np.random.Generator:
    """The random numbers of one data set of a point."""
    return generator(point.seed, law_key(point.parameters, point.sizes), index)
