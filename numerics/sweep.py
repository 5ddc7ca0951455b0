"""solve over the product of axes, as a labelled dataset."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from iclglass.numerics.arguments import is_data_array
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.finite_size import whole_dimensions
from iclglass.numerics.fixed_point import Status
from iclglass.numerics.last_row import LastRow
from iclglass.numerics.memory import check_memory
from iclglass.numerics.parameters import PARAMETERS, real
from iclglass.numerics.saddle_point import solve_points
from iclglass.numerics.solution import DIAGNOSTICS, OBSERVABLES
from iclglass.numerics.storage import PROVENANCE, provenance
from iclglass.numerics.task_spectrum import ISOTROPIC, TaskSpectrum

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["axis_coordinates", "grid_axes", "status_flags", "sweep"]

_DIAGNOSTICS = {**DIAGNOSTICS, "status": "what became of the point"}
_COUNTS = {
    "prompts": "prompts P = round(tau D^2) used",
    "context": "labelled tokens N = round(alpha D) used",
    "task_count": "distinct tasks K = round(kappa D) used",
}


def sweep(
    *,
    task_diversity: ArrayLike,
    context_length: ArrayLike,
    distinct_tasks: ArrayLike = np.inf,
    label_noise: ArrayLike = 0.0,
    ridge: ArrayLike = 0.1,
    temperature: ArrayLike = 0.0,
    test_context_length: ArrayLike | None = None,
    tasks: TaskSpectrum = ISOTROPIC,
    dimension: ArrayLike | None = None,
    norm: str = "N",
    last_feature: str = "unit-tokens",
    last_row: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> "xr.Dataset":
    """Solve over the product of all parameters given as one-dimensional arrays.

    Equation and source: `numerics.saddle_point.solve`.

    Args:
        task_diversity, context_length, distinct_tasks, label_noise, ridge, temperature, test_context_length: a
            number, or a one-dimensional array, which becomes an axis; ranges as in `solve`.
        tasks: covariance spectrum of the tasks, default isotropic.
        dimension: token dimension D, a number or an axis, for the finite-size theory; the integers P, N and K used are
            then variables of the dataset. Default none, D -> infinity.
        norm: divisor of the attention sum at finite D, "N" or "N+1".
        last_feature, last_row: the layer at finite D, as in `solve`.
        progress: called with (points done, points in all) where that takes time: pools at finite dimension.

    Returns:
        xarray.Dataset with one dimension an axis, in the order of the arguments; a variable for every quantity of
        `Solution`; scalars as scalar coordinates; provenance in one JSON attribute. Failed points are NaN, with a
        status (CF flag_values, flag_meanings).

    Raises:
        ParameterError, ParameterTypeError: bad input, an empty axis, or a grid that does not fit in memory (with the
            estimate).

    Examples:
        >>> ds = sweep(task_diversity=[0.5, 2.0, 4.0], context_length=[1.0, 2.0])
        >>> dict(ds.sizes), round(float(ds.e_icl.sel(task_diversity=2.0, context_length=1.0)), 4)
        ({'task_diversity': 3, 'context_length': 2}, 0.8669)
    """
    import xarray as xr

    given: dict[str, ArrayLike] = {
        "task_diversity": task_diversity,
        "context_length": context_length,
        "distinct_tasks": distinct_tasks,
        "label_noise": label_noise,
        "ridge": ridge,
        "temperature": temperature,
    }
    if test_context_length is not None:
        given["test_context_length"] = test_context_length
    if dimension is not None:
        given["dimension"] = dimension
    axes, values = grid_axes(given)
    _check_memory(axes)
    shaped = {}
    for name, value in values.items():
        position = list(axes).index(name) if name in axes else 0
        shaped[name] = value.reshape([-1 if k == position else 1 for k in range(len(axes))]) if axes else value
    sizes = shaped.pop("dimension", None)
    layer = LastRow(last_feature, last_row)
    solution = solve_points(shaped, tasks=tasks, dimension=sizes, norm=norm, layer=layer, progress=progress)
    variables = {}
    for name, text in {**OBSERVABLES, **_DIAGNOSTICS}.items():
        variables[name] = xr.Variable(tuple(axes), getattr(solution, name), {"long_name": text, "units": "1"})
    for name, text in _COUNTS.items() if sizes is not None else ():
        variables[name] = xr.Variable(tuple(axes), getattr(solution, name), {"long_name": text, "units": "1"})
    variables["status"].attrs.update(status_flags())
    coordinates = axis_coordinates(axes, values)
    parameters = {
        name: value if value.ndim == 0 else [value[0], value[-1], value.size] for name, value in values.items()
    }
    recorded = {**parameters, "tasks": tasks.record()}
    if sizes is not None:
        recorded |= {"norm": norm, **layer.to_dict()}
    origin = provenance(recorded, modules=["iclglass.numerics.sweep"])
    attributes = {"title": "iclglass sweep", PROVENANCE: origin}
    return xr.Dataset(variables, coords=coordinates, attrs=attributes)


def status_flags() -> dict[str, object]:
    """CF attributes of a variable of status codes.

    >>> status_flags()["flag_meanings"].split()[:2]
    ['converged', 'diverges']
    """
    flags = np.array([status.value for status in Status], dtype=np.int8)
    return {"flag_values": flags, "flag_meanings": " ".join(status.name.lower() for status in Status)}


def axis_coordinates(axes: Mapping[str, int], values: Mapping[str, NDArray[np.float64]]) -> "dict[str, xr.Variable]":
    """Coordinates of a grid with their meaning: axes as such, fixed parameters as scalars."""
    import xarray as xr

    coordinates = {}
    for name, value in values.items():
        meaning, symbol = ("token dimension", "D") if name == "dimension" else _described(name)
        attributes = {"long_name": meaning, "units": "1", "symbol": symbol}
        dims = (name,) if name in axes else ()
        coordinates[name] = xr.Variable(dims, value if name in axes else float(value), attributes)
    return coordinates


def _described(name: str) -> tuple[str, str]:
    return PARAMETERS[name].meaning, PARAMETERS[name].symbol


def grid_axes(given: Mapping[str, ArrayLike]) -> tuple[dict[str, int], dict[str, NDArray[np.float64]]]:
    """Sizes of the axes (parameters given as one-dimensional arrays, in order), and all parameters, checked.

    Raises:
        ParameterError, ParameterTypeError: a value out of range, an empty axis, an array of more dimensions.

    >>> grid_axes({"task_diversity": [1.0, 2.0], "ridge": 0.1})[0]
    {'task_diversity': 2}
    """
    plain = {name: _unnamed(name, value) for name, value in given.items()}
    values = {
        name: whole_dimensions(value).astype(np.float64) if name == "dimension" else real(name, value)
        for name, value in plain.items()
    }
    for name, value in values.items():
        if value.ndim > 1:
            raise ParameterError(f"{name} has {value.ndim} dimensions: an axis is a number or a one-dimensional array")
        if value.size == 0:
            raise ParameterError(f"{name} is an empty axis: give at least one value")
    return {name: value.size for name, value in values.items() if value.ndim == 1}, values


def _unnamed(name: str, value: ArrayLike) -> ArrayLike:
    """An axis of another dataset as a plain array; a DataArray along another dimension is refused, as no such axis."""
    if not is_data_array(value) or value.ndim == 0:
        return value
    if value.dims != (name,):
        raise ParameterError(
            f"{name} is a DataArray along {', '.join(map(str, value.dims))}, and an axis of a sweep is along {name} "
            "itself: pass its numbers, .to_numpy(), for a product of all axes, or call solve, which pairs DataArrays "
            "by name"
        )
    return value.to_numpy()


def _check_memory(axes: Mapping[str, int]) -> None:
    points = 1
    for size in axes.values():
        points *= size
    # Every quantity as a double, and as much again for the broadcast parameters while solving.
    needed = 8.0 * points * 2 * (len(OBSERVABLES) + len(_DIAGNOSTICS))
    check_memory(needed, what=f"{points} grid points", remedy="take fewer points, or several sweeps")
