"""The points of a model other than ridge regression: the handshake of its two sides, with statuses and shapes."""

from typing import Any

import numpy as np

from iclglass.numerics.errors import ParameterError
from iclglass.numerics.finite_dimension import large_enough
from iclglass.numerics.last_row import refuse_without_dimension
from iclglass.numerics.model_choice import Choice, chosen
from iclglass.numerics.parameters import Parameters
from iclglass.numerics.sizes import counts
from iclglass.numerics.solution import COUNTS, DIAGNOSTICS, OBSERVABLES, OF_MODELS, Solution, solved
from iclglass.numerics.status import UNSTABLE, Status

__all__ = ["solve_model_points"]

AT_DIMENSION = ("last_row",)


def solve_model_points(parameters: Parameters, *, method: str = "closed-form") -> Solution:
    """The replica-symmetric solution of the chosen model at every point.

    Equation and source: `numerics.handshake`, at a dimension `numerics.finite_models`. What a model does not have is
    NaN, or None where only chosen models have it (`OF_MODELS`). Where the replicon is negative the numbers are kept,
    with the status RS_UNSTABLE.

    Raises ParameterError: parts of the model that do not go together; ``method="iteration"``.
    """
    if method != "closed-form":
        raise ParameterError(f"method = {method!r} is for ridge and squared error: leave it out for another model")
    choice = chosen(parameters)
    if parameters.dimension is None:
        refuse_without_dimension(parameters.layer)
        values = _solved(choice, parameters)
    else:
        values = _solved_at_dimension(choice, parameters)
    size, status = parameters.task_diversity.size, np.asarray(values["status"], dtype=np.int8).copy()
    arrays: dict[str, Any] = {}
    for name in (*OBSERVABLES, *DIAGNOSTICS, *OF_MODELS, *AT_DIMENSION):
        if name in values:
            arrays[name] = np.array(np.broadcast_to(values[name], size), dtype=np.float64)
        elif name not in (*OF_MODELS, *AT_DIMENSION):
            arrays[name] = np.full(size, np.nan)
    status[(status == Status.CONVERGED) & (arrays["replicon"] < UNSTABLE)] = Status.RS_UNSTABLE
    for array in arrays.values():
        array[~solved(status)] = np.nan
    whole = {name: values[name].astype(np.int64) for name in (*COUNTS, "dimension") if name in values}
    # [()] turns a result without axes into a NumPy scalar, as NumPy's own functions do.
    return Solution(
        parameters,
        **{name: array.reshape(parameters.shape)[()] for name, array in {**arrays, **whole, "status": status}.items()},
    )


def _solved(choice: Choice, parameters: Parameters) -> dict[str, Any]:
    # Imported here: deriving and compiling a model takes SymPy and time, which ridge regression does not need.
    from iclglass.numerics.handshake import solve_model

    law = {name: parameters.scaled[name].reshape(-1) for name in _LAW}
    strengths = {name: array.reshape(-1) for name, array in choice.strengths.items()}
    found: dict[str, Any] = solve_model(choice.model, strengths, **law, diagonal_dimension=None)
    if parameters.ansatz == "rs":
        return found
    from iclglass.numerics.one_step import solve_one_step

    symbols = ("tau", "alpha", "alpha_test", "rho", "T")
    points = {symbol: np.asarray(law[name], dtype=np.float64) for symbol, name in zip(symbols, _LAW, strict=True)}
    return solve_one_step(choice.model, found, points | strengths)


def _solved_at_dimension(choice: Choice, parameters: Parameters) -> dict[str, Any]:
    from iclglass.numerics.finite_models import solve_finite_model

    sizes = large_enough(parameters).reshape(-1)
    flat = {name: array.reshape(-1) for name, array in parameters.scaled.items()}
    flat |= counts(flat, sizes) | {"dimension": sizes}
    strengths = {name: array.reshape(-1) for name, array in choice.strengths.items()}
    found = solve_finite_model(choice.model, flat, strengths, norm=parameters.norm, layer=parameters.layer)
    # Every prompt has its own task.
    return found | {"dimension": sizes, **{name: flat[name] for name in COUNTS}, "task_count": flat["prompts"]}


_LAW = ("task_diversity", "context_length", "test_context_length", "label_noise", "temperature")
