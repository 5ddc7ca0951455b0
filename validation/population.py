r"""Exact population error of given weights on new prompts, at finite D and N: `numerics.moments` of one prompt.

With the features s = u (x) X the error of weights W, (D+1, D), on a new prompt is

    E (y_t - s.W)^2 = E y_t^2 - 2 sum_ij E[u_i w_j]/sqrt(D) W_ij + Tr W^T E[u u^T] W

For centred Gaussian tasks the terms between the block and the last row vanish: they are odd in w. For a given pool of K
tasks they are averages over those K tasks and do not. The size of the last feature, or a layer without it, is that of
`numerics.last_row`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from iclglass.numerics.arguments import check_count, check_real
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.last_row import LastRow
from iclglass.numerics.moments import prompt_moments
from iclglass.numerics.sizes import divisor

__all__ = ["PromptMoments", "gaussian_moments", "pool_moments", "population_error"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PromptMoments:
    """Second moments of one prompt; without last row D in the place of D+1.

    label : E y_t^2.    signal : (D+1, D), E[y_t s_ij].    second : (D+1, D+1), E[u u^T]; E[s_ij s_kl] is
    second_ik delta_jl.
    """

    label: float
    signal: FloatArray
    second: FloatArray


def pool_moments(
    tasks: FloatArray,
    *,
    context: int,
    label_noise: float,
    norm: str,
    last_feature: str = "unit-tokens",
    last_row: bool = True,
) -> PromptMoments:
    """Moments of prompts whose task is one of the rows of tasks, (K, D), each with probability 1/K.

    >>> tasks = np.array([[1.0, 0.0], [0.0, 2.0]])
    >>> found = pool_moments(tasks, context=4, label_noise=0.0, norm="N")
    >>> found.label, found.signal[:2].tolist()
    (1.25, [[0.25, 0.0], [0.0, 1.0]])
    """
    count, dimension = tasks.shape
    label_noise = check_real("label_noise", label_noise, minimum=0.0)
    squares = np.einsum("kd,kd->k", tasks, tasks) / dimension + label_noise
    return _assemble(
        float(np.mean(squares)),
        covariance=tasks.T @ tasks / (count * dimension),
        weighted=squares @ tasks / (count * np.sqrt(dimension)),
        fourth=np.mean(squares**2),
        context=context,
        norm=norm,
        layer=LastRow(last_feature, last_row),
    )


def gaussian_moments(
    eigenvalues: FloatArray,
    *,
    context: int,
    label_noise: float,
    norm: str,
    last_feature: str = "unit-tokens",
    last_row: bool = True,
) -> PromptMoments:
    """Moments of prompts with a task of their own, w_i ~ N(0, eigenvalues_i), i = 1..D.

    At unit eigenvalues these are `numerics.moments.feature_moments`.

    >>> found = gaussian_moments(np.ones(10), context=20, label_noise=0.0, norm="N")
    >>> round(10 * float(found.second[0, 0]), 12)
    1.55
    """
    dimension = eigenvalues.size
    square = float(np.mean(eigenvalues)) + check_real("label_noise", label_noise, minimum=0.0)
    return _assemble(
        square,
        covariance=np.diag(eigenvalues / dimension),
        weighted=np.zeros(dimension),
        fourth=square**2 + 2 * np.sum(eigenvalues**2) / dimension**2,
        context=context,
        norm=norm,
        layer=LastRow(last_feature, last_row),
    )


def population_error(weights: FloatArray, moments: PromptMoments) -> float:
    """E (y_t - s.W)^2 over a new prompt, for weights W of shape (D+1, D) or (D, D)."""
    if weights.shape != moments.signal.shape:
        raise ParameterError(f"weights must have shape {moments.signal.shape}, got {weights.shape}")
    linear = float(np.sum(moments.signal * weights))
    return moments.label - 2 * linear + float(np.sum(weights * (moments.second @ weights)))


def _assemble(
    square: float,
    *,
    context: int,
    norm: str,
    layer: LastRow,
    weighted: FloatArray,
    covariance: ArrayLike,
    fourth: ArrayLike,
) -> PromptMoments:
    tokens, scale = check_count("context", context, minimum=1), layer.scale(weighted.size)
    signal, second = prompt_moments(
        square=np.asarray(square),
        weighted=weighted,
        covariance=np.asarray(covariance),
        fourth=np.asarray(fourth),
        context=tokens,
        divisor=divisor(tokens, norm),
        last_scale=scale,
    )
    return PromptMoments(square, signal, second)
