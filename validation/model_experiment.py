r"""Data sets of a chosen model, a few at a time: drawn, minimised or sampled, and measured.

At T = 0 every data set is minimised on its own. At T > 0 the data sets of a batch are sampled side by side, which costs
hardly more than one (`validation.samplers.spins`). From the mean weights W_a, W_b of two independent chains follows
every quantity X of the measure's mean weights as

    2 X((W_a + W_b)/2) - (X(W_a) + X(W_b))/2

in which the error that finitely many draws make cancels: for a square it is the product W_a.W_b, without any bias.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.errors import ConvergenceError, ParameterError
from iclglass.numerics.instance.predictions import contrast_ratio
from iclglass.numerics.model_choice import is_builtin
from iclglass.numerics.parameters import Parameters
from iclglass.numerics.running.blas import pin_blas
from iclglass.numerics.running.store import Row
from iclglass.numerics.sizes import Sizes
from iclglass.validation.experiment import draw, generator
from iclglass.validation.minimisers.minimise import Minimum, minimise
from iclglass.validation.model_functions import labels_of, loss_of, minimised, sampled
from iclglass.validation.model_observables import measure_weights
from iclglass.validation.prompts import Prompts
from iclglass.validation.samplers.spins import Draws, sample_spins

__all__ = ["MODULES", "Batch", "Chosen", "batches", "evaluate", "measured", "quantities_of"]

MODULES = (__name__,)
"""What the quantities of a data set of a model follow from, with all that it imports."""

FloatArray = NDArray[np.float64]

SIDE_BY_SIDE = 32
"""Data sets that are sampled together, which for D <= 16 takes little more time than one."""

_WARMUP, _SWEEPS = 60, 140
_LONGER = (1, 4, 16)
"""Factors of both, one after the other, until the chains of a data set have met."""
_MOST_R_HAT = 1.1
"""Of two chains of some hundred correlated draws, as in `validation.sweeping.roads`."""
_TEST_PROMPTS = 1024
"""New prompts of each data set, over whose query and noise is integrated: their scatter is below that of data sets."""
_MET = ("energy", "m", "q_self")


@dataclass(frozen=True)
class Batch:
    """What the rows of some data sets follow from: the payload of `evaluate`.

    As `validation.experiment.DataSet`, for the data sets from index `first` on, `count` of them; `width` numbers come
    back, NaN where there are fewer data sets than fit.
    """

    parameters: Parameters
    sizes: Sizes
    seed: int
    key: tuple[int, ...]
    first: int
    count: int
    width: int


def quantities_of(parameters: Parameters) -> tuple[str, ...]:
    """What is measured of a data set of a model, in this order; names are those of `numerics.solution.Solution`.

    >>> quantities_of(Parameters(task_diversity=1, context_length=1, l1=0.5))
    ('m', 'q', 'e_icl', 'e_train', 'density', 'density_off_diagonal', 'contrast', 'energy')
    """
    own, thermal = parameters.model, bool(np.any(parameters.temperature > 0))
    squared = own is None and parameters.loss == "squared_error"
    linear = labels_of(parameters) == "linear"
    spins = parameters.spins if own is None else own.spins
    kinked = own is not None and not (own.spin_energy.discrete or own.spin_energy.smooth)
    sparse = bool(np.any(parameters.l1)) or spins in ("nonnegative", "ternary", "integer") or kinked
    wanted = {
        "m": True,
        "q": True,
        "q_self": thermal,
        "chi": thermal,
        "e_icl": linear,
        "e_train": linear,
        "error_rate": not linear,
        # Of the squared error with linear labels they are half of e_icl and e_train.
        "test_loss": not (squared and linear),
        "train_loss": not (squared and linear),
        "density": sparse and not thermal,
        "density_off_diagonal": sparse and (not thermal or spins in ("ternary", "integer")),
        "rank": bool(np.any(parameters.nuclear)),
        "contrast": True,
        "energy": True,
    }
    return tuple(name for name, there in wanted.items() if there)


def batches(parameters: Parameters, samples: int) -> list[range]:
    """Indices of the data sets that are computed together.

    >>> batches(Parameters(task_diversity=1, context_length=1, spins="binary", temperature=1.0), 40)
    [range(0, 32), range(32, 40)]
    """
    step = SIDE_BY_SIDE if np.any(parameters.temperature > 0) else 1
    return [range(first, min(first + step, samples)) for first in range(0, samples, step)]


def evaluate(task: Batch) -> Row:
    """Draw and measure the data sets of a batch: their quantities, one data set after the other, then NaN."""
    if is_builtin(task.parameters):
        raise ParameterError("this is the exact measure's: validation.experiment")
    pin_blas()
    started = time.perf_counter()
    rngs = [generator(task.seed, task.key, task.first + index) for index in range(task.count)]
    data = [draw(task.parameters, task.sizes, rng) for rng in rngs]
    names = quantities_of(task.parameters)
    values = np.full(task.width, np.nan)
    for index, found in enumerate(measured(task.parameters, task.sizes, data, rngs)):
        values[index * len(names) : (index + 1) * len(names)] = [found[name] for name in names]
    return Row(values, seconds=time.perf_counter() - started)


def measured(
    parameters: Parameters, sizes: Sizes, data: Sequence[Prompts], rngs: Sequence[np.random.Generator]
) -> list[dict[str, float]]:
    """The quantities of some data sets of one law, each with its own generator.

    Raises ConvergenceError: a minimum was not found, or chains that started apart do not meet.
    """
    if np.any(parameters.temperature > 0):
        return _thermal(parameters, sizes, data, rngs)
    return [_cold(parameters, sizes, each, rng) for each, rng in zip(data, rngs, strict=True)]


def _cold(parameters: Parameters, sizes: Sizes, data: Prompts, rng: np.random.Generator) -> dict[str, float]:
    found = _minimum(parameters, data)
    if not found.converged:
        raise ConvergenceError(
            f"the minimum of a data set of dimension {data.dimension} was not found: the optimality conditions are "
            f"violated by {found.residual:.1e}; add a ridge, or take another task diversity"
        )
    return {"energy": found.energy} | _of_weights(parameters, sizes, data, found.weights, rng)


def _minimum(parameters: Parameters, data: Prompts) -> Minimum:
    if np.any(parameters.nuclear):
        from iclglass.validation.minimisers.nuclear import minimise_nuclear

        return minimise_nuclear(data, loss_of(parameters), float(parameters.nuclear) / data.dimension)
    return minimise(data, minimised(parameters, data.dimension))


def _of_weights(
    parameters: Parameters, sizes: Sizes, data: Prompts, weights: FloatArray, rng: np.random.Generator
) -> dict[str, float]:
    # New prompts are those of the test, and nothing else of the measurement knows how long contexts are.
    tested = replace(data, context_count=sizes.test_context)
    found = measure_weights(tested, weights, loss_of(parameters), rng=rng, draws=_TEST_PROMPTS)
    return found.to_dict() | {"contrast": contrast_ratio(weights)}


def _thermal(
    parameters: Parameters, sizes: Sizes, data: Sequence[Prompts], rngs: Sequence[np.random.Generator]
) -> list[dict[str, float]]:
    spins, loss = sampled(parameters)
    temperature = float(parameters.temperature)
    result: dict[int, dict[str, float]] = {}
    pending = list(range(len(data)))
    for factor in _LONGER:
        draws = sample_spins(
            [data[index] for index in pending],
            spins,
            temperature=temperature,
            warmup=factor * _WARMUP,
            sweeps=factor * _SWEEPS,
            rngs=[rngs[index] for index in pending],
            loss=loss,
        )
        apart = np.max([draws.r_hat(name) for name in _MET], axis=0)
        for place, index in enumerate(pending):
            if apart[place] < _MOST_R_HAT:
                found = _of_draws(parameters, sizes, data[index], draws, place, rngs[index])
                result[index] = found | {"chi": (found["q_self"] - found["q"]) / temperature}
        pending = [index for index in pending if index not in result]
        if not pending:
            return [result[index] for index in range(len(data))]
    worst = float(np.max(apart))
    raise ConvergenceError(
        f"two chains that started apart have not met in {_LONGER[-1] * _SWEEPS} sweeps of dimension "
        f"{data[0].dimension} (R-hat {worst:.2f}, not below {_MOST_R_HAT:g}): take a higher temperature, or smaller "
        "dimensions"
    )


def _of_draws(
    parameters: Parameters, sizes: Sizes, data: Prompts, draws: Draws, place: int, rng: np.random.Generator
) -> dict[str, float]:
    """Quantities of one data set from its two chains; on the same test prompts for all of their means."""
    first, second = draws.means[place]
    state = rng.bit_generator.state
    parts: list[Mapping[str, float]] = []
    for weights in ((first + second) / 2, first, second):
        rng.bit_generator.state = state
        parts.append(_of_weights(parameters, sizes, data, weights, rng))
    middle, *ends = parts
    found = {name: 2 * value - (ends[0][name] + ends[1][name]) / 2 for name, value in middle.items()}
    if not math.isfinite(found.get("contrast", 0.0)):
        found["contrast"] = math.nan
    return found | {
        "energy": float(draws.mean("energy")[place]),
        "q_self": float(draws.mean("q_self")[place]),
        "density_off_diagonal": float(draws.mean("density")[place]),
    }


@dataclass(frozen=True)
class Chosen:
    """The `validation.experiment.Experiment` of a chosen model: minimised, or sampled some data sets at once."""

    parameters: Parameters
    modules: ClassVar[tuple[str, ...]] = MODULES
    evaluate = staticmethod(evaluate)

    @property
    def quantities(self) -> tuple[str, ...]:
        """What is measured of a data set."""
        return quantities_of(self.parameters)

    @property
    def width(self) -> int:
        """Numbers in a row: at a temperature those of all data sets of a batch."""
        return len(self.quantities) * max(map(len, batches(self.parameters, SIDE_BY_SIDE)))

    def tasks(self, sizes: Sizes, seed: int, samples: int) -> dict[str, Batch]:
        """The batches, by their first and last data set."""
        return {
            f"{which[0]}-{which[-1]}": Batch(
                self.parameters, sizes, seed, (sizes.dimension,), which[0], len(which), self.width
            )
            for which in batches(self.parameters, samples)
        }

    def memory(self, sizes: Sizes) -> int:
        """Bytes of a batch: a Hessian and features of every spin, or the Hessians of all data sets."""
        spins = sizes.dimension * (sizes.dimension + 1)
        if np.any(self.parameters.temperature > 0):
            return int(8 * SIDE_BY_SIDE * (1.5 * spins**2 + 4 * sizes.prompts * sizes.dimension))
        return int(8 * (2 * spins**2 + 1.5 * sizes.prompts * spins))
