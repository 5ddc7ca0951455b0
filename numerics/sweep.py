"""solve over the product of axes, as a labelled dataset."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Unpack

from numpy.typing import ArrayLike

from iclglass.numerics.arguments import is_data_array, real_array
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.keywords import spelled_out
from iclglass.numerics.memory import check_memory
from iclglass.numerics.parameters import PARAMETERS, STRENGTHS, Given, Parameters
from iclglass.numerics.saddle_point import solve_points
from iclglass.numerics.solution import DIAGNOSTICS, OBSERVABLES

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["product", "sweep"]


@spelled_out
def sweep(
    *,
    progress: Callable[[int, int], None] | None = None,
    **given: Unpack[Given],
) -> "xr.Dataset":
    """Solve over the product of all parameters given as one-dimensional arrays.

    Equation and source: `numerics.saddle_point.solve`.

    Parameters
    ----------
    progress : callable, optional
        Called with (points done, points in all) where that takes time: pools at finite dimension.
    **given
        Fields of `Parameters`; each a number, or a one-dimensional array, which becomes an axis.

    Returns
    -------
    xarray.Dataset
        One dimension an axis, in the order of the fields; a variable for every quantity of `Solution`, at finite D also
        for the integers P, N and K used; scalars as scalar coordinates; provenance in one JSON attribute. Failed points
        are NaN, with a status (CF flag_values, flag_meanings).

    Raises
    ------
    ParameterError, ParameterTypeError
        Bad input, an empty axis, or a grid that does not fit in memory (with the estimate).

    Examples
    --------
    >>> ds = sweep(task_diversity=[0.5, 2.0, 4.0], context_length=[1.0, 2.0])
    >>> dict(ds.sizes), round(float(ds.e_icl.sel(task_diversity=2.0, context_length=1.0)), 4)
    ({'task_diversity': 3, 'context_length': 2}, 0.8669)
    """
    axes, grid = product(given)
    _check_memory(axes)
    return solve_points(grid, progress=progress).to_dataset(tuple(axes)).assign_attrs(title="iclglass sweep")


def product(given: Mapping[str, Any]) -> tuple[dict[str, int], Parameters]:
    """Sizes of the axes (fields of `Parameters` given as one-dimensional arrays, in order), and the product of all.

    Raises
    ------
    ParameterError, ParameterTypeError
        A value out of range, an empty axis, an array of more dimensions.

    Examples
    --------
    >>> axes, grid = product({"task_diversity": [1.0, 2.0], "context_length": 1, "ridge": [0.1, 0.2, 0.3]})
    >>> axes, grid.shape
    ({'task_diversity': 2, 'ridge': 3}, (2, 3))
    """
    names = [name for name in (*PARAMETERS, *STRENGTHS, "dimension") if given.get(name) is not None]
    values = {name: real_array(name, _unnamed(name, given[name])) for name in names}
    for name, value in values.items():
        if value.ndim > 1:
            raise ParameterError(f"{name} has {value.ndim} dimensions: an axis is a number or a one-dimensional array")
        if value.size == 0:
            raise ParameterError(f"{name} is an empty axis: give at least one value")
    axes = {name: value.size for name, value in values.items() if value.ndim}
    for position, name in enumerate(axes):
        values[name] = values[name].reshape([-1 if k == position else 1 for k in range(len(axes))])
    return axes, Parameters.of({**given, **values})


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
    needed = 8.0 * points * 2 * (len(OBSERVABLES) + len(DIAGNOSTICS) + 1)
    check_memory(needed, what=f"{points} grid points", remedy="take fewer points, or several sweeps")
