r"""The posterior mean of who knows the law of tasks, N(0, 1): ridge regression on the context.

Its error on a new prompt with N tokens, x_k and query of variance 1, y = w.x/sqrt(D) + sqrt(rho) eps, is the noise and
the posterior variance,

    e = rho + (rho/D) E Tr (rho + X^T X/D)^(-1),

and no other estimator has a smaller one on tasks of that law. Without noise it is (1 - N/D)+. As D -> infinity, with
alpha = N/D, Marchenko-Pastur's law gives

    e = rho + [1 - rho - alpha + sqrt((rho + alpha - 1)^2 + 4 rho)]/2.

Source: this project, for the first; Lu et al. (arXiv:2405.11751) compare with it, too.
"""

import numpy as np

from iclglass.numerics.arguments import FloatArray
from iclglass.numerics.drawn_pools import pool_controls
from iclglass.numerics.finite_pool import mean_over_pools

__all__ = ["asymptotic_error", "error_at", "noiseless_error"]

_DRAWS, _FEWEST = 1 << 16, 512
"""Eigenvalues drawn in all, and matrices at the least."""
_NUMBERS = 1 << 22
"""Of the tokens that are held at once."""


def asymptotic_error(context_length: FloatArray, label_noise: FloatArray) -> FloatArray:
    """The error as D -> infinity; arrays broadcast.

    >>> asymptotic_error(np.array([0.5, 2.0]), np.array(0.0)).tolist()
    [0.5, 0.0]
    """
    alpha, rho = np.asarray(context_length), np.asarray(label_noise)
    linear = rho + alpha - 1
    # The root without cancellation where alpha > 1.
    root = np.sqrt(linear**2 + 4 * rho)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.where(linear > 0, 2 * rho / (linear + root), (root - linear) / 2)
    return np.asarray(rho + variance)


def noiseless_error(dimension: int, context: FloatArray) -> FloatArray:
    """max(0, 1 - N/D): N < D tokens fix the task in the N directions they span; the query has (D - N)/D outside them.

    >>> noiseless_error(10, np.array([4, 10, 20])).tolist()
    [0.6, 0.0, 0.0]
    """
    return np.asarray(np.maximum(0.0, 1 - np.asarray(context) / dimension))


def error_at(dimension: int, context: int, label_noise: float, seed: int) -> tuple[float, float]:
    """The error at finite D and its standard error, from drawn matrices; exact, with error 0, without noise.

    Tr R, Tr R^2 and Tr R^3 of R = X^T X/N have known means, on which the average is regressed.

    >>> error_at(8, 2, 0.0, seed=0)
    (0.75, 0.0)
    """
    if label_noise == 0:
        return float(noiseless_error(dimension, np.array(context))), 0.0
    rng = np.random.default_rng([seed, dimension, context])
    draws = max(_FEWEST, _DRAWS // dimension)
    step = max(1, _NUMBERS // (context * dimension))
    values, controls = [], []
    for start in range(0, draws, step):
        tokens = rng.standard_normal((min(step, draws - start), context, dimension))
        spectrum = np.linalg.eigvalsh(np.swapaxes(tokens, 1, 2) @ tokens / dimension)
        values.append((label_noise / (label_noise + np.clip(spectrum, 0, None))).mean(axis=1))
        controls.append(pool_controls(tokens)[:, :3])
    found = mean_over_pools({"variance": np.concatenate(values)}, np.concatenate(controls))
    return label_noise + found["variance"], found["variance_standard_error"]
