r"""Heat bath: spin after spin is drawn from its law given all the others, a sweep is one step.

Given the others, sigma_i is Gaussian with mean (h_i - sum_{j != i} A_ij sigma_j)/A_ii and variance 1/(beta A_ii). Drawn
in order, with independent standard normal xi_i, a sweep solves (Goodman and Sokal 1989)

    (L + d) (sigma' - sigma) = -(A sigma - h) + sqrt(d/beta) xi,      L strictly lower part of A, d its diagonal

so that spin by spin is one triangular solve for all chains. The same holds for the spins of one row of W, the others
fixed: without A in memory a sweep goes through the D + 1 rows, each with its D x D triangle of A, O(P D^2) operations
for each chain and sweep, O(P D + D^3) memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from iclglass.numerics.running.blas import own_threads
from iclglass.validation.samplers.chains import Gradients, State
from iclglass.validation.samplers.target import Target

__all__ = ["DenseHeatBath", "RowHeatBath", "heat_bath"]

FloatArray = NDArray[np.float64]

_BLOCK_ELEMENTS = 1 << 16
"""Entries of the queries of one block of prompts, 512 kB."""
_WORTH_A_THREAD = 1 << 19
"""Entries of all queries for each thread beside the first: half a millisecond, for a few chains."""


def heat_bath(target: Target) -> DenseHeatBath | RowHeatBath:
    """The transition, by A where it is in memory, else row by row."""
    if target.matrix is None:
        return RowHeatBath(target, _row_triangles(target))
    return DenseHeatBath(target, target.matrix)


@dataclass(frozen=True, eq=False)
class DenseHeatBath(Gradients):
    """Sweeps with A in memory, (n, n)."""

    matrix: FloatArray

    def advance(self, state: State, rng: np.random.Generator) -> State:
        """One sweep; every spin is drawn anew, so that nothing is ever rejected."""
        noise = rng.standard_normal(state.positions.shape)
        return self.start(state.positions + _sweep(self.matrix, state.carried, noise, self.target.beta))


@dataclass(frozen=True, eq=False)
class RowHeatBath:
    """Sweeps without A; triangles: (D+1, D, D), A within each row of W. The state carries S sigma - y, (chains, P)."""

    target: Target
    triangles: FloatArray

    def start(self, positions: FloatArray) -> State:
        """The state at the given positions, (chains, n)."""
        features = self.target.instance.features.in_double()
        predictions = features.predict(positions.reshape(-1, *features.weight_shape))
        return self._state(positions, predictions - self.target.instance.label)

    def advance(self, state: State, rng: np.random.Generator) -> State:
        """One sweep over the rows, within each spin by spin."""
        instance, ridge0 = self.target.instance, self.target.ridge0
        size = instance.dimension
        positions, residuals = state.positions.copy(), state.carried.copy()
        noise = rng.standard_normal(positions.shape)
        change = np.zeros((positions.shape[0], size))
        for row, triangle in enumerate(self.triangles):
            part = slice(row * size, (row + 1) * size)
            gradients = self._row(row, change, residuals) / instance.prompts + ridge0 * positions[:, part]
            change = _sweep(triangle, gradients, noise[:, part], self.target.beta)
            positions[:, part] += change
        self._row(size + 1, change, residuals)
        return self._state(positions, residuals)

    def _row(self, row: int, change: FloatArray, residuals: FloatArray) -> FloatArray:
        """S_row^T residuals, (chains, D), in one pass over the prompts that first adds S_(row-1) change to them."""
        instance = self.target.instance
        prompts, size = instance.query.shape
        step = max(1, _BLOCK_ELEMENTS // size)
        total = np.zeros(change.shape)

        def compute(index: int, image: FloatArray) -> None:
            part = slice(index * step, (index + 1) * step)
            context, query = instance.context[part], instance.query[part].astype(np.float64, copy=False)
            if row > 0:
                residuals[:, part] += (change @ query.T) * context[:, row - 1]
            if row <= size:
                np.matmul(residuals[:, part] * context[:, row], query, out=image)

        def add(image: FloatArray) -> None:
            np.add(total, image, out=total)

        with own_threads() as team:
            threads = 1 + instance.query.size // _WORTH_A_THREAD
            team.in_order(-(-prompts // step), compute, add, lambda: np.zeros(change.shape), threads)
        return total

    def _state(self, positions: FloatArray, residuals: FloatArray) -> State:
        squares = np.einsum("cp,cp->c", residuals, residuals) / self.target.instance.prompts
        energies = (squares + self.target.ridge0 * np.einsum("cn,cn->c", positions, positions)) / 2
        return State(positions, residuals, energies, np.ones(positions.shape[0]))


def _sweep(matrix: FloatArray, gradients: FloatArray, noise: FloatArray, beta: float) -> FloatArray:
    """Change of the spins, (chains, spins): the triangular solve of the module's docstring, for all chains."""
    pushes = np.sqrt(np.diagonal(matrix) / beta) * noise - gradients
    # The upper part of A^T is the lower part of A: LAPACK then needs no copy of the C-ordered matrix.
    change: FloatArray = scipy.linalg.solve_triangular(matrix.T, pushes.T, lower=False, trans="T", check_finite=False).T
    return change


def _row_triangles(target: Target) -> FloatArray:
    """A within each row of W, (D+1, D, D): mean of u_i^2 xt xt^T, and the ridge."""
    instance = target.instance
    query = instance.query.astype(np.float64, copy=False)
    blocks = np.stack([(query * column[:, None] ** 2).T @ query for column in instance.context.astype(np.float64).T])
    blocks /= instance.prompts
    index = np.arange(instance.dimension)
    blocks[:, index, index] += target.ridge0
    return blocks
