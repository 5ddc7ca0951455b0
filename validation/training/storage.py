"""Unfinished and finished training on disk: one .npz file, replaced atomically, that only the same run can resume."""

from __future__ import annotations

import hashlib
import json
import reprlib
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numerics.errors import OutputError, ParameterError
from numerics.storage import replacing
from validation.training.layer import Parameters
from validation.training.optimisers import State

__all__ = ["digest", "load_state", "save_state"]

_FORMAT = "iclglass training"
_SCHEMA_VERSION = 1
_DAMAGE = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    EOFError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
    MemoryError,
)


def digest(*arrays: NDArray[Any]) -> str:
    """What names arrays in a file's settings: a hash of their bytes.

    >>> digest(np.zeros(2)) == digest(np.zeros(2)), digest(np.zeros(2)) == digest(np.zeros(3))
    (True, False)
    """
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype} {array.shape} ".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def save_state(path: Path, state: State, log: NDArray[np.float64], settings: Mapping[str, object]) -> None:
    """Write the state, the log of what was recorded, and the settings; replaces the file of an earlier step.

    Raises OutputError if it cannot be written.
    """
    header = {"format": _FORMAT, "schema_version": _SCHEMA_VERSION, "settings": dict(settings)}
    arrays: dict[str, Any] = {"header": np.array(json.dumps(header)), "step": np.array(state.step), "log": log}
    for name in ("parameters", "first", "second"):
        arrays |= {f"{name}_{number}": matrix for number, matrix in enumerate(getattr(state, name))}
    with replacing(path, force=True) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def load_state(path: Path, settings: Mapping[str, object], *, matrices: int) -> tuple[State, NDArray[np.float64]]:
    """State and log of a file written by `save_state` with the same settings.

    Raises ParameterError if they differ (it names each), OutputError if the file is none of ours, or damaged.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            header = json.loads(str(file["header"]))
            if header["format"] != _FORMAT or header["schema_version"] != _SCHEMA_VERSION:
                raise ValueError(f"format {header['format']!r}, version {header['schema_version']!r}")
            _refuse_others(path, header["settings"], settings)
            state = State(
                int(file["step"]),
                *(_matrices(file, name, matrices) for name in ("parameters", "first", "second")),
            )
            return state, file["log"]
    except ParameterError:
        raise
    except (*_DAMAGE, OSError) as error:
        raise OutputError(
            f"{path} is damaged or not a training run of this program ({error}); choose another path"
        ) from error


def _matrices(file: Mapping[str, Any], name: str, count: int) -> Parameters:
    return tuple(file[f"{name}_{number}"] for number in range(count))


def _refuse_others(path: Path, found: Mapping[str, object], wanted: Mapping[str, object]) -> None:
    differences = [
        f"{name} is {reprlib.repr(found.get(name))} there and {reprlib.repr(wanted.get(name))} here"
        for name in sorted({*found, *wanted})
        if found.get(name) != wanted.get(name)
    ]
    if differences:
        raise ParameterError(
            f"training run {path} belongs to other parameters: {'; '.join(differences)}; "
            "choose another path or the same parameters"
        )
