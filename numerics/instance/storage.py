"""Data sets and solutions as files, .npz and netCDF; data sets also from a user's own .npz. No file can run code."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.archive import read_arrays
from iclglass.numerics.arguments import check_choice, check_count, check_flag, check_path, check_type
from iclglass.numerics.errors import OutputError, ParameterError, ParameterTypeError
from iclglass.numerics.instance.data import Instance, check_instance
from iclglass.numerics.instance.solution import InstanceSolution
from iclglass.numerics.last_row import UNIT_TOKENS, LastRow
from iclglass.numerics.running.resuming import Program
from iclglass.numerics.sizes import NORMS
from iclglass.numerics.status import Status
from iclglass.numerics.storage import PROVENANCE, load, provenance, replacing, save

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["load_instance", "load_solution", "read_instance", "save_instance", "save_solution"]

FloatArray = NDArray[np.float64]

_REDUCED = ("context", "query", "label")
_TOKENS = ("tokens", "labels", "query", "label")

_SOLVERS = ("iclglass.numerics.instance.solve", "iclglass.numerics.instance.distributed")

_MATRICES = ("mean", "variance", "variance_error")
_NUMBERS = ("ridge0", "beta", "log_partition", "residual", "spectral_radius")
_TEXTS = ("method", "reason", "last_feature")
"""Fields of `InstanceSolution` that a file holds under their names."""

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
    import xarray as xr

    check_instance(instance)
    variables = {name: (dimensions, getattr(instance, name)) for name, dimensions in _DIMENSIONS.items()}
    sizes = {"prompts": instance.prompts, "dimension": instance.dimension}
    dataset = xr.Dataset(variables, attrs={"last_feature": instance.last_feature})
    _write(path, dataset, _record(sizes, parameters, seed), force)


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
    check_type("solution", solution, InstanceSolution, "an InstanceSolution")
    record = _record(solution.parameters, parameters, seed, modules=_SOLVERS, programs=solution.programs)
    _write(path, solution.to_dataset(), record, force)


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
        found: dict[str, Any] = {name: dataset[name].values for name in (*_MATRICES, "history")}
        found |= {name: float(dataset[name]) for name in _NUMBERS}
        found |= {name: str(dataset.attrs[name]) for name in _TEXTS}
        return InstanceSolution(
            iterations=int(dataset["iterations"]),
            status=Status[dataset.attrs["status"]],
            parameters=origin.get("parameters", {}),
            programs=tuple(origin.get("programs", ())),
            **found,
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
    if parameters is not None:
        check_type("parameters", parameters, Mapping, "a mapping from names to values")
    seed = None if seed is None else check_count("seed", seed, minimum=0)
    return provenance({**known, **(parameters or {})}, seed=seed, modules=modules, programs=programs)


def _write(path: str | Path, dataset: xr.Dataset, record: str, force: bool) -> None:
    """A dataset; in .npz its attributes are arrays of text (read without pickle)."""
    target, force = check_path("path", path), check_flag("force", force)
    dataset = dataset.assign_attrs({PROVENANCE: record})
    if _suffix(target) == ".npz":
        arrays: dict[str, Any] = {str(name): array.values for name, array in dataset.items()}
        arrays |= {name: np.array(value) for name, value in dataset.attrs.items()}
        with replacing(target, force=force) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)
        return
    save(dataset, target, force=force)


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
    options = {"norm": norm, "last_feature": last_feature, "last_row": last_row}
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    built = {"norm": check_choice("norm", given.pop("norm", NORMS[0]), NORMS), **LastRow(**given).to_dict()}
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
        return Instance.from_tokens(*(arrays[name] for name in names), **built), built
    except (ParameterError, ParameterTypeError) as error:
        raise OutputError(f"{source} holds no data set: {error}") from error


def _suffix(path: Path) -> str:
    if path.suffix not in (".npz", ".nc"):
        raise ParameterError(f"{path} must end in .npz or .nc, the two formats of data sets")
    return path.suffix
