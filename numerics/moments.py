"""Exact second moments of one prompt at finite dimension and context."""

from dataclasses import dataclass

from iclglass.numerics import generated_numpy
from iclglass.numerics.arguments import check_count, check_real
from iclglass.numerics.sizes import divisor

__all__ = ["FeatureMoments", "feature_moments"]


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
