r"""The slow obvious version of `numerics.pool_averages`: prompts of a given pool, drawn and summed over.

A prompt draws one of the K tasks w and N tokens. Given w, with t^2 = |w|^2/D and n = w/|w|, its features are

    u = [n (y.g) + |y| z]/norm,   v = |y|^2/norm,   |y|^2 = (t^2 + rho) Z,   y.g = t Z + sqrt(rho Z) zeta

with Z ~ chi2_N, zeta ~ N(0, 1) and z a standard normal vector orthogonal to w, all independent (the law of
`numerics.gamma_quadrature.prompt_nodes`; the query is averaged over by Gauss quadrature, not here). The D + 3 variables
are the inverse distribution functions of a scrambled Sobol sequence: averages of smooth functions of one prompt
converge nearly as 1/points, not as 1/sqrt(points). Source: this project, notes/finite_size.md.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, ndtri
from scipy.stats import qmc

__all__ = ["PoolPrompts", "pool_prompts"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PoolPrompts:
    """Equally likely prompts of one pool: u with v in the last column, (points, D + 1), and w/sqrt(D)."""

    features: Array
    task: Array


def pool_prompts(
    tasks: Array, *, context: int, divisor: int, label_noise: float, points: int, rng: np.random.Generator
) -> PoolPrompts:
    """Prompts whose task is one of the rows of ``tasks``, each with probability 1/K.

    tasks (K, D), of variance 1; points a power of two, for which a Sobol sequence is balanced; rng scrambles it.

    Examples:
        >>> drawn = pool_prompts(
        ...     np.eye(4), context=8, divisor=8, label_noise=0.0, points=1024, rng=np.random.default_rng(0)
        ... )
        >>> bool(abs(drawn.features[:, 4].mean() - 1 / 4) < 1e-3)
        True
    """
    count, dimension = tasks.shape
    uniform = qmc.Sobol(dimension + 3, rng=rng).random(points)
    # A point at 0 would be a variable at infinity.
    uniform = np.clip(uniform, 2.0**-40, 1 - 2.0**-40)
    normal = ndtri(uniform[:, : dimension + 1])
    labels = chdtri(context, uniform[:, dimension + 1])
    task = tasks[(uniform[:, dimension + 2] * count).astype(np.intp)] / np.sqrt(dimension)

    length = np.sqrt(np.einsum("pd,pd->p", task, task))
    # The task zero has no direction: nothing is projected out.
    direction = task / np.where(length > 0, length, 1.0)[:, None]
    variance = length**2 + label_noise
    label_square = variance * labels
    projection = length * labels + np.sqrt(label_noise * labels) * normal[:, dimension]
    across = normal[:, :dimension]
    across -= np.einsum("pd,pd->p", across, direction)[:, None] * direction
    features = np.empty((points, dimension + 1))
    features[:, :dimension] = projection[:, None] * direction + np.sqrt(label_square)[:, None] * across
    features[:, dimension] = label_square
    features /= divisor
    return PoolPrompts(features=features, task=task)
