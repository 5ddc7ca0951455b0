"""A training run on disk: its state by name, in the store of an unfinished run and in the .npz file of a finished one.

The arrays are step, log, parameters_k, first_k and second_k, k = 0 (, 1); the file of a finished run has the same
header as a store (`numerics.running.resuming`), as JSON in the array header.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.archive import read_arrays
from iclglass.numerics.errors import OutputError, ParameterError
from iclglass.numerics.running.resuming import ANEW, check_header
from iclglass.numerics.storage import replacing
from iclglass.validation.training.layer import Matrices
from iclglass.validation.training.optimisers import TrainingState
from iclglass.validation.training.run import LOG_COLUMNS

__all__ = ["Log", "Logged", "read_run", "state_arrays", "state_of", "write_run"]

Arrays = Mapping[str, NDArray[Any]]
Log = list[list[float]]
Logged = tuple[TrainingState, Log]
"""A state, and what was recorded until then: a row a step."""


def state_arrays(logged: Logged) -> dict[str, NDArray[Any]]:
    """The arrays of a state, by name.

    >>> list(state_arrays((TrainingState(0, (np.ones((2, 1)),), (), ()), [])))
    ['step', 'log', 'parameters_0']
    """
    state, log = logged
    arrays: dict[str, NDArray[Any]] = {"step": np.array(state.step), "log": np.array(log, dtype=np.float64)}
    for name in ("parameters", "first", "second"):
        arrays |= {f"{name}_{number}": matrix for number, matrix in enumerate(getattr(state, name))}
    return arrays


def state_of(path: Path, arrays: Arrays, *, shapes: tuple[tuple[int, ...], ...], steps: int) -> Logged:
    """What `state_arrays` was given; OutputError where no run of matrices of these shapes has left the arrays."""
    try:
        parts = (_matrices(arrays, name, shapes) for name in ("parameters", "first", "second"))
        state = TrainingState(int(arrays["step"]), *parts)
        if not 0 <= state.step <= steps:
            raise ValueError(f"step {state.step} is none of the run's")
        return state, _log(arrays["log"], state.step)
    except (ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{path} is damaged ({error}): choose another path, or {ANEW} to begin anew") from error


def write_run(path: Path, logged: Logged, header: Mapping[str, object]) -> None:
    """Write a finished run; OutputError if it cannot be written."""
    with replacing(path, force=True) as temporary, temporary.open("wb") as file:
        arrays: dict[str, Any] = {"header": np.array(json.dumps(header)), **state_arrays(logged)}
        np.savez(file, **arrays)


def read_run(path: Path, header: Mapping[str, Any]) -> Arrays:
    """The arrays of a finished run of the same parameters, whatever version of the program made it.

    Raises ParameterError if the parameters differ (it names each), OutputError if the file is none of ours or damaged.
    """
    arrays = read_arrays(path)
    try:
        check_header(str(path), json.loads(str(arrays["header"])), header, anyway=True)
    except (ParameterError, OutputError):
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise OutputError(f"{path} is damaged or not a training run of this program: choose another path") from error
    return arrays


def _matrices(arrays: Arrays, name: str, shapes: tuple[tuple[int, ...], ...]) -> Matrices:
    found = tuple(arrays[f"{name}_{number}"] for number in range(len(shapes)))
    # Not finite they may be: a run interrupted on its way to a divergence goes on to say so.
    if any(array.dtype != np.float64 or array.shape != shape for array, shape in zip(found, shapes, strict=True)):
        raise ValueError(f"{name} are not arrays of doubles of shapes {shapes}")
    return found


def _log(rows: NDArray[Any], step: int) -> Log:
    """The table of what was recorded: one row a step, none of them beyond the state's own."""
    if rows.size == 0 and step == 0:  # interrupted before the first record
        return []
    # Errors on test prompts are NaN where there are none: only the steps must be numbers.
    if rows.dtype != np.float64 or rows.ndim != 2 or rows.shape[1] != 1 + len(LOG_COLUMNS):
        raise ValueError(f"log is not a table of {1 + len(LOG_COLUMNS)} columns of doubles")
    steps = rows[:, 0]
    if not (steps[0] == 0 and np.all(np.diff(steps) > 0) and steps[-1] <= step):
        raise ValueError(f"the steps of the log do not lead to step {step}")
    found: Log = rows.tolist()
    return found
