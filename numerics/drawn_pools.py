"""Pools of tasks that a theory at finite D averages over, and numbers of a pool whose mean over pools is known.

    gaussian   entries w ~ N(0, 1): the default
    sphere     |w|^2 = D, of any direction: LU, whose programs normalise the tasks of the pool

As D -> infinity the two are one law.
"""

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.gamma_quadrature import scalar_nodes

__all__ = ["FEWEST_DOF", "POOL_LAWS", "draw_pools", "pool_controls"]

Array = NDArray[np.float64]

POOL_LAWS = ("gaussian", "sphere")
_POOLS_TIMES_DIMENSION = 640
_FEWEST_POOLS = 16
FEWEST_DOF = _FEWEST_POOLS - 5
"""Degrees of freedom, at least, of the errors of averages over pools: a mean and at most four controls are fitted."""


def draw_pools(size: int, count: int, law: str = POOL_LAWS[0]) -> tuple[Array, Array | None]:
    """Pools of K = count tasks in D = size dimensions, (pools, K, D), and their weights; None: they are drawn.

    Of one Gaussian task the lengths, with the weights of a quadrature, and of one task of given length that one: they
    are all that counts.

    >>> pools, weight = draw_pools(8, 3, "sphere")
    >>> pools.shape, weight is None, bool(np.allclose((pools**2).sum(axis=2), 8))
    ((80, 3, 8), True, True)
    """
    if count == 1 and law == "sphere":
        return np.sqrt(size) * np.eye(1, size)[None], np.ones(1)
    if count == 1:
        square, weight = scalar_nodes(size, 0)
        return np.sqrt(square)[:, None, None] * np.eye(1, size), weight
    pools = max(_FEWEST_POOLS, round(_POOLS_TIMES_DIMENSION / size))
    streams = [np.random.default_rng([size, count, index]) for index in range(pools)]
    tasks = np.stack([rng.standard_normal((count, size)) for rng in streams])
    if law == "sphere":
        tasks *= np.sqrt(size / (tasks**2).sum(axis=2, keepdims=True))
    return tasks, None


def pool_controls(pools: Array, law: str = POOL_LAWS[0]) -> Array:
    """Tr R^n/D, n = 1, 2, 3, and K |mean w|^2/D, less their means over isotropic pools: (pools, 4).

    R = (1/K) sum w w^T. Gaussian: the means are 1, 1 + (D+1)/K, 1 + 3 (D+1)/K + (D^2 + 3 D + 4)/K^2 (moments of a real
    Wishart matrix; Letac and Massam 2004) and 1. On the sphere Tr R/D is 1 and left out, (pools, 3); with
    E[w_l w_l^T] = 1 and w_k.w_k = D the others are 1 + (D-1)/K, 1 + 3 (D-1)/K + (D-1)(D-2)/K^2 and 1.
    """
    _, count, size = pools.shape
    matrix = np.swapaxes(pools, 1, 2) @ pools / count
    mean = pools.mean(axis=1)
    square = matrix @ matrix
    one = (size + 1) / count if law == "gaussian" else (size - 1) / count
    two = (size**2 + 3 * size + 4 if law == "gaussian" else (size - 1) * (size - 2)) / count**2
    controls = [
        _trace(matrix) / size - 1,
        _trace(square) / size - 1 - one,
        (square * matrix).sum(axis=(1, 2)) / size - (1 + 3 * one + two),
        count * (mean**2).sum(axis=1) / size - 1,
    ]
    return np.stack(controls if law == "gaussian" else controls[1:], axis=1)


def _trace(matrices: Array) -> Array:
    trace: Array = np.einsum("bii->b", matrices)
    return trace
