"""Correlations of the context tokens along a prompt, checked."""

import numpy as np
from numpy.typing import ArrayLike

from iclglass.numerics.arguments import FloatArray, doubles
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.token_law import token_matrix

__all__ = ["correlation_of"]


def correlation_of(value: ArrayLike, context: int) -> FloatArray:
    """(N, N) correlations of a length in tokens, or of an array of them.

    Raises ParameterError: a length below 0 or infinite, an array of another shape, not symmetric, or not positive
    semidefinite.

    >>> correlation_of(0, 2).tolist(), correlation_of([[1, 0.5], [0.5, 1]], 2).tolist()
    ([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.5], [0.5, 1.0]])
    """
    found = doubles("token_correlation", value)
    if found.ndim == 0:
        if not 0 <= found < np.inf:
            raise ParameterError(f"token_correlation = {found} must be a length >= 0 in tokens: 0 is no correlation")
        return token_matrix(context, float(found))
    if found.shape != (context, context):
        raise ParameterError(
            f"token_correlation must be a length or have shape {(context, context)}, one row a token, got {found.shape}"
        )
    if not np.isfinite(found).all() or np.abs(found - found.T).max() > 1e-12 * np.abs(found).max():
        raise ParameterError("token_correlation must be finite and symmetric")
    lowest = float(np.linalg.eigvalsh(found)[0])
    if lowest < -1e-10 * np.abs(found).max():
        raise ParameterError(
            f"token_correlation must be positive semidefinite, its smallest eigenvalue is {lowest:.3g}"
        )
    return found
