"""Data sets as the tests of this folder draw them: a seed of their own for each size."""

import numpy as np

from iclglass.validation.prompts import Prompts, draw_prompts


def draw(
    dimension: int, prompts: int, seed: int = 0, *, context: int | None = None, covariance: np.ndarray | None = None
) -> Prompts:
    return draw_prompts(
        dimension=dimension,
        context=context or 2 * dimension,
        prompts=prompts,
        token_covariance=covariance,
        rng=np.random.default_rng((dimension, prompts, seed)),
    )
