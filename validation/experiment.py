"""One data set: drawn from parameters, sizes and a key of random numbers, and measured exactly.

A simulation at several dimensions and a sweep are lists of them. The random numbers of a data set follow from a seed, a
key and its index, and from nothing else: any subset, in any order, on any worker, gives the same numbers.

    simulation    key (D,): data sets of one seed are those of any list of dimensions
    sweep         key `law_key`: two points of a grid with the same integers and law are one
"""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import astuple, dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from iclglass.numerics.instance.linear_response import cheapest
from iclglass.numerics.parameters import Parameters
from iclglass.numerics.running.blas import pin_blas
from iclglass.numerics.running.store import Row
from iclglass.numerics.sizes import Sizes
from iclglass.validation.observables import QUANTITIES, Observables, measure
from iclglass.validation.pools import at_dimension, draw_pool
from iclglass.validation.prompts import Prompts, draw_prompts

__all__ = ["MODULES", "DataSet", "Exact", "Experiment", "draw", "evaluate", "generator", "law_key", "measured"]

MODULES = (__name__,)
"""What a data set's quantities follow from, with all that it imports."""


class Experiment(Protocol):
    """What is done with the data sets of one point.

    Attributes
    ----------
    modules : tuple of str
        What their quantities follow from, with all that these import.
    quantities : tuple of str
        What is measured of a data set, in the order of a row.
    width : int
        Numbers in a row.
    """

    @property
    def modules(self) -> tuple[str, ...]: ...

    @property
    def quantities(self) -> tuple[str, ...]: ...

    @property
    def width(self) -> int: ...

    def tasks(self, sizes: Sizes, seed: int, samples: int) -> dict[str, Any]:
        """So many data sets of one size: by name the payloads of `evaluate`, whose ``count`` are a row's data sets."""

    def memory(self, sizes: Sizes) -> int:
        """Bytes that a worker needs."""

    def evaluate(self, task: Any) -> Row:
        """Draw and measure the data sets of a task."""


@dataclass(frozen=True)
class DataSet:
    """What one data set follows from: the payload of `evaluate`.

    Parameters
    ----------
    parameters : Parameters
        Of one point; what counts is what the sizes leave open: noise, ridge, temperature, tasks, layer.
    sizes : Sizes
        D, P, N, K and the tokens of a test prompt.
    seed, key, index : int, tuple of int, int
        Of its random numbers.
    """

    parameters: Parameters
    sizes: Sizes
    seed: int
    key: tuple[int, ...]
    index: int
    count: ClassVar[int] = 1


def generator(seed: int, key: tuple[int, ...], index: int) -> np.random.Generator:
    """The random numbers of one data set.

    >>> generator(1, (8,), 0).random() == generator(1, (8,), 1).random()
    False
    """
    return np.random.default_rng(np.random.SeedSequence(entropy=seed, spawn_key=(*key, index)))


def law_key(parameters: Parameters, sizes: Sizes) -> tuple[int, ...]:
    """The key of a law: eight words of the SHA-256 of its integers, noise, ridge and temperature as text.

    Numbers are written in hexadecimal: exact, and the same on every machine.
    """
    pooled = math.isfinite(parameters.distinct_tasks)
    law = (
        f"D={sizes.dimension} P={sizes.prompts} N={sizes.context} K={sizes.task_count if pooled else 0} "
        f"M={sizes.test_context} norm={sizes.norm} rho={_exact(parameters.label_noise)} lam={_exact(parameters.ridge)} "
        f"T={_exact(parameters.temperature)}"
    )
    return tuple(np.frombuffer(hashlib.sha256(law.encode()).digest(), dtype="<u4").tolist())


def _exact(value: object) -> str:
    return float(value).hex()  # type: ignore[arg-type]


def draw(parameters: Parameters, sizes: Sizes, rng: np.random.Generator) -> Prompts:
    """The prompts of one data set; with finitely many distinct tasks a pool of its own first.

    >>> draw(Parameters(task_diversity=2, context_length=1), Sizes(4, 32, 4, 4, 32), generator(0, (4,), 0)).prompts
    32
    """
    spectrum = at_dimension(parameters.tasks, sizes.dimension).pretraining
    pool, model, noise = None, parameters.model, float(parameters.label_noise)
    if math.isfinite(parameters.distinct_tasks):
        pool = draw_pool(dimension=sizes.dimension, count=sizes.task_count, spectrum=spectrum, rng=rng)
    return draw_prompts(
        dimension=sizes.dimension,
        context=sizes.context,
        prompts=sizes.prompts,
        label_noise=noise if model is None else model.label_noise_at(noise),
        labels=parameters.labels if model is None else model.labels,
        norm=sizes.norm,
        **parameters.layer.to_dict(),
        tasks=pool,
        spectrum=None if pool is not None or np.all(spectrum == 1) else spectrum,
        rng=rng,
    )


def measured(parameters: Parameters, sizes: Sizes, data: Prompts) -> Observables:
    """Every quantity of a data set, by exact linear algebra."""
    test = at_dimension(parameters.tasks, sizes.dimension).test
    return measure(
        data,
        ridge=float(parameters.ridge),
        temperature=float(parameters.temperature),
        test_spectrum=None if np.all(test == 1) else test,
        test_context=sizes.test_context,
    )


def evaluate(task: DataSet) -> Row:
    """Draw and measure one data set: values in the order of `validation.observables.QUANTITIES`.

    On one BLAS thread, so that the rounding is the same everywhere; the driver's own process gets its threads back from
    `numerics.running.run`.
    """
    pin_blas()
    started = time.perf_counter()
    rng = generator(task.seed, task.key, task.index)
    found = measured(task.parameters, task.sizes, draw(task.parameters, task.sizes, rng))
    return Row(np.array(astuple(found), dtype=np.float64), seconds=time.perf_counter() - started)


@dataclass(frozen=True)
class Exact:
    """The `Experiment` of ridge regression: every data set by itself, by exact linear algebra."""

    parameters: Parameters
    modules: ClassVar[tuple[str, ...]] = MODULES
    quantities: ClassVar[tuple[str, ...]] = QUANTITIES
    width: ClassVar[int] = len(QUANTITIES)
    evaluate = staticmethod(evaluate)

    def tasks(self, sizes: Sizes, seed: int, samples: int) -> dict[str, DataSet]:
        """Every data set, by its number."""
        return {
            str(index): DataSet(self.parameters, sizes, seed, (sizes.dimension,), index) for index in range(samples)
        }

    def memory(self, sizes: Sizes) -> int:
        """Bytes of one workspace.

        The primal road needs an n x n matrix and its distinct products, n = D(D+1), or less; the dual road two P x P
        matrices.

        >>> Exact(Parameters(task_diversity=2, context_length=1)).memory(Sizes(100, 20000, 100, 100, 20000)) > 8e8
        True
        """
        spins, prompts = sizes.dimension * (sizes.dimension + 1), sizes.prompts
        primal = cheapest(sizes.dimension, prompts, float(self.parameters.ridge)) == "primal"
        matrix = 1.5 * spins**2 + 2**22 if primal else 2.1 * prompts**2
        return int(8 * (matrix + prompts * (sizes.dimension + 1)))
