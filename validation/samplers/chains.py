"""What all Markov chains share: their state, the accept step, the loop, and the record of what was visited."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.running.blas import own_threads
from iclglass.validation.samplers.target import Target

__all__ = ["OBSERVABLES", "Gradients", "State", "Trace", "Transition", "accepted", "choose", "run_chains"]

FloatArray = NDArray[np.float64]

OBSERVABLES = ("energy", "m", "q_self", "norm")
"""Recorded at every draw: H, Tr W/D, |W|^2/D over the block, and |W|^2 over all active spins."""


@dataclass(frozen=True, eq=False)
class State:
    """Where the chains are.

    positions : (chains, n).    energies : (chains,), H.    acceptance : (chains,), 1 where the last step was taken.
    carried : what the next step needs and the last one knew: the gradients (chains, n), or the residuals of the prompts
        (chains, P) for the matrix-free heat bath.
    """

    positions: FloatArray
    carried: FloatArray
    energies: FloatArray
    acceptance: FloatArray


@dataclass(frozen=True, eq=False)
class Gradients:
    """Of the transitions whose state carries the gradients of H."""

    target: Target

    def start(self, positions: FloatArray) -> State:
        """The state at the given positions, (chains, n)."""
        gradients = self.target.gradient(positions)
        return State(positions, gradients, self.target.energy(positions, gradients), np.ones(positions.shape[0]))


class Transition(Protocol):
    """One step of all chains."""

    def start(self, positions: FloatArray) -> State:
        """The state at the given positions."""

    def advance(self, state: State, rng: np.random.Generator) -> State:
        """The state after one step."""


class Trace:
    """Draws of several chains: the observables always, (chains, draws); the weights, (chains, draws, n), if asked."""

    def __init__(self, chains: int, draws: int, weight_shape: tuple[int, int], *, keep_weights: bool) -> None:
        self.observables = {name: np.empty((chains, draws)) for name in OBSERVABLES}
        rows, dimension = weight_shape
        self.weights = np.empty((chains, draws, rows * dimension)) if keep_weights else None
        self._dimension = dimension

    def record(self, draw: slice, positions: FloatArray, energies: FloatArray) -> None:
        """Put down some draws: positions (chains, count, n), energies (chains, count)."""
        size = self._dimension
        block = positions[..., : size * size]
        self.observables["energy"][:, draw] = energies
        self.observables["m"][:, draw] = block[..., :: size + 1].sum(axis=-1) / size
        self.observables["q_self"][:, draw] = np.einsum("cdn,cdn->cd", block, block) / size
        self.observables["norm"][:, draw] = np.einsum("cdn,cdn->cd", positions, positions)
        if self.weights is not None:
            self.weights[:, draw] = positions


def accepted(change: FloatArray, beta: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """The Metropolis rule: whether each chain takes a step that changes its energy by `change`, (chains,).

    >>> accepted(np.array([-1.0, 1e9]), 1.0, np.random.default_rng(1)).tolist()
    [True, False]
    """
    uniform = rng.random(change.shape)
    # 1 - u lies in (0, 1]: its logarithm is finite. An energy that overflowed compares as False.
    result: NDArray[np.bool_] = -beta * change >= np.log1p(-uniform)
    return result


def choose(taken: NDArray[np.bool_], new: State, old: State) -> State:
    """The new state in the chains that take the step, the old one in the others."""
    column = taken[:, None]
    return State(
        np.where(column, new.positions, old.positions),
        np.where(column, new.carried, old.carried),
        np.where(taken, new.energies, old.energies),
        taken.astype(np.float64),
    )


@own_threads()
def run_chains(
    transition: Transition,
    positions: FloatArray,
    trace: Trace,
    *,
    warmup: int,
    draws: int,
    thin: int = 1,
    rng: np.random.Generator,
    progress: Callable[[int, int], None] | None = None,
) -> FloatArray:
    """Run all chains from positions (chains, n); every thin-th state goes to the trace.

    Returns their acceptance after the warm-up, (chains,).
    """
    state = transition.start(positions)
    total = np.zeros(positions.shape[0])
    steps = warmup + draws * thin
    for index in range(1, steps + 1):
        state = transition.advance(state, rng)
        if index > warmup:
            total += state.acceptance
            draw, rest = divmod(index - warmup, thin)
            if rest == 0:
                trace.record(slice(draw - 1, draw), state.positions[:, None, :], state.energies[:, None])
        if progress is not None:
            progress(index, steps)
    return total / (draws * thin)
