"""Unfinished and finished training on disk: one .npz file, replaced atomically, that only the same run can resume."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.archive import read_arrays
from iclglass.numerics.errors import OutputError, ParameterError
from iclglass.numerics.resuming import Program, differences, going_on
from iclglass.numerics.storage import replacing
from iclglass.validation.training.layer import Parameters
from iclglass.validation.training.optimisers import State
from iclglass.validation.training.run import LOG_COLUMNS

__all__ = ["load_state", "save_state"]

_FORMAT = "iclglass training"
_SCHEMA_VERSION = 3
_DAMAGE = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
"""What a header or arrays that no run has written raise when they are taken for those of one."""


def save_state(
    path: Path,
    state: State,
    log: NDArray[np.float64],
    settings: Mapping[str, object],
    programs: Sequence[Program],
) -> None:
    """Write the state, the log of what was recorded, the settings, and the programs that have worked on it.

    Replaces the file of an earlier step.

    Raises OutputError if it cannot be written.
    """
    header = {
        "format": _FORMAT,
        "schema_version": _SCHEMA_VERSION,
        "programs": list(programs),
        "settings": dict(settings),
    }
    arrays: dict[str, Any] = {"header": np.array(json.dumps(header)), "step": np.array(state.step), "log": log}
    for name in ("parameters", "first", "second"):
        arrays |= {f"{name}_{number}": matrix for number, matrix in enumerate(getattr(state, name))}
    with replacing(path, force=True) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def load_state(
    path: Path,
    settings: Mapping[str, object],
    *,
    shapes: tuple[tuple[int, ...], ...],
    here: Program,
    resume_anyway: bool = False,
) -> tuple[State, NDArray[np.float64], Sequence[Program]]:
    """State, log and programs of a file written by `save_state` with the same settings.

    shapes: of the matrices trained. here: the program, the last of the programs if it has anything to do.
    resume_anyway: go on with an unfinished run of another version of it.

    Raises ParameterError if they differ (it names each), OutputError if the file is none of ours, damaged, or of an
    unfinished run of another version of the program.
    """
    try:
        file = read_arrays(path)
        header = json.loads(str(file["header"]))
        if header["format"] != _FORMAT:
            raise ValueError(f"format {header['format']!r}")
        if header["schema_version"] != _SCHEMA_VERSION:
            raise OutputError(
                f"{path} is a training run of schema version {header['schema_version']!r}, this program reads "
                f"{_SCHEMA_VERSION}: finish it with the program that began it, or --force (fresh=True) to begin anew"
            )
        _refuse_others(path, header["settings"], settings)
        state = State(
            int(file["step"]),
            *(_matrices(file, name, shapes) for name in ("parameters", "first", "second")),
        )
        if not 0 <= state.step <= int(str(settings["steps"])):
            raise ValueError(f"step {state.step} is none of the run's")
        log = _log(file["log"], state.step)
        programs: Sequence[Program] = header["programs"]
    except (ParameterError, OutputError):
        raise
    except _DAMAGE as error:
        raise OutputError(
            f"{path} is damaged or not a training run of this program ({error}); choose another path"
        ) from error
    if state.step < int(str(settings["steps"])):  # a finished one is only read
        work, anew = f"training run {path}", "--force (fresh=True)"
        programs = going_on(work, programs, here, anyway=resume_anyway, anew=anew)
    return state, log, programs


def _matrices(file: Mapping[str, NDArray[Any]], name: str, shapes: tuple[tuple[int, ...], ...]) -> Parameters:
    return tuple(_numbers(file, f"{name}_{number}", shape) for number, shape in enumerate(shapes))


def _numbers(file: Mapping[str, NDArray[Any]], name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    array = file[name]
    # Not finite they may be: a run interrupted on its way to a divergence goes on to say so.
    if array.dtype != np.float64 or array.shape != shape:
        raise ValueError(f"{name} is not an array of doubles of shape {shape}")
    return array


def _log(rows: NDArray[Any], step: int) -> NDArray[np.float64]:
    """The table of what was recorded: one row a step, none of them beyond the state's own."""
    width = 1 + len(LOG_COLUMNS)
    if rows.size == 0 and step == 0:  # interrupted before the first record
        return np.empty((0, width))
    # Errors on test prompts are NaN where there are none: only the steps must be numbers.
    if rows.dtype != np.float64 or rows.ndim != 2 or rows.shape[1] != width:
        raise ValueError(f"log is not a table of {width} columns of doubles")
    steps = rows[:, 0]
    if not (steps[0] == 0 and np.all(np.diff(steps) > 0) and steps[-1] <= step):
        raise ValueError(f"the steps of the log do not lead to step {step}")
    return rows


def _refuse_others(path: Path, found: Mapping[str, object], wanted: Mapping[str, object]) -> None:
    if others := differences(found, wanted):
        raise ParameterError(
            f"training run {path} belongs to other parameters: {others}; choose another path or the same parameters"
        )
