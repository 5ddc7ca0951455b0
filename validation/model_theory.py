"""The theory of a chosen model as `validate` asks for it, and its corrections at finite D.

Corrections to D -> infinity are not all powers of 1/D. A penalty that grows slower than s^2 shrinks the spins on the
diagonal, of order sqrt(D), by D^(-1/2); where it is near to holding them at zero, there are terms like exp(-c D), too.
Of the error of an elastic net, from D = 8 .. 32 with the diagonal's penalty at its D, powers 1 and 2 miss 12 %, powers
1 and 3/2 miss 16 %. So the finite-size theory is asked, which leaves terms of relative order 1/D^2.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.model_choice import chosen
from iclglass.numerics.parameters import Parameters
from iclglass.numerics.sizes import from_unscaled
from iclglass.numerics.solution import QUANTITIES

__all__ = ["finite_size_corrections", "model_theory"]


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


def finite_size_corrections(
    parameters: Parameters, dimensions: Sequence[int], quantities: Sequence[str]
) -> dict[str, NDArray[np.float64]] | None:
    """What finite D adds to each quantity: the finite-size theory minus that at D -> infinity, at the same integers.

    Equation and source: `numerics.finite_models`. None where there is no theory at these dimensions: of the nuclear
    norm with last row, or where it was not solved.

    Parameters
    ----------
    parameters : Parameters
        One point of a chosen model.
    dimensions : sequence of int
        D >= 4.
    quantities : sequence of str
        Names of `numerics.solution.Solution`.

    Examples
    --------
    >>> lasso = Parameters(task_diversity=1, context_length=2, l1=0.5)
    >>> found = finite_size_corrections(lasso, (20, 40), ("m",))
    >>> found["m"].round(3).tolist()
    [-0.128, -0.084]
    """
    from iclglass.numerics.model_points import solve_model_points

    choice = chosen(parameters)
    if choice.nuclear and parameters.layer.last_row:
        return None
    sizes = [parameters.at(dimension) for dimension in dimensions]
    counted = {name: [getattr(size, name) for size in sizes] for name in ("prompts", "context", "test_context")}
    whole = from_unscaled(np.array(dimensions), **{name: np.array(values) for name, values in counted.items()})
    finite = solve_model_points(parameters.replaced(dimension=np.array(dimensions)))
    infinite = model_theory(**_law(parameters) | whole)
    found = {name: np.asarray(getattr(finite, name) - getattr(infinite, name)) for name in quantities}
    return found if all(np.all(np.isfinite(each)) for each in found.values()) else None


def _law(parameters: Parameters) -> dict[str, Any]:
    """The parameters as keywords, without those of a finite layer."""
    return {
        name: value for name, value in parameters.fields().items() if name not in ("norm", "last_feature", "last_row")
    }
