"""From which dimension on the finite-size theory is used."""

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.parameters import Parameters

__all__ = ["MINIMUM_DIMENSION", "large_enough"]

Array = NDArray[np.float64]

MINIMUM_DIMENSION = 4
"""Below it the neglected terms, of relative order 1/D^2, are as large as the 1/D terms kept."""


def large_enough(parameters: Parameters) -> Array:
    """The dimensions; ParameterError: one is below `MINIMUM_DIMENSION`, ParameterTypeError: there is none."""
    dimension = parameters.dimension
    if dimension is None:
        raise ParameterTypeError("dimension is required: the finite-size theory holds at one token dimension D >= 4")
    if (bad := dimension < MINIMUM_DIMENSION).any():
        raise ParameterError(
            f"dimension = {dimension[bad].flat[0]:.0f} must be a whole number >= {MINIMUM_DIMENSION}: the finite-size "
            "theory neglects terms of relative order 1/D^2, which are not small below; simulate, or take a larger "
            "dimension"
        )
    return dimension
