"""Features of linear attention as a matrix-free operator: s = u (x) xt is a rank-one tensor.

The prediction of linear attention with merged weights W is f = s.W with s_{ij} = u_i xt_j (SG section II).
With U the (P, D+1) contexts and X the (P, D) queries, the P x n feature matrix S, n = D(D+1), acts by

    S W    = rowsum((U W) * X)            S^T r  = U^T (r * X)
    S S^T  = (U U^T) * (X X^T)            (1/P) sum_mu s_ij^2 = ((U*U)^T (X*X))_ij / P

(* entrywise), so that neither S nor S^T S is ever stored. The last column of s is zero, because the query's label is
masked: W here has shape (D+1, D), the active spins only. vec(W) is W.ravel(), row by row. Contexts (P, D) are those of
a layer without last row: W is then (D, D), and n = D^2.

Every product runs over the prompts a block at a time. A block and its temporaries stay in the cache, and S^T S W needs
one pass over the data instead of two: two matrix products of P D^2 multiplications each, and little else. Blocks are
given to threads of our own (`numerics.running.blas`). What is a block, and the order of the sum over them, do not
depend on how many there are: nor do the bits of the result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from iclglass.numerics.errors import ParameterError
from iclglass.numerics.running.blas import own_threads

__all__ = ["FeatureOperator", "zero_modes"]

FloatArray = NDArray[np.float64]
_Block = Callable[[slice, FloatArray, FloatArray, FloatArray, FloatArray], None]

_BLOCK_ELEMENTS = 1 << 16
"""Entries of a block's temporary, 512 kB: within 6 % of the best for D = 20 .. 200, on one core."""

_LEAST_BLOCK = 256
"""Prompts in a block at the least: below it the products with W run at less than 80 % of their speed (D = 200)."""

_GRAM_ROWS = 256
"""Rows in a block of S S^T."""

_WORTH_A_THREAD = 1 << 21
"""Multiplications with W for each thread beside the first: 0.1 to 0.2 ms, a few times what it takes to wake it."""


