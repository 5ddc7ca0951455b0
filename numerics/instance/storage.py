"""Data sets and solutions as files, .npz and netCDF; data sets also from a user's own .npz. No file can run code."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.archive import read_arrays
from iclglass.numerics.arguments import check_choice, check_count, check_flag, check_path
from iclglass.numerics.errors import OutputError, ParameterError, ParameterTypeError
from iclglass.numerics.fixed_point import Status
from iclglass.numerics.instance.data import Instance
from iclglass.numerics.instance.solution import InstanceSolution
from iclglass.numerics.last_row import UNIT_TOKENS, LastRow
from iclglass.numerics.running.resuming import Program
from iclglass.numerics.sizes import NORMS
from iclglass.numerics.storage import PROVENANCE, load, provenance, replacing, save

__all__ = ["load_instance", "load_solution", "read_instance", "save_instance", "save_solution"]

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
    text = {"last_feature": instance.last_feature}
    _write(path, variables, text, _record(sizes, parameters, seed), force)


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
    if not isinstance(solution, InstanceSolution):
        raise ParameterTypeError(f"solution must be an InstanceSolution, got {type(solution).__name__}")
    matrix = ("row", "column")
    variables: dict[str, Variable] = {
        name: (matrix, getattr(solution, name)) for name in ("mean", "variance", "variance_error")
    }
    variables["history"] = (("iteration",), solution.history)
    for name in ("ridge0", "beta", "log_partition", "free_energy", "iterations", "residual", "spectral_radius"):
        variables[name] = ((), np.asarray(getattr(solution, name)))
    names = ("method", "reason", "last_feature")
    text = {"status": solution.status.name, **{name: getattr(solution, name) for name in names}}
    record = _record(solution.parameters, parameters, seed, modules=_SOLVERS, programs=solution.programs)
    _write(path, variables, text, record, force)


def load_solution(path: str | Path) -> InstanceSolution:
    """Read a solution from netCDF written by `save_solution`.

    Raises OutputError: the file is missing, damaged, foreign, or holds something else.
    """
    dataset = load(path)
    if {"variance_error", "free_energy"} <= {*map(str, dataset)} and "log_partition" not in dataset:
        raise OutputError(
            f"{path} is of an earlier format, whose free_energy was in other units, -ln Z/beta over dW: solve the data "
            "set again"
        )
    try:
        origin = json.loads(dataset.attrs[PROVENANCE])
        numbers: dict[str, Any] = {
            name: float(dataset[name]) for name in ("ridge0", "beta", "log_partition", "residual")
        }
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
            last_feature=str(dataset.attrs["last_feature"]),
            parameters=origin.get("parameters", {}),
            programs=tuple(origin.get("programs", ())),
            **numbers,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise OutputError(f"{path} holds no solution of a data set: {error}") from error


def _record(
    known: Mapping[str, object],
    parameters: Mapping[str, object] | None,
    seed: int | None,
    *,
    modules: Sequence[str] = (),
    programs: Sequence[Program] = (),
) -> str:
    """Provenance of what is written."""
    if not isinstance(parameters, Mapping | None):
        raise ParameterTypeError(f"parameters must map names to values, got {type(parameters).__name__}")
    seed = None if seed is None else check_count("seed", seed, minimum=0)
    return provenance({**known, **(parameters or {})}, seed=seed, modules=modules, programs=programs)


def _write(
    path: str | Path, variables: Mapping[str, Variable], text: Mapping[str, str], record: str, force: bool
) -> None:
    """Variables with their dimensions, and text: attributes in netCDF, arrays of text in .npz (read without pickle)."""
    target, force = check_path("path", path), check_flag("force", force)
    attributes = {**text, PROVENANCE: record}
    if _suffix(target) == ".npz":
        arrays: dict[str, Any] = {name: array for name, (_, array) in variables.items()}
        arrays |= {name: np.array(value) for name, value in attributes.items()}
        with replacing(target, force=force) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)
        return
    import xarray as xr

    save(xr.Dataset(dict(variables), attrs=attributes), target, force=force)


def load_instance(
    path: str | Path, *, norm: str | None = None, last_feature: str | None = None, last_row: bool | None = None
) -> Instance:
    """Read a data set from netCDF written by `save_instance`, or from any .npz with the right arrays.

    The .npz may be the user's: context (P, D+1) or (P, D), query (P, D), label (P,); or tokens (P, N, D), labels
    (P, N), query, label, see `Instance.from_tokens`, which divides by norm, "N" (default) or "N+1", and builds the
    last_feature, "unit-tokens" (default) or "scaled-tokens", unless last_row is False. Other arrays are ignored.

    Raises OutputError: the file is missing, damaged, foreign or lacks an array, holds pickled objects (they could run
    code), or its arrays are no data set (NaN, shapes that do not fit, complex numbers): what is wrong is in the file,
    not in an argument, and the command line exits with 5. ParameterError: another suffix, or a norm,
    last_feature or last_row for contexts, which are built already.
    """
    return read_instance(path, norm=norm, last_feature=last_feature, last_row=last_row)[0]


def read_instance(
    path: str | Path, *, norm: str | None, last_feature: str | None, last_row: bool | None
) -> tuple[Instance, dict[str, Any]]:
    """`load_instance`, and what is known of how contexts were built: last_row, of tokens norm and last_feature, too."""
    source = check_path("path", path)
    if norm is not None:
        norm = check_choice("norm", norm, NORMS)
    layer = LastRow(
        UNIT_TOKENS.last_feature if last_feature is None else last_feature,
        UNIT_TOKENS.last_row if last_row is None else last_row,
    )
    if _suffix(source) == ".nc":
        dataset = load(source)
        arrays = {str(name): np.asarray(variable.values) for name, variable in dataset.variables.items()}
        kept = dataset.attrs.get("last_feature")
    else:
        arrays = read_arrays(source, {*_REDUCED, *_TOKENS, "last_feature"}.__contains__)
        kept = arrays.pop("last_feature", None)
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
    given = {
        name: value for name, value in (("last_feature", last_feature), ("last_row", last_row)) if value is not None
    }
    if names is _REDUCED and given:
        raise ParameterError(
            f"{source} holds contexts, whose last feature is built already: leave {' and '.join(given)} out; contexts "
            "(P, D) have none"
        )
    try:
        if names is _REDUCED:
            feature = UNIT_TOKENS.last_feature if kept is None else str(kept)
            instance = Instance(*(arrays[name] for name in names), last_feature=feature)
            return instance, {"last_row": instance.last_row} | ({} if kept is None else {"last_feature": feature})
        built = {"norm": norm or "N", **layer.to_dict()}
        return Instance.from_tokens(*(arrays[name] for name in names), **built), built
    except (ParameterError, ParameterTypeError) as error:
        raise OutputError(f"{source} holds no data set: {error}") from error


def _suffix(path: Path) -> str:
    if path.suffix not in (".npz", ".nc"):
        raise ParameterError(f"{path} must end in .npz or .nc, the two formats of data sets")
    return path.suffix
