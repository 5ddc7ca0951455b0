"""The theory of a chosen model as `validate` asks for it: at D -> infinity, or with the diagonal's penalty at a D."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from iclglass.numerics.model_choice import chosen
from iclglass.numerics.parameters import Parameters
from iclglass.numerics.solution import QUANTITIES

__all__ = ["model_theory"]


def model_theory(*, diagonal_dimension: int | None = None, **given: Any) -> SimpleNamespace:
    """Quantities of one point of a chosen model by name; NaN where it does not have them.

    Equation and source: `numerics.handshake`. A penalty that grows slower than s^2 shrinks the spins on the diagonal,
    which are of order sqrt(D), by D^(-1/2): more than the terms in 1/D that an extrapolation takes out. With
    ``diagonal_dimension`` it is taken at that D, and what is left is of order 1/D.

    Parameters
    ----------
    diagonal_dimension : int, optional
        D; None: infinite.
    **given
        Fields of `Parameters`; one point.

    Examples
    --------
    >>> lasso = {"task_diversity": 1, "context_length": 2, "l1": 0.5}
    >>> [round(float(model_theory(diagonal_dimension=size, **lasso).m), 3) for size in (20, None)]
    [0.554, 0.667]
    """
    # Imported here: deriving and compiling a model takes SymPy and time, which ridge regression does not need.
    from iclglass.numerics.handshake import solve_model

    parameters = Parameters(**given)
    choice = chosen(parameters)
    names = ("task_diversity", "context_length", "test_context_length", "label_noise", "temperature")
    law = {name: parameters.scaled[name].reshape(-1) for name in names}
    strengths = {name: array.reshape(-1) for name, array in choice.strengths.items()}
    found = solve_model(choice.model, strengths, **law, diagonal_dimension=diagonal_dimension)
    shaped = {name: array.reshape(parameters.shape)[()] for name, array in found.items()}
    return SimpleNamespace(**dict.fromkeys(QUANTITIES, np.nan) | shaped)
