"""Data sets and solutions as files, .npz and netCDF; data sets also from a user's own .npz. No file can run code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.archive import read_arrays
from iclglass.numerics.arguments import check_choice
from iclglass.numerics.errors import OutputError, ParameterError, ParameterTypeError
from iclglass.numerics.fixed_point import Status
from iclglass.numerics.instance.data import NORMS, Instance
from iclglass.numerics.instance.solution import InstanceSolution
from iclglass.numerics.storage import PROVENANCE, load, provenance, replacing, save

__all__ = ["load_instance", "load_solution", "save_instance", "save_solution"]

FloatArray = NDArray[np.float64]
Variable = tuple[tuple[str, ...], NDArray[Any]]

_REDUCED = ("context", "query", "label")
_TOKENS = ("tokens", "labels", "query", "label")

_SOLVERS = ("iclglass.numerics.instance.solve", "iclglass.numerics.instance.distributed")

_DIMENSIONS = {"context": ("prompt", "row"), "query": ("prompt", "column"), "label": ("prompt",)}


def save_instance(
    instance: Instance,
    path: str | Path,
    *,
    parameters: Mapping[str, object] | None = None,
    seed: int | None = None,
    force: bool = False,
) -> None:
    """Write a data set, U, X and y, to .npz or netCDF (.nc), atomically; its precision survives.

    parameters, seed: what it was drawn from, for the file's provenance. force: replace an existing file.

    Raises OutputError: the file exists or cannot be written; ParameterError: another suffix.
    """
    if not isinstance(instance, Instance):
        raise ParameterTypeError(f"instance must be an Instance, got {type(instance).__name__}")
    variables = {name: (dimensions, getattr(instance, name)) for name, dimensions in _DIMENSIONS.items()}
    sizes = {"prompts": instance.prompts, "dimension": instance.dimension}
    _write(Path(path), variables, {}, provenance({**sizes, **(parameters or {})}, seed=seed), force)


def save_solution(
    solution: InstanceSolution,
    path: str | Path,
    *,
    parameters: Mapping[str, object] | None = None,
    seed: int | None = None,
    force: bool = False,
) -> None:
    """Write means, variances and how they were reached to .npz or netCDF (.nc), atomically.

    What the solution says it follows from is recorded; parameters: more, under other names or in place of it.
    Arrays and numbers are variables under the names of `InstanceSolution`; method, status and reason are text.

    Raises OutputError: the file exists or cannot be written; ParameterError: another suffix.
    """
    matrix = ("row", "column")
    variables: dict[str, Variable] = {
        name: (matrix, getattr(solution, name)) for name in ("mean", "variance", "variance_error")
    }
    variables["history"] = (("iteration",), solution.history)
    for name in ("ridge0", "beta", "free_energy", "iterations", "residual", "spectral_radius"):
        variables[name] = ((), np.asarray(getattr(solution, name)))
    text = {"method": solution.method, "status": solution.status.name, "reason": solution.reason}
    recorded = {**solution.parameters, **(parameters or {})}
    origin = provenance(recorded, seed=seed, modules=_SOLVERS, programs=solution.programs)
    _write(Path(path), variables, text, origin, force)


def load_solution(path: str | Path) -> InstanceSolution:
    """Read a solution from netCDF written by `save_solution`.

    Raises OutputError: the file is missing, damaged, foreign, or holds something else.
    """
    dataset = load(path)
    try:
        numbers: dict[str, Any] = {name: float(dataset[name]) for name in ("ridge0", "beta", "free_energy", "residual")}
        return InstanceSolution(
            method=str(dataset.attrs["method"]),
            mean=dataset["mean"].values,
            variance=dataset["variance"].values,
            variance_error=dataset["variance_error"].values,
            iterations=int(dataset["iterations"]),
            status=Status[dataset.attrs["status"]],
            reason=str(dataset.attrs["reason"]),
            spectral_radius=float(dataset["spectral_radius"]),
            history=dataset["history"].values,
            parameters=json.loads(dataset.attrs[PROVENANCE]).get("parameters", {}),
            **numbers,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise OutputError(f"{path} holds no solution of a data set: {error}") from error


def _write(target: Path, variables: Mapping[str, Variable], text: Mapping[str, str], record: str, force: bool) -> None:
    """Variables with their dimensions, and text: attributes in netCDF, arrays of text in .npz (read without pickle)."""
    attributes = {**text, PROVENANCE: record}
    if _suffix(target) == ".npz":
        arrays: dict[str, Any] = {name: array for name, (_, array) in variables.items()}
        arrays |= {name: np.array(value) for name, value in attributes.items()}
        with replacing(target, force=force) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)
        return
    import xarray as xr

    save(xr.Dataset(dict(variables), attrs=attributes), target, force=force)


def load_instance(path: str | Path, *, norm: str | None = None) -> Instance:
    """Read a data set from netCDF written by `save_instance`, or from any .npz with the right arrays.

    The .npz may be the user's: context (P, D+1), query (P, D), label (P,); or tokens (P, N, D), labels (P, N),
    query, label, see `Instance.from_tokens`, which divides by norm, "N" (default) or "N+1". Other arrays are ignored.

    Raises OutputError: the file is missing, damaged, foreign or lacks an array, holds pickled objects (they could run
    code), or its arrays are no data set (NaN, shapes that do not fit, complex numbers): what is wrong is in the file,
    not in an argument, and the command line exits with 5. ParameterError: another suffix, or a norm for sums already
    divided by one.
    """
    source = Path(path)
    if norm is not None:
        norm = check_choice("norm", norm, NORMS)
    if _suffix(source) == ".nc":
        dataset = load(source)
        arrays = {str(name): np.asarray(variable.values) for name, variable in dataset.variables.items()}
    else:
        arrays = read_arrays(source, {*_REDUCED, *_TOKENS}.__contains__)
    names = _TOKENS if "tokens" in arrays and "context" not in arrays else _REDUCED
    missing = [name for name in names if name not in arrays]
    if missing:
        raise OutputError(
            f"{source} lacks {', '.join(missing)}: it holds {', '.join(sorted(arrays)) or 'nothing'}; a data set needs "
            f"{', '.join(_REDUCED)} or {', '.join(_TOKENS)}"
        )
    if names is _REDUCED and norm is not None:
        raise ParameterError(
            f"{source} holds contexts, which are divided by their norm already: leave norm = {norm!r} out"
        )
    try:
        if names is _REDUCED:
            return Instance(*(arrays[name] for name in names))
        return Instance.from_tokens(*(arrays[name] for name in names), norm=norm or "N")
    except (ParameterError, ParameterTypeError) as error:
        raise OutputError(f"{source} holds no data set: {error}") from error


def _suffix(path: Path) -> str:
    if path.suffix not in (".npz", ".nc"):
        raise ParameterError(f"{path} must end in .npz or .nc, the two formats of data sets")
    return path.suffix
