r"""Spins' side of the nuclear norm at D -> infinity: what the weights as one matrix do under (K, M, Q).

The equations are those of `replica.theories.matrix`: averages over one law of singular values in a parameter eta,
from the threshold (or the lower edge) to the upper edge. Nodes are those of the double-exponential rule: they need not
know whether the density ends like a square root, like x^{1/3} (at M = sqrt(Q)), or almost so.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from iclglass.numerics.generated_numpy import singular_value_edges, singular_value_law

__all__ = ["MatrixSpins", "nuclear_spin_side", "squared_response"]

Array = NDArray[np.float64]

_HALF, _REACH = 36, 3.2
"""Nodes to each side, of which every second gives the error estimate; the last weight is below 1e-15."""
_CHUNK = 2_000_000
"""Numbers in one array of `squared_response`."""
_NO_SIGNAL = 1e-100
"""Least M/sqrt(Q); below it the law is the quarter circle."""
_LAST_BITS = 4e-16
_ROUNDING = 1e-14
"""Rounding of the averages; the divergence cancels M/sqrt(Q) times as much, twice."""


def _double_exponential() -> tuple[Array, Array, Array]:
    """Nodes in (0, 1) as distances from 0 and from 1, both without cancellation, and weights (Takahasi and Mori)."""
    step = _REACH / _HALF
    k = step * np.arange(-_HALF, _HALF + 1)
    inner = np.pi * np.sinh(k)
    share = 1 / (1 + np.exp(-inner))
    return share, share[::-1], step * np.pi * np.cosh(k) * share * share[::-1]


_SHARE, _REST, _WEIGHT = _double_exponential()


@dataclass(frozen=True)
class MatrixSpins:
    """What the weights do.

    Attributes
    ----------
    m, q, chi
        Tr W/D, |W|^2/D, and the divergence of W by the field per spin.
    rank
        Share of singular values that are not zero.
    penalty
        nuclear |W|_*/D + ridge |W|^2/(2 D), per spin.
    free
        Least of penalty + K |W|^2/(2 D) - Tr h^T W/D: its slopes by M, K and Q are -m, q/2 and -chi/2.
    error
        Bound on the errors of m/s, q/s^2 and chi (K + ridge), s = sqrt(Q)/(K + ridge), and of rank.
    """

    m: Array
    q: Array
    chi: Array
    rank: Array
    penalty: Array
    free: Array
    error: Array


def nuclear_spin_side(
    K: ArrayLike, M: ArrayLike, Q: ArrayLike, nuclear: ArrayLike, ridge: ArrayLike = 0.0
) -> MatrixSpins:
    r"""The weights under precision K, signal M on the diagonal and noise of variance Q, elementwise.

    Equation: W minimises nuclear |W|_*/D + (K + ridge) |W|^2/(2 D) - Tr h^T W/D, h = M 1 + sqrt(Q) Z. Source: this
    project, `replica.theories.matrix`. Where the threshold is above all singular values W = 0, and so are all results.

    Parameters
    ----------
    K, M, Q
        From the prompts: K + ridge > 0, M > 0, Q > 0. They broadcast.
    nuclear, ridge
        Strengths nu = D nu_0 and lam = D lambda0, >= 0.

    Returns
    -------
    MatrixSpins
        Arrays of the common shape.

    Examples
    --------
    >>> spins = nuclear_spin_side(1.0, 1.0, 1.0, nuclear=0.5)
    >>> f"{spins.m:.9f} {spins.chi:.9f} {spins.rank:.9f}"
    '0.642174057 0.739702597 0.839942472'
    """
    problem = _Problem.of(K, M, Q, nuclear, ridge)
    law = problem.law(_SHARE, _REST, problem.start, problem.high)
    f = np.maximum(law.x - problem.threshold, 0)
    integrands = (f * law.overlap, f * f, f * law.divergence, np.ones_like(f), f)
    weights = law.density * law.slope * (problem.high - problem.start)
    averages = [np.tensordot(_WEIGHT, weights * values, 1) for values in integrands]
    halves = [np.tensordot(2 * _WEIGHT[::2], (weights * values)[::2], 1) for values in integrands]
    rounding = _ROUNDING * (1 + problem.ratio**2)
    error = np.max([np.abs(one - two) for one, two in zip(averages, halves, strict=True)], axis=0) + rounding
    m, q, divergence, rank, norm = averages
    scale, stiffness = problem.scale, problem.stiffness
    q = scale**2 * q
    penalty = problem.nuclear * scale * norm + problem.ridge * q / 2
    return MatrixSpins(scale * m, q, divergence / stiffness, rank, penalty, -stiffness * q / 2, error)


def squared_response(K: ArrayLike, M: ArrayLike, Q: ArrayLike, nuclear: ArrayLike, ridge: ArrayLike = 0.0) -> Array:
    r"""Sum of squares of dW_ij/dh_kl per spin: what E[(ds/dh)^2] of independent spins becomes in the replicon.

    Equation: the Jacobian of a function of the singular values has the eigenvalues (f(x) -+ f(y))/(x -+ y) for each
    pair; half the sum of their squares is averaged over both. Its plain sum is the divergence. Source: this project.

    Parameters, shapes as in `nuclear_spin_side`.

    Examples
    --------
    >>> float(squared_response(2.0, 1.0, 1.0, nuclear=0.0).round(9))
    0.25
    """
    problem = _Problem.of(K, M, Q, nuclear, ridge)
    result = np.empty(problem.ratio.size)
    rows = max(1, _CHUNK // _SHARE.size**2)
    for first in range(0, result.size, rows):
        part = problem.part(slice(first, first + rows))
        result[first : first + rows] = part.pairs() / part.stiffness**2
    return result.reshape(problem.ratio.shape)


@dataclass(frozen=True)
class _Law:
    """The law at nodes, in the first axis."""

    x: Array
    slope: Array
    overlap: Array
    divergence: Array
    density: Array


@dataclass(frozen=True)
class _Problem:
    """Scaled to noise of variance 1."""

    stiffness: Array
    scale: Array
    ratio: Array
    threshold: Array
    nuclear: Array
    ridge: Array
    low: Array
    high: Array
    start: Array

    @classmethod
    def of(cls, K: ArrayLike, M: ArrayLike, Q: ArrayLike, nuclear: ArrayLike, ridge: ArrayLike) -> "_Problem":
        precision, signal, variance, nuclear, ridge = np.broadcast_arrays(
            *(np.asarray(value, dtype=np.float64) for value in (K, M, Q, nuclear, ridge))
        )
        stiffness, noise = precision + ridge, np.sqrt(variance)
        ratio, threshold = np.maximum(signal / noise, _NO_SIGNAL), nuclear / noise
        low, high = singular_value_edges(ratio)
        return cls(
            stiffness,
            noise / stiffness,
            ratio,
            threshold,
            nuclear,
            ridge,
            low,
            high,
            _crossing(ratio, threshold, low, high),
        )

    def part(self, rows: slice) -> "_Problem":
        return _Problem(*(getattr(self, name).reshape(-1)[rows] for name in self.__dataclass_fields__))

    def law(self, share: Array, rest: Array, start: Array, end: Array) -> _Law:
        """At the nodes start + share (end - start), in a new first axis."""
        ahead = (slice(None), *(None,) * self.ratio.ndim)
        eta = np.where(share[ahead] < 0.5, start + share[ahead] * (end - start), end - rest[ahead] * (end - start))
        return _Law(*singular_value_law(eta, self.high, self.ratio))

    def pairs(self) -> Array:
        """Half the squares of both eigenvalues, averaged over pairs above the threshold, and over mixed ones."""
        above = self.law(_SHARE, _REST, self.start, self.high)
        below = self.law(_SHARE, _REST, self.low, self.start)
        weight_above = _WEIGHT[:, None] * above.density * above.slope * (self.high - self.start)
        weight_below = _WEIGHT[:, None] * below.density * below.slope * (self.start - self.low)
        one, other, under = above.x[:, None], above.x[None], below.x[None]
        f, short = np.maximum(one - self.threshold, 0), np.maximum(self.threshold - under, 0)
        both = (1 + (1 - _ratio(2 * self.threshold, one + other)) ** 2) / 2
        mixed = _ratio(f, f + short) ** 2 + _ratio(f, one + under) ** 2
        return np.asarray(
            np.einsum("ip,ijp,jp->p", weight_above, both, weight_above)
            + np.einsum("ip,ijp,jp->p", weight_above, mixed, weight_below)
        )


def _ratio(above: Array, below: Array) -> Array:
    """Where both round to 0, at nodes of weight 0, it is 0."""
    return np.asarray(above / np.where(below > 0, below, np.inf))


def _crossing(ratio: Array, threshold: Array, low: Array, high: Array) -> Array:
    """eta at the threshold, or the edge next to it: Newton's steps, inside a bracket that is halved otherwise."""
    left, right, eta = np.array(low), np.array(high), (low + high) / 2
    for _ in range(60):
        x, slope = singular_value_law(eta, high, ratio)[:2]
        left, right = np.where(x > threshold, left, eta), np.where(x > threshold, eta, right)
        target = eta - (x - threshold) / slope
        target = np.where((target > left) & (target < right), target, (left + right) / 2)
        moved, eta = np.abs(target - eta), target
        if not np.any(moved > _LAST_BITS * high):
            break
    return np.asarray(eta)
