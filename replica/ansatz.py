r"""Replica-symmetric matrices for a symbolic number of replicas n, and those of one step of breaking.

A replica-symmetric matrix is ``excess * identity + uniform * ones``: uniform off the diagonal, excess + uniform
on it. On the n - 1 vectors orthogonal to (1, ..., 1) it acts as ``excess``, on (1, ..., 1) as
``excess + n uniform``. The algebra is closed under sum, product and inverse, for every n. Tests compare every
operation with explicit matrices at n = 1 .. 5.
"""

from dataclasses import dataclass

import sympy as sp

from iclglass.replica.guarded_limit import value_at_zero

__all__ = ["OneStepMatrix", "ReplicaSymmetric", "replica_limit"]


@dataclass(frozen=True)
class ReplicaSymmetric:
    """excess * identity + uniform * ones, n x n.

    Examples
    --------
    >>> n, d, u = sp.symbols("n d u")
    >>> ReplicaSymmetric(d, u, n).determinant()
    d**(n - 1)*(d + n*u)
    >>> ReplicaSymmetric(d, u, sp.Integer(2)).explicit()
    Matrix([
    [d + u,     u],
    [    u, d + u]])
    """

    excess: sp.Expr
    uniform: sp.Expr
    n: sp.Expr

    @property
    def uniform_eigenvalue(self) -> sp.Expr:
        """Eigenvalue on (1, ..., 1)."""
        return self.excess + self.n * self.uniform

    def determinant(self) -> sp.Expr:
        """excess^(n-1) (excess + n uniform)."""
        return self.excess ** (self.n - 1) * self.uniform_eigenvalue

    def log_determinant(self) -> sp.Expr:
        """(n - 1) ln excess + ln(excess + n uniform)."""
        return (self.n - 1) * sp.log(self.excess) + sp.log(self.uniform_eigenvalue)

    def inverse(self) -> "ReplicaSymmetric":
        """Inverse, replica symmetric again."""
        return ReplicaSymmetric(1 / self.excess, -self.uniform / (self.excess * self.uniform_eigenvalue), self.n)

    def __add__(self, other: "ReplicaSymmetric") -> "ReplicaSymmetric":
        return ReplicaSymmetric(self.excess + other.excess, self.uniform + other.uniform, self.n)

    def __matmul__(self, other: "ReplicaSymmetric") -> "ReplicaSymmetric":
        uniform = self.excess * other.uniform + self.uniform * other.excess + self.n * self.uniform * other.uniform
        return ReplicaSymmetric(self.excess * other.excess, uniform, self.n)

    def sum_of_entries(self) -> sp.Expr:
        """Quadratic form of (1, ..., 1)."""
        return self.n * self.uniform_eigenvalue

    def trace(self) -> sp.Expr:
        """Trace."""
        return self.n * (self.excess + self.uniform)

    def explicit(self) -> sp.Matrix:
        """The matrix itself, when n is a number."""
        size = int(self.n)
        return self.excess * sp.eye(size) + self.uniform * sp.ones(size, size)


@dataclass(frozen=True)
class OneStepMatrix:
    """excess * identity + within * (ones in the blocks of one cluster) + between * ones, n x n, clusters of x replicas.

    Examples
    --------
    >>> n, x, d, u, v = sp.symbols("n x d u v")
    >>> OneStepMatrix(d, u, v, sp.Integer(2), sp.Integer(4)).explicit()
    Matrix([
    [d + u + v,     u + v,         v,         v],
    [    u + v, d + u + v,         v,         v],
    [        v,         v, d + u + v,     u + v],
    [        v,         v,     u + v, d + u + v]])
    """

    excess: sp.Expr
    within: sp.Expr
    between: sp.Expr
    x: sp.Expr
    n: sp.Expr

    def __matmul__(self, other: "OneStepMatrix") -> "OneStepMatrix":
        within = self.excess * other.within + self.within * other.excess + self.x * self.within * other.within
        between = self._row() * other.between + self.between * other._row() + self.n * self.between * other.between
        return OneStepMatrix(self.excess * other.excess, within, between, self.x, self.n)

    def _row(self) -> sp.Expr:
        """Sum of a row within its cluster, without what all have in common."""
        return self.excess + self.x * self.within

    def sum_of_entries(self) -> sp.Expr:
        """Quadratic form of (1, ..., 1)."""
        return self.n * (self._row() + self.n * self.between)

    def trace(self) -> sp.Expr:
        """Trace."""
        return self.n * (self.excess + self.within + self.between)

    def explicit(self) -> sp.Matrix:
        """The matrix itself, when x and n are numbers."""
        size, block = int(self.n), int(self.x)
        blocks = sp.diag(*([sp.ones(block, block)] * (size // block)))
        return self.excess * sp.eye(size) + self.within * blocks + self.between * sp.ones(size, size)


def replica_limit(expression: sp.Expr, n: sp.Symbol) -> sp.Expr:
    """Coefficient of n as n -> 0 of an expression that vanishes there: lim expression/n.

    Raises
    ------
    ValueError
        The expression does not vanish at n = 0, so the limit does not exist.

    Examples
    --------
    >>> n, d, u = sp.symbols("n d u", positive=True)
    >>> replica_limit(ReplicaSymmetric(d, u, n).log_determinant(), n)
    log(d) + u/d
    """
    at_zero = sp.simplify(value_at_zero(expression, n))
    if at_zero != 0:
        raise ValueError(f"the expression is {at_zero} at n = 0, not 0: lim expression/n does not exist")
    return sp.expand(value_at_zero(sp.diff(expression, n), n))
