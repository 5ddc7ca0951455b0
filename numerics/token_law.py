r"""Tokens correlated along the prompt: the law of what a context sees of its tokens.

Token k has the covariance C_kl 1 with token l, C_kl = exp(-|k - l|/length) (Letey et al. 2026; SG Fig. S4 has another
one); the query is independent. Given the task, of length t sqrt(D), and the labels y, the features are Gaussian: with
o = w/sqrt(D), z_i = (C t^2 + rho)^(-1/2) y in the eigenbasis of C, standard normal, and the three sums

    a1 = sum z_i^2,   a2 = sum c_i z_i^2,   a3 = sum c_i^2 z_i^2        (c_i the eigenvalues of C)

the block has the mean a2 o and the covariance (t^2 a3 + rho a2) 1 - a3 o o^T, and |y|^2 = t^2 a2 + rho a1. Independent
tokens: c = 1, and a1 = a2 = a3 = Z ~ chi2_N. So one law of three numbers, the same for all tasks, is all there is.
As D -> infinity only Tr C^2/N is left: an effective context length, alpha (1 + rho)/(Tr C^2/N + rho). Source: this
project, notes/others.md.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.gamma_quadrature import scalar_nodes

__all__ = ["ContextNodes", "context_nodes", "correlated_moments", "noise_moments", "squared_trace", "token_matrix"]

Array = NDArray[np.float64]

_DRAWS, _CHUNK = 1 << 15, 1 << 22
_LAYERS = (14, 4)
"""Nodes in a2, and for each of them in a3."""


@dataclass(frozen=True, eq=False)
class ContextNodes:
    """Nodes of (a1, a2, a3), each (nodes,), with weights of sum 1.    alike : whether the three are one."""

    weight: Array
    one: Array
    two: Array
    three: Array
    alike: bool


def token_matrix(context: int, length: float) -> Array:
    """C, (N, N); the identity at length 0.

    >>> token_matrix(2, 1.0).round(3).tolist()
    [[1.0, 0.368], [0.368, 1.0]]
    """
    if length == 0:
        return np.eye(context)
    place = np.arange(context)
    with np.errstate(over="ignore"):  # tokens a tiny length apart: exp(-inf) = 0
        matrix: Array = np.exp(-np.abs(place[:, None] - place) / length)
    return matrix


def squared_trace(context: float, length: float) -> float:
    """Tr C^2 = N + 2 sum_d (N - d) exp(-2 d/length); N at length 0.

    >>> round(squared_trace(5, 2.0) - float((token_matrix(5, 2.0) ** 2).sum()), 12)
    0.0
    """
    if length == 0:
        return float(context)
    distance = np.arange(1, int(context))
    with np.errstate(over="ignore"):
        return float(context + 2 * np.sum((context - distance) * np.exp(-2 * distance / length)))


def correlated_moments(
    size: Array, context: Array, divisor: Array, label_noise: Array, length: Array
) -> tuple[Array, Array, Array, Array]:
    """`numerics.moments.FeatureMoments` of isotropic Gaussian tasks, for tokens of this correlation.

    Isserlis' theorem: E a2 = E a1 = N, E a3 = Tr C^2, E a2^2 = N^2 + 2 Tr C^2, E a1 a2 = E a1^2 = N^2 + 2N.
    """
    square = np.vectorize(squared_trace)(context, length)
    both, noisy = context**2 + 2 * square, context**2 + 2 * context
    block: Array = size * (square + label_noise * context) + context**2 + square
    last = (1 + 2 / size) * both + label_noise * (2 + label_noise) * noisy
    return 1 + label_noise, context / divisor, block / divisor**2, last / divisor**2


def noise_moments(
    square: Array, mean: Array, *, context: int, divisor: int, label_noise: float, length: float, last_scale: float
) -> Array:
    """What label noise adds to E[u u^T] of `numerics.moments.prompt_moments`, as labels and tokens correlate otherwise.

    With d = rho (N - Tr C^2), s2 = t^2 + rho and o = w/sqrt(D), averaged over tasks: d 1 on the block, 2 d o beside it,
    d (4 s2 - 2 rho) in the corner; nothing for independent tokens.

    square, mean : averages of s2, (pools,), and of o, (pools, D).
    """
    size = mean.shape[-1]
    extra = label_noise * (context - squared_trace(context, length))
    found = np.zeros((*mean.shape[:-1], size + 1, size + 1))
    found[..., range(size), range(size)] = extra
    found[..., :size, size] = found[..., size, :size] = 2 * extra * mean * last_scale
    found[..., size, size] = extra * (4 * square - 2 * label_noise) * last_scale**2
    rows = size + (last_scale > 0)
    return found[..., :rows, :rows] / divisor**2


@lru_cache(maxsize=64)
def context_nodes(context: int, length: float, refine: int = 0) -> ContextNodes:
    """Nodes of the three sums: Gauss nodes for independent tokens, else means over strata of draws.

    Strata of a2 and within them of a3, thinner towards the tails; their means are moved linearly to the exact means and
    covariances, Cov(a_i, a_j) = 2 Tr C^(i+j-2).
    """
    if length == 0:
        labels, weight = scalar_nodes(context, refine)
        return ContextNodes(weight, labels, labels, labels, alike=True)
    values = np.clip(np.linalg.eigvalsh(token_matrix(context, length)), 0, None)
    drawn = _sums(values, context)
    layers = [count << refine for count in _LAYERS]
    strata = [part for stratum in _strata(drawn, 1, layers[0]) for part in _strata(stratum, 2, layers[1])]
    weight = np.array([len(part) for part in strata]) / len(drawn)
    found = _moved(np.array([part.mean(axis=0) for part in strata]), weight, values)
    one, two, three = found.T
    return ContextNodes(weight, one, two, three, alike=False)


def _strata(drawn: Array, column: int, count: int) -> list[Array]:
    """Draws in order of a column, in so many parts, thinner towards the ends."""
    ends = (1 - np.cos(np.pi * np.arange(1, count) / count)) / 2
    return np.split(drawn[np.argsort(drawn[:, column])], np.rint(ends * len(drawn)).astype(int))


def _sums(values: Array, context: int) -> Array:
    """Draws of (a1, a2, a3), (draws, 3)."""
    rng = np.random.default_rng([context, _DRAWS])
    powers = values[:, None] ** np.arange(3)
    step = max(1, _CHUNK // context)
    starts = range(0, _DRAWS, step)
    return np.concatenate([rng.chisquare(1, (min(step, _DRAWS - start), context)) @ powers for start in starts])


def _moved(nodes: Array, weight: Array, values: Array) -> Array:
    """Nodes with the exact means and covariances; where that would not leave them positive, with the means."""
    order = [1, 2, 0]  # what matters most first: the other is only moved along
    power = np.arange(3)
    traces = np.array([(values**exponent).sum() for exponent in range(5)])
    means = weight @ nodes
    centred = (nodes - means)[:, order]
    exact = _factor(2 * traces[power[:, None] + power][np.ix_(order, order)])
    own = _factor(centred.T * weight @ centred)
    found = np.empty_like(nodes)
    found[:, order] = traces[:3][order] + np.linalg.solve(own, centred.T).T @ exact.T
    return found if (found > 0).all() else nodes * traces[:3] / means


def _factor(covariance: Array) -> Array:
    """Its Cholesky factor; where tokens are nearly independent the three sums are nearly one, and it singular."""
    return np.asarray(np.linalg.cholesky(covariance + 1e-9 * np.diag(np.diagonal(covariance))))
