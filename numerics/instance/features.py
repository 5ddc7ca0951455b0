"""Features of linear attention as a matrix-free operator: s = u (x) xt is a rank-one tensor.

The prediction of linear attention with merged weights W is f = s.W with s_{ij} = u_i xt_j (SG section II).
With U the (P, D+1) contexts and X the (P, D) queries, the P x n feature matrix S, n = D(D+1), acts by

    S W    = rowsum((U W) * X)            S^T r  = U^T (r * X)
    S S^T  = (U U^T) * (X X^T)            (1/P) sum_mu s_ij^2 = ((U*U)^T (X*X))_ij / P

(* entrywise), so that neither S nor S^T S is ever stored. The last column of s is zero, because the query's
label is
masked: W here has shape (D+1, D), the active spins only. vec(W) is W.ravel(), row by row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from numerics.errors import ParameterError

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

__all__ = ["FeatureOperator"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FeatureOperator:
    """The feature matrix S of P prompts, applied without being stored; memory O(P D).

    context : (P, D+1), U.    query : (P, D), X.

    >>> operator = FeatureOperator(np.array([[1.0, 2.0, 3.0]]), np.array([[5.0, 7.0]]))
    >>> operator.dense()
    array([[ 5.,  7., 10., 14., 15., 21.]])
    >>> operator.predict(np.ones((3, 2)))
    array([72.])
    """

    context: FloatArray
    query: FloatArray

    def __post_init__(self) -> None:
        if self.query.ndim != 2 or self.context.shape != (self.query.shape[0], self.query.shape[1] + 1):
            raise ParameterError(
                f"context must have shape (P, D+1) and query (P, D), got {self.context.shape} and {self.query.shape}"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """(P, n), the shape of S."""
        return self.query.shape[0], self.context.shape[1] * self.query.shape[1]

    @property
    def weight_shape(self) -> tuple[int, int]:
        """(D+1, D), the shape of W."""
        return self.context.shape[1], self.query.shape[1]

    def predict(self, weights: FloatArray) -> FloatArray:
        """S W, shape (P,): the predictions for all prompts. weights: (D+1, D)."""
        self._check("weights", weights, self.weight_shape)
        product: FloatArray = np.einsum("pd,pd->p", self.context @ weights, self.query)
        return product

    def adjoint(self, residual: FloatArray) -> FloatArray:
        """S^T r, shape (D+1, D). residual: (P,)."""
        self._check("residual", residual, self.shape[:1])
        product: FloatArray = self.context.T @ (residual[:, None] * self.query)
        return product

    def gram(self) -> FloatArray:
        """S S^T, shape (P, P): overlaps of the prompts' features."""
        product: FloatArray = self.context @ self.context.T
        product *= self.query @ self.query.T
        return product

    def diagonal(self) -> FloatArray:
        """Mean of s_ij^2 over the prompts, shape (D+1, D): the diagonal of S^T S/P."""
        product: FloatArray = (self.context**2).T @ self.query**2
        product /= self.shape[0]
        return product

    def dense(self) -> FloatArray:
        """S itself, shape (P, n): the slow obvious version, for small n."""
        outer: FloatArray = np.einsum("pi,pj->pij", self.context, self.query)
        return outer.reshape(self.shape)

    def as_linear_operator(self) -> LinearOperator[np.float64]:
        """S as a SciPy operator on vec(W), for Krylov solvers."""
        from scipy.sparse.linalg import LinearOperator  # here: the operator itself needs numpy only

        return LinearOperator(
            shape=self.shape,
            dtype=np.float64,
            matvec=lambda vector: self.predict(np.reshape(vector, self.weight_shape)),
            rmatvec=lambda residual: self.adjoint(np.ravel(residual)).ravel(),
        )

    @staticmethod
    def _check(name: str, value: FloatArray, shape: tuple[int, ...]) -> None:
        # without it a (P, 1) residual would broadcast to (P, P) silently
        if np.shape(value) != shape:
            raise ParameterError(f"{name} must have shape {shape}, got {np.shape(value)}")
