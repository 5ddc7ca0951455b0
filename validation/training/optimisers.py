r"""Update rules and the order of the batches. A state is never changed: a step makes a new one.

    gd, sgd    theta <- theta - rate g                                       g = dH/dtheta, on all prompts or on a batch
    adam       M <- b1 M + (1 - b1) g,   V <- b2 V + (1 - b2) g*g
               theta <- theta - rate (M/(1 - b1^t)) / (sqrt(V/(1 - b2^t)) + eps)

with b1 = 0.9, b2 = 0.999, eps = 1e-8, t = 1, 2, .. (Kingma and Ba, arXiv:1412.6980, algorithm 1; as in PyTorch).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iclglass.validation.training.layer import Matrices

__all__ = [
    "ADAM_BETAS",
    "ADAM_EPSILON",
    "OPTIMISERS",
    "RULES",
    "BatchOrder",
    "TrainingState",
    "adam",
    "descent",
    "initial_state",
]

Rows = slice | NDArray[np.int64]

OPTIMISERS = ("gd", "sgd", "adam")
ADAM_BETAS = (0.9, 0.999)
ADAM_EPSILON = 1e-8


@dataclass(frozen=True, eq=False)
class TrainingState:
    """Where training is: steps done, the parameters, and Adam's averages M and V (zeros for descent)."""

    step: int
    parameters: Matrices
    first: Matrices
    second: Matrices


def initial_state(parameters: Matrices) -> TrainingState:
    """The state before the first step.

    >>> initial_state((np.ones((2, 1)),)).second[0].tolist()
    [[0.0], [0.0]]
    """
    zeros = tuple(np.zeros_like(matrix) for matrix in parameters)
    return TrainingState(0, parameters, zeros, zeros)


def descent(state: TrainingState, slope: Matrices, rate: float) -> TrainingState:
    """One step down the slope.

    >>> descent(initial_state((np.ones(1),)), (np.array([2.0]),), 0.25).parameters[0].tolist()
    [0.5]
    """
    moved = tuple(matrix - rate * part for matrix, part in zip(state.parameters, slope, strict=True))
    return TrainingState(state.step + 1, moved, state.first, state.second)


def adam(state: TrainingState, slope: Matrices, rate: float) -> TrainingState:
    """One step of Adam; the first one moves every entry by the rate, whatever the slope.

    >>> adam(initial_state((np.ones(1),)), (np.array([2.0]),), 0.25).parameters[0].round(6).tolist()
    [0.75]
    """
    step = state.step + 1
    short, long = ADAM_BETAS
    first = tuple(short * old + (1 - short) * new for old, new in zip(state.first, slope, strict=True))
    second = tuple(long * old + (1 - long) * new**2 for old, new in zip(state.second, slope, strict=True))
    moved = tuple(
        matrix - rate * (mean / (1 - short**step)) / (np.sqrt(square / (1 - long**step)) + ADAM_EPSILON)
        for matrix, mean, square in zip(state.parameters, first, second, strict=True)
    )
    return TrainingState(step, moved, first, second)


RULES: dict[str, Callable[[TrainingState, Matrices, float], TrainingState]] = {
    "gd": descent,
    "sgd": descent,
    "adam": adam,
}


class BatchOrder:
    """Which prompts each step sees: all of them, or batches of a new random order every epoch.

    An epoch is floor(P/batch) steps; the prompts left over wait for another epoch, so that all batches are of one size.
    The order of an epoch follows from (seed, epoch) alone: a resumed run need not go through the epochs before.

    >>> order = BatchOrder(prompts=5, batch=2, seed=1)
    >>> len(set(order.rows(0)) | set(order.rows(1))), BatchOrder(prompts=5, batch=None, seed=1).rows(7)
    (4, slice(None, None, None))
    """

    def __init__(self, *, prompts: int, batch: int | None, seed: int) -> None:
        self._prompts, self._batch, self._seed = prompts, batch, seed
        self._epoch = -1
        self._permutation: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def rows(self, step: int) -> Rows:
        """Prompts of the step that follows ``step`` steps."""
        if self._batch is None:
            return slice(None)
        epoch, number = divmod(step, self._prompts // self._batch)
        if epoch != self._epoch:
            self._permutation = np.random.default_rng((self._seed, epoch)).permutation(self._prompts)
            self._epoch = epoch
        return self._permutation[number * self._batch : (number + 1) * self._batch]
