"""best_ridge(...): the ridge with the least error on a new task, located by the derivative."""

from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.fixed_point import bracketed_root
from iclglass.numerics.gradient import gradient
from iclglass.numerics.keywords import by_name, takes
from iclglass.numerics.parameters import Given, Parameters
from iclglass.numerics.saddle_point import solve_points

__all__ = ["best_ridge"]

Array = NDArray[np.float64]

# The search: e_icl rises towards 1 + rho as the ridge grows, so its least value lies below the last of these.
_LADDER = np.geomspace(1e-8, 1e8, 129)


@by_name
@takes("task_diversity", "context_length", "distinct_tasks", "label_noise", "test_context_length")
def best_ridge(**given: Unpack[Given]) -> Array:
    """The ridge lam* with the least e_icl; arrays broadcast, DataArrays by name.

    Equation: d e_icl/d lam = 0 with e_icl least among the minima. With one task per prompt it is
    lam* = a (a (1 + rho) - 1)/tau (Dobriban and Wager, Ann. Statist. 46 (2018) 247, for ridge regression with an
    isotropic prior), which a test compares; with a pool there is no closed form. Source: this project.

    Parameters
    ----------
    task_diversity, context_length, distinct_tasks, label_noise, test_context_length
        as in `numerics.saddle_point.solve`.

    Returns
    -------
    ndarray
        lam*, of the broadcast shape; 0 where the error only rises with the ridge, from lam = 1e-8 on; infinity where it
        still falls at lam = 1e8.

    Raises
    ------
    ParameterError, ParameterTypeError
        as `solve`.

    Examples
    --------
    >>> float(best_ridge(task_diversity=2.0, context_length=2.0).round(10))
    0.375
    """
    parameters = Parameters.of(given)
    point = {name: array.reshape(-1, 1) for name, array in parameters.scaled.items()}
    if parameters.test_context_length is None:
        del point["test_context_length"]
    slope = gradient("ridge", tied=False)
    ladder = np.broadcast_to(_LADDER, (point["ridge"].size, _LADDER.size))
    wide = {name: np.broadcast_to(array, ladder.shape) for name, array in point.items()}  # every column as the ladder
    slopes = slope({**wide, "ridge": ladder})
    results = np.full(ladder.shape[0], np.nan)
    least = np.full(ladder.shape[0], np.inf)

    def offer(rows: NDArray[np.int64], ridge: Array) -> None:
        """Take the ridge in the rows where its error is less than any so far."""
        here = {name: array[rows, 0] for name, array in point.items()}
        error = solve_points(Parameters.of({**here, "ridge": np.where(np.isfinite(ridge), ridge, _LADDER[-1])})).e_icl
        better = error < least[rows]
        results[rows[better]], least[rows[better]] = ridge[better], error[better]

    everywhere = np.arange(ladder.shape[0])
    rising, falling = everywhere[slopes[:, 0] >= 0], everywhere[slopes[:, -1] < 0]
    offer(rising, np.full(rising.size, _LADDER[0]))
    offer(falling, np.full(falling.size, np.inf))
    for step in range(_LADDER.size - 1):
        rows = everywhere[(slopes[:, step] < 0) & (slopes[:, step + 1] >= 0)]
        if not rows.size:
            continue
        here = {name: array[rows, 0] for name, array in point.items() if name != "ridge"}

        def along(u: Array, *values: Array, names: tuple[str, ...] = tuple(here)) -> Array:
            return slope({**dict(zip(names, values, strict=True)), "ridge": np.exp(u)})

        ends = np.full(rows.size, np.log(_LADDER[step])), np.full(rows.size, np.log(_LADDER[step + 1]))
        root, found = bracketed_root(along, *ends, arguments=tuple(here.values()))
        offer(rows[found], np.exp(root[found]))
    results[results == _LADDER[0]] = 0.0
    return results.reshape(parameters.shape)[()]
