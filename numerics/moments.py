r"""Exact second moments of one prompt at finite dimension and context.

With s2 = |w|^2/D + rho the variance of a label given the task w, C_i = sum_k y_k x_{k,i}, C_{D+1} = sum_k y_k^2, and
E[x_k y_k] = w/sqrt(D), Isserlis' theorem over the N independent tokens gives (i, j <= D; this project)

    E[C_i | w]             = N w_i/sqrt(D)                      E[C_{D+1} | w]     = N s2
    E[C_i C_j | w]         = N s2 delta_ij + N (N+1) w_i w_j/D
    E[C_i C_{D+1} | w]     = N (N+2) s2 w_i/sqrt(D)             E[C_{D+1}^2 | w]   = N (N+2) s2^2

tests/numerics/test_moments.py holds them against `replica.moments` at given tasks. `feature_moments` are those of
isotropic Gaussian tasks, generated.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics import generated_numpy
from iclglass.numerics.arguments import check_count, check_real
from iclglass.numerics.sizes import divisor

__all__ = ["FeatureMoments", "feature_moments", "prompt_moments"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FeatureMoments:
    """Second moments of one prompt's label and features.

    label : E[y^2].
    signal : D E[y s_ii].
    block : D E[s_ij^2], i <= D.
    last_row : E[s_{D+1,j}^2].
    """

    label: float
    signal: float
    block: float
    last_row: float


def feature_moments(*, dimension: int, context: int, label_noise: float, norm: str) -> FeatureMoments:
    """Exact moments at finite D and N, from the symbolic layer.

    Equation: stage ``disorder`` of `iclglass derive`. Source: this project, notes/derivation.md.

    dimension : D >= 1.
    context : N >= 1, labelled tokens.
    label_noise : rho >= 0.
    norm : divisor of the attention sum, "N" or "N+1".

    Raises ParameterError, ParameterTypeError: a count that is not whole and positive, a negative noise, another norm.

    >>> feature_moments(dimension=10, context=20, label_noise=0.0, norm="N").block
    1.55
    """
    size, tokens = check_count("dimension", dimension, minimum=1), check_count("context", context, minimum=1)
    rho = check_real("label_noise", label_noise, minimum=0)
    values = generated_numpy.feature_moments(size, tokens, divisor(tokens, norm), rho)
    return FeatureMoments(**dict(zip(generated_numpy.OUTPUTS["feature_moments"], map(float, values), strict=True)))


def prompt_moments(
    covariance: Array,
    square: Array,
    weighted: Array,
    fourth: Array,
    *,
    context: int,
    divisor: int,
    last_scale: float,
    squared_trace: float | None = None,
) -> tuple[Array, Array]:
    """E[u (w/sqrt(D))^T] and E[u u^T] of the features u = (C_i, last_scale C_{D+1})/divisor, for any law of tasks.

    Parameters
    ----------
    covariance, square, weighted, fourth : averages over tasks of w w^T/D, s2, s2 w/sqrt(D) and s2^2; leading axes, such
        as one of pools, are kept.
    last_scale : `numerics.last_row.LastRow.scale`; 0: u has D components.
    squared_trace : Tr C^2 of tokens with correlations C along the prompt, without noise (`numerics.token_law` adds what
        noise does); N of independent ones.

    Examples
    --------
    >>> signal, second = prompt_moments(np.eye(2) / 2, np.ones(()), np.zeros(2), np.array(2.0), context=4, divisor=4,
    ...                                 last_scale=1.0)
    >>> signal[0].tolist(), second[2, 2].tolist()
    ([0.5, 0.0], 3.0)
    """
    *pools, size = weighted.shape
    spread = context if squared_trace is None else squared_trace
    rows, both = size + (last_scale > 0), context**2 + 2 * spread
    signal, second = np.empty((*pools, size + 1, size)), np.empty((*pools, size + 1, size + 1))
    signal[..., :size, :] = context / divisor * covariance
    signal[..., size, :] = context / divisor * weighted * last_scale
    second[..., :size, :size] = (context**2 + spread) * covariance + spread * square[..., None, None] * np.eye(size)
    second[..., :size, size] = second[..., size, :size] = both * weighted * last_scale
    second[..., size, size] = both * fourth * last_scale**2
    return signal[..., :rows, :], second[..., :rows, :rows] / divisor**2
