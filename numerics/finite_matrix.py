r"""Spins' side of the nuclear norm at finite D: the weights as one D x D matrix, averaged over drawn noise.

    W = SVT((M 1 + (Q/D)^{1/2} Z)/(K + ridge), nuclear/(K + ridge)),      Z: D x D of N(0, 1),

SVT(Y, t) lowers every singular value x of Y to f(x) = max(x - t, 0). Its Jacobian has the eigenvalues f'(x_i), and
(f(x_i) -+ f(x_j))/(x_i -+ x_j) for each pair: their sum is the divergence. Z is drawn once for each D and comes with
-Z, so that the map is the same function every time. Quantities of Z with known means, Stein's among them, take out
nine tenths of the draws' scatter (regression); the rest is given as standard errors. Source:
this project, notes/finite_size.md; the divergence Candes, Sing-Long and Trzasko, IEEE Trans. Signal Process. 61 (2013).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["FiniteMatrix", "finite_matrix"]

Array = NDArray[np.float64]

_NUMBERS = 1600
_LEAST = 32
_SEED = 20260


@dataclass(frozen=True, eq=False)
class FiniteMatrix:
    """Arrays over points.

    m, q, chi : Tr W/D, |W|^2/D, and the divergence of W by the field per spin.
    rank : share of singular values that are not zero.
    penalty : nuclear |W|_*/D + ridge |W|^2/(2 D).
    free : least of penalty + K |W|^2/(2 D) - Tr h^T W/D.
    squared_response : mean square of the Jacobian's eigenvalues, in units of chi.
    errors : standard errors of m, q and chi, (3, points).
    """

    m: Array
    q: Array
    chi: Array
    rank: Array
    penalty: Array
    free: Array
    squared_response: Array
    errors: Array


@lru_cache(maxsize=8)
def _noise(size: int) -> Array:
    """Pairs of Z and -Z, (pairs, 2, D, D)."""
    pairs = max(_LEAST, _NUMBERS // size)
    drawn = np.random.default_rng((_SEED, size)).standard_normal((pairs, 1, size, size))
    return np.concatenate([drawn, -drawn], axis=1)


@lru_cache(maxsize=8)
def _controls(size: int) -> Array:
    """1, and what is 0 on average: the means of the draws are taken where these are (regression), (pairs, 5)."""
    noise = _noise(size)
    square = np.einsum("...ij,...kj->...ik", noise, noise)
    found = (
        np.ones(noise.shape[:2]),
        np.trace(square, axis1=-2, axis2=-1) / size**2 - 1,
        np.trace(noise, axis1=-2, axis2=-1) ** 2 / size - 1,
        (np.einsum("...ij,...ji->...", noise, noise) - size) / size**2,
        (np.sum(square**2, (-1, -2)) - (2 * size + 1) * size**2) / size**3,
    )
    return np.stack([each.mean(axis=1) for each in found], axis=1)


def finite_matrix(size: Array, K: Array, M: Array, Q: Array, nuclear: Array, ridge: Array) -> FiniteMatrix:
    """The weights at dimensions ``size`` under precision K, signal M and noise Q; arrays over points.

    Examples
    --------
    >>> one = np.ones(1)
    >>> found = finite_matrix(20 * one, one, one, 0.5 * one, 0.0 * one, 0.0 * one)
    >>> round(float(found.m[0]), 12), round(float(found.chi[0]), 12), round(float(found.rank[0]), 12)
    (1.0, 1.0, 1.0)
    """
    rows = [_one(int(size[k]), *(float(each[k]) for each in (K, M, Q, nuclear, ridge))) for k in range(K.size)]
    return FiniteMatrix(*(np.stack(each, axis=-1) for each in zip(*rows, strict=True)))


def _one(size: int, K: float, M: float, Q: float, nuclear: float, ridge: float) -> tuple[Array, ...]:
    stiffness = K + ridge
    if not (np.isfinite([K, M, Q]).all() and stiffness > 0 and Q > 0):
        return (*(np.array(np.nan),) * 7, np.full(3, np.nan))
    noise = _noise(size)
    field = M * np.eye(size) + np.sqrt(Q / size) * noise
    left, x, right = np.linalg.svd(field / stiffness)
    threshold = nuclear / stiffness
    f, kept = np.maximum(x - threshold, 0.0), x > threshold
    overlap = np.einsum("...ik,...ki->...k", left, right)  # u.v of each pair of singular vectors
    m, q = np.sum(f * overlap, -1) / size, np.sum(f**2, -1) / size
    one, other = x[..., :, None], x[..., None, :]
    f_one, f_other = f[..., :, None], f[..., None, :]
    above = np.triu(np.ones((size, size), dtype=bool), 1)
    plus = np.where(above, (f_one + f_other) / np.where(above, one + other, 1.0), 0.0)
    minus = np.where(above, (f_one - f_other) / np.where(above, one - other, 1.0), 0.0)
    divergence = (np.sum(kept, -1) + np.sum(plus + minus, (-1, -2))) / size**2
    squares = (np.sum(kept, -1) + np.sum(plus**2 + minus**2, (-1, -2))) / size**2
    norm = np.sum(f, -1) / size
    penalty = nuclear * norm + ridge * q / 2
    # Tr h^T W/D = stiffness sum x f(x)/D.
    free = penalty + K * q / 2 - stiffness * np.sum(x * f, -1) / size
    values = (m, q, divergence / stiffness, np.mean(kept, -1), penalty, free, squares / stiffness**2)
    pairs = np.stack([each.mean(axis=1) for each in values])
    # Tr Z^T W/D is (Q/D)^{1/2} times the divergence on average.
    weights = np.einsum("...ik,...k,...kj->...ij", left, f, right)
    stein = np.sqrt(Q / size) * np.sum(noise * weights, (-1, -2)) / size - Q * divergence / stiffness
    design = np.concatenate([_controls(size), stein.mean(axis=1)[:, None]], axis=1)
    inverse = np.linalg.pinv(design)
    left_over = pairs[:3] - (pairs[:3] @ inverse.T) @ design.T
    errors = np.sqrt(np.sum(left_over**2, axis=1) / (len(design) - design.shape[1]) / len(design))
    return (*(np.asarray(each) for each in pairs @ inverse[0]), errors)