@dataclass(frozen=True, eq=False)
class FeatureOperator:
    """The feature matrix S of P prompts, applied without being stored; O(P D) memory for the data, O(D^2) beside it.

    context : (P, D+1), U.    query : (P, D), X.
    precision : arithmetic of the products within a block, by default that of the data. Sums over blocks, and
        what is returned, are double whatever it is.
    squared : whether it is the operator of the squared features, s_{ij}^2 = u_i^2 xt_j^2.

    Weights may be a stack (K, D+1, D) and residuals (K, P): K products for one pass over the data.

    >>> operator = FeatureOperator(np.array([[1.0, 2.0, 3.0]]), np.array([[5.0, 7.0]]))
    >>> operator.dense()
    array([[ 5.,  7., 10., 14., 15., 21.]])
    >>> operator.predict(np.ones((3, 2)))
    array([72.])
    """

    context: FloatArray
    query: FloatArray
    precision: DTypeLike | None = None
    squared: bool = False

    def __post_init__(self) -> None:
        prompts, dimension = self.query.shape if self.query.ndim == 2 else (-1, -1)
        if self.context.shape not in ((prompts, dimension + 1), (prompts, dimension)):
            raise ParameterError(
                f"context must have shape (P, D+1), or (P, D), and query (P, D), got {self.context.shape} and "
                f"{self.query.shape}"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """(P, n), the shape of S."""
        return self.query.shape[0], self.context.shape[1] * self.query.shape[1]

    @property
    def weight_shape(self) -> tuple[int, int]:
        """(D+1, D), the shape of W; (D, D) without last row."""
        return self.context.shape[1], self.query.shape[1]

    @property
    def arithmetic(self) -> np.dtype[Any]:
        """The type the products within a block are taken in."""
        return np.dtype(self.query.dtype if self.precision is None else self.precision)

    def in_double(self) -> FeatureOperator:
        """The same operator with every product in double precision; single data are converted block by block."""
        return replace(self, precision=np.float64)

    def squares(self) -> FeatureOperator:
        """The operator of the squared features, (S*S)_{mu, ij} = u_i^2 xt_j^2; squares are taken block by block."""
        if self.squared:
            raise ParameterError("the operator is of squared features already")
        return replace(self, squared=True)

    def predict(self, weights: FloatArray) -> FloatArray:
        """S W, shape (P,) or (K, P): the predictions for all prompts. weights: (D+1, D) or (K, D+1, D)."""
        columns, stacked = self._columns(weights)
        result = np.empty((columns.shape[1] // self.query.shape[1], self.shape[0]))

        def block(part: slice, context: FloatArray, query: FloatArray, products: FloatArray, _: FloatArray) -> None:
            result[:, part] = _predicted(context, query, columns, products).T

        self._over_blocks(block, result.shape[0])
        return result if stacked else result[0]

    def adjoint(self, residual: FloatArray) -> FloatArray:
        """S^T r, shape (D+1, D) or (K, D+1, D). residual: (P,) or (K, P)."""
        stacked = self._check("residual", residual, self.shape[:1])
        residuals = np.asarray(residual).reshape(-1, self.shape[0]).astype(self.arithmetic, copy=False)

        def block(part: slice, context: FloatArray, query: FloatArray, products: FloatArray, image: FloatArray) -> None:
            np.matmul(context.T, _scaled(query, residuals[:, part].T, products), out=image)

        total = np.zeros((self.context.shape[1], residuals.shape[0] * self.query.shape[1]))
        return self._weights(self._over_blocks(block, residuals.shape[0], total), stacked)

    def normal(self, weights: FloatArray) -> FloatArray:
        """S^T S W in one pass over the prompts, of the shape of the weights: (D+1, D) or (K, D+1, D).

        >>> operator = FeatureOperator(np.array([[1.0, 2.0, 3.0]]), np.array([[5.0, 7.0]]))
        >>> operator.normal(np.ones((3, 2))).ravel() @ np.ones(6) == 72.0**2
        np.True_
        """
        columns, stacked = self._columns(weights)

        def block(_: slice, context: FloatArray, query: FloatArray, products: FloatArray, image: FloatArray) -> None:
            prediction = _predicted(context, query, columns, products)
            np.matmul(context.T, _scaled(query, prediction, products), out=image)

        total = np.zeros(columns.shape)
        return self._weights(self._over_blocks(block, columns.shape[1] // self.query.shape[1], total), stacked)

    def gram(self) -> FloatArray:
        """S S^T, shape (P, P): overlaps of the prompts' features."""
        context, query = self._part(slice(None))
        prompts, dimension = self.query.shape
        blocks = -(-prompts // _GRAM_ROWS)
        product = np.empty((prompts, prompts), self.arithmetic)

        def compute(index: int, _: None) -> None:
            start = (blocks - 1 - index) * _GRAM_ROWS  # the longest rows first: little is left for the last thread
            stop = min(start + _GRAM_ROWS, prompts)
            rows = product[start:stop, :stop]
            np.matmul(context[start:stop], context[:stop].T, out=rows)
            rows *= query[start:stop] @ query[:stop].T
            product[:start, start:stop] = rows[:, :start].T

        with own_threads() as team:
            threads = 1 + prompts**2 * dimension // _WORTH_A_THREAD
            team.in_order(blocks, compute, lambda _: None, lambda: None, threads)
        return product

    def diagonal(self) -> FloatArray:
        """Mean of s_ij^2 over the prompts, shape (D+1, D): the diagonal of S^T S/P."""

        def block(_: slice, context: FloatArray, query: FloatArray, products: FloatArray, image: FloatArray) -> None:
            np.matmul(np.square(context).T, np.square(query, out=products), out=image)

        return self._over_blocks(block, 1, np.zeros(self.weight_shape)) / self.shape[0]

    def second_moments(self) -> tuple[FloatArray, FloatArray]:
        """Means of u u^T, (D+1, D+1), and of xt xt^T, (D, D), over the prompts."""
        rows, dimension = self.weight_shape

        def block(_: slice, context: FloatArray, query: FloatArray, products: FloatArray, image: FloatArray) -> None:
            np.matmul(context.T, context, out=image[:rows, :rows])
            np.matmul(query.T, query, out=image[rows:, :dimension])

        total = self._over_blocks(block, 1, np.zeros((rows + dimension, rows))) / self.shape[0]
        return total[:rows], total[rows:, :dimension]

    def dense(self) -> FloatArray:
        """S itself, shape (P, n): the slow obvious version, for small n."""
        context, query = self._part(slice(None))
        outer: FloatArray = np.einsum("pi,pj->pij", context, query)
        return outer.reshape(self.shape)

    def _over_blocks(self, block: _Block, count: int, total: FloatArray | None = None) -> FloatArray:
        """Prompts a block at a time on own threads: block(which, U, X, room, image), images added to total in order.

        The room takes count numbers for each query's entry, (block, count D). It is the same for all blocks of a
        thread: memory fresh from the system costs more than the products of entries.
        """
        prompts, dimension = self.query.shape
        # Squares need room for U and X as well.
        elements = _BLOCK_ELEMENTS // 3 if self.squared else _BLOCK_ELEMENTS
        step = max(1, min(prompts, max(_LEAST_BLOCK, elements // (dimension * count))))
        total = np.empty((0, 0)) if total is None else total

        def room() -> tuple[FloatArray, FloatArray]:
            return np.empty((step, count * dimension), self.arithmetic), np.zeros(total.shape, self.arithmetic)

        def compute(index: int, room: tuple[FloatArray, FloatArray]) -> None:
            part = slice(index * step, min((index + 1) * step, prompts))
            context, query = self._part(part)
            block(part, context, query, room[0][: query.shape[0]], room[1])

        def add(room: tuple[FloatArray, FloatArray]) -> None:
            np.add(total, room[1], out=total)

        with own_threads() as team:
            threads = 1 + prompts * dimension**2 * count // _WORTH_A_THREAD
            team.in_order(-(-prompts // step), compute, add, room, threads)
        return total

    def _part(self, part: slice) -> tuple[FloatArray, FloatArray]:
        """U and X of some prompts, or their squares, in the operator's arithmetic."""
        context = self.context[part].astype(self.arithmetic, copy=False)
        query = self.query[part].astype(self.arithmetic, copy=False)
        return (np.square(context), np.square(query)) if self.squared else (context, query)

    def _columns(self, weights: FloatArray) -> tuple[FloatArray, bool]:
        """Weights side by side, (D+1, K D), so that all K are one matrix product; and whether they came as a stack."""
        stacked = self._check("weights", weights, self.weight_shape)
        stack = np.asarray(weights, dtype=self.arithmetic).reshape(-1, *self.weight_shape)
        return np.ascontiguousarray(stack.transpose(1, 0, 2)).reshape(self.weight_shape[0], -1), stacked

    def _weights(self, columns: FloatArray, stacked: bool) -> FloatArray:
        if not stacked:
            return columns
        rows, dimension = self.weight_shape
        return np.ascontiguousarray(columns.reshape(rows, -1, dimension).transpose(1, 0, 2))

    @staticmethod
    def _check(name: str, value: FloatArray, shape: tuple[int, ...]) -> bool:
        """Whether the value is a stack of the shape wanted. Another shape is refused: it might broadcast silently."""
        found = np.shape(value)
        if found == shape:
            return False
        if found[1:] != shape:
            raise ParameterError(f"{name} must have shape {shape}, or (K, ...) for K of them, got {found}")
        return True


def zero_modes(shape: tuple[int, int], ridge0: float) -> str:
    """What leaves zero modes, for (P, n): no ridge and fewer prompts than spins, in words; "" where there are none.

    >>> zero_modes((5, 6), 0.0), zero_modes((5, 6), 0.1)
    ('ridge0 = 0 with 5 prompts and 6 spins', '')
    """
    prompts, spins = shape
    return f"ridge0 = 0 with {prompts} prompts and {spins} spins" if ridge0 == 0 and prompts < spins else ""


def _predicted(context: FloatArray, query: FloatArray, columns: FloatArray, products: FloatArray) -> FloatArray:
    """Predictions of a block, (block, K), for weights side by side, (D+1, K D); overwrites products."""
    np.matmul(context, columns, out=products)
    prediction: FloatArray = np.einsum("pkd,pd->pk", products.reshape(query.shape[0], -1, query.shape[1]), query)
    return prediction


def _scaled(query: FloatArray, factors: FloatArray, products: FloatArray) -> FloatArray:
    """Queries times one factor a prompt and column, (block, K D), from (block, D) and (block, K); into products."""
    np.multiply(query[:, None, :], factors[:, :, None], out=products.reshape(*factors.shape, query.shape[1]))
    return products
