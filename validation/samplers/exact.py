"""Independent draws from the Gaussian measure itself: no chain, no bias, no warm-up.

Dense:        A = L L^T,  sigma = A^{-1} h + L^{-T} xi/sqrt(beta).
Matrix free:  with e1 ~ N(0, I_P) and e2 ~ N(0, I_n) the field S^T e1/sqrt(P) + sqrt(ridge0) e2 has covariance A, so
              A sigma = h + (S^T e1/sqrt(P) + sqrt(ridge0) e2)/sqrt(beta) has the mean A^{-1} h and the covariance
              A^{-1}/beta. Solved by preconditioned conjugate gradients, many draws for each pass over the prompts.
"""

from collections.abc import Iterator

import numpy as np

from iclglass.numerics.arguments import FloatArray
from iclglass.numerics.errors import ConvergenceError
from iclglass.validation.samplers.target import Target

__all__ = ["exact_draws"]

TOLERANCE = 1e-8
"""Relative residual of a solve: the error of a draw is smaller than its deviation by about as much."""

_BATCH_ELEMENTS = 1 << 21
"""Spins solved for together: more share each pass over the prompts, but about ten such stacks are in memory."""


def exact_draws(target: Target, count: int, rng: np.random.Generator) -> Iterator[FloatArray]:
    """Stacks (some, n) of independent draws, `count` in all.

    Raises ConvergenceError where the conjugate gradients do not reach a relative residual of 1e-8.
    """
    batch = max(1, _BATCH_ELEMENTS // target.spins)
    sizes = [min(batch, count - start) for start in range(0, count, batch)]
    if target.matrix is None:
        return _by_solves(target, sizes, rng)
    return _by_factor(target, target.matrix, sizes, rng)


def _by_factor(target: Target, matrix: FloatArray, sizes: list[int], rng: np.random.Generator) -> Iterator[FloatArray]:
    import scipy.linalg

    try:
        factor = scipy.linalg.cholesky(matrix, lower=True, check_finite=False)
    except np.linalg.LinAlgError as error:
        raise ConvergenceError("A is singular to rounding: use a larger ridge0 or more prompts") from error
    mean = scipy.linalg.cho_solve((factor, True), target.fields, check_finite=False)
    for size in sizes:
        noise = rng.standard_normal((target.spins, size))
        spread = scipy.linalg.solve_triangular(factor, noise, lower=True, trans="T", check_finite=False)
        yield mean + spread.T / np.sqrt(target.beta)


def _by_solves(target: Target, sizes: list[int], rng: np.random.Generator) -> Iterator[FloatArray]:
    features, prompts = target.instance.features.in_double(), target.instance.prompts
    fields = target.fields.reshape(features.weight_shape)
    for size in sizes:
        noise = features.adjoint(rng.standard_normal((size, prompts))) / np.sqrt(prompts)
        noise += np.sqrt(target.ridge0) * rng.standard_normal(noise.shape)
        noise /= np.sqrt(target.beta)
        noise += fields
        yield target.solved(noise, TOLERANCE).reshape(size, -1)
