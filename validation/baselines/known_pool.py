r"""The posterior mean of who knows the pool of K tasks (dMMSE): the tasks weighted by how well they fit the context.

    w_hat = sum_k w_k p_k,   p_k ~ exp(-|y - X w_k/sqrt(D)|^2/(2 rho)),   e = rho + E |w - w_hat|^2/D

Raventos et al. (arXiv:2306.15063). On tasks of the pool no estimator is better; on new ones it answers with the nearest
task that it knows. Without noise the best fitting task has all the weight. As D -> infinity with K = kappa D the task
is recognised, and e -> rho; on new ones the nearest of K is as far as any, and e -> 2 + rho, as slowly as sqrt(ln K/D).
"""

import math

import numpy as np

from iclglass.numerics.arguments import FloatArray

__all__ = ["errors_at"]

_PROMPTS = 16
"""Of each pool; errors are over pools, which are independent."""
_NUMBERS = 1 << 22
"""Held at once, of the residuals of all tasks."""


def errors_at(
    dimension: int, context: int, task_count: int, label_noise: float, *, new_task: bool, samples: int, seed: int
) -> tuple[float, float]:
    """The error on tasks of the pool, or on new ones, and its standard error over ``samples`` pools (at least 2).

    >>> error, spread = errors_at(8, 16, 4, 0.1, new_task=False, samples=50, seed=1)
    >>> 0.1 < error < 0.2, spread < 0.02
    (True, True)
    """
    found = np.empty(samples)
    for index in range(samples):
        rng = np.random.default_rng([seed, dimension, context, task_count, index])
        pool = rng.standard_normal((task_count, dimension))
        step = max(1, _NUMBERS // (context * max(task_count, dimension)))
        errors = [
            _squared_errors(pool, context, label_noise, new_task, min(step, _PROMPTS - start), rng)
            for start in range(0, _PROMPTS, step)
        ]
        found[index] = np.concatenate(errors).mean()
    return label_noise + float(found.mean()), float(found.std(ddof=1)) / math.sqrt(samples)


def _squared_errors(
    pool: FloatArray, context: int, label_noise: float, new_task: bool, prompts: int, rng: np.random.Generator
) -> FloatArray:
    """|w - w_hat|^2/D of some prompts."""
    count, dimension = pool.shape
    task = rng.standard_normal((prompts, dimension)) if new_task else pool[rng.integers(count, size=prompts)]
    tokens = rng.standard_normal((prompts, context, dimension))
    labels = (tokens @ task[:, :, None])[:, :, 0] / math.sqrt(dimension)
    labels += math.sqrt(label_noise) * rng.standard_normal(labels.shape)
    misfit = ((labels[:, :, None] - tokens @ pool.T / math.sqrt(dimension)) ** 2).sum(axis=1)
    misfit -= misfit.min(axis=1, keepdims=True)
    weight = np.exp(-misfit / (2 * label_noise)) if label_noise > 0 else (misfit == 0).astype(np.float64)
    weight /= weight.sum(axis=1, keepdims=True)
    found: FloatArray = ((task - weight @ pool) ** 2).mean(axis=1)
    return found
