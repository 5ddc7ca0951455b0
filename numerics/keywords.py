"""How functions take the fields of `Parameters`: named in their signatures, restricted, as DataArrays by name."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from functools import reduce, wraps
from operator import add
from typing import Any, ParamSpec, TypeVar

import numpy as np

from iclglass.numerics.arguments import is_data_array, real_array
from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.parameters import OF_PATHS, PARAMETERS, STRENGTHS, Given, Parameters, refuse_unknown

__all__ = ["by_name", "spelled_out", "takes"]

P = ParamSpec("P")
R = TypeVar("R")

_BROADCAST = (*PARAMETERS, *STRENGTHS, "dimension", *OF_PATHS)


def by_name(function: Callable[P, R]) -> Callable[P, R]:
    """The function, taking its parameters also as xarray.DataArrays, which are paired by the names of their dimensions.

    The results, an array or a dataclass of arrays, are then DataArrays, too, with all dimensions and coordinates of the
    parameters; a result with one more axis in front has the dimension ``step``. Other parameters must be numbers, as an
    array without names would have to be paired by position.

    Raises ParameterTypeError: DataArrays and other arrays together. ParameterError: coordinates of one dimension that
    differ.

    >>> import xarray as xr
    >>> both = by_name(lambda *, ridge, time: np.asarray(ridge + time))
    >>> both(ridge=xr.DataArray([1, 2], dims="a"), time=xr.DataArray([10, 20, 30], dims="b")).dims
    ('a', 'b')
    """

    @wraps(function)
    def paired(*args: P.args, **given: P.kwargs) -> R:
        named = {name: value for name, value in given.items() if name in _BROADCAST and is_data_array(value)}
        if not named:
            return function(*args, **given)
        others = [name for name in _BROADCAST if name in given and name not in named]
        arrays = [name for name in others if given[name] is not None and real_array(name, given[name]).ndim]
        arrays += ["parameters" for value in args if isinstance(value, Parameters) and value.shape]
        if arrays and not any(array.ndim for array in named.values()):
            return function(*args, **given)
        if arrays:
            raise ParameterTypeError(
                f"{arrays[0]} is an array without names and {next(iter(named))} a DataArray: give all as DataArrays, "
                "or all as arrays (.to_numpy()); numbers go with both"
            )
        like, values = _aligned(named)
        return _labelled(function(*args, **{**given, **values}), like)

    return spelled_out(paired)


def spelled_out(function: Callable[P, R], names: Iterable[str] = tuple(Given.__annotations__)) -> Callable[P, R]:
    """The function, whose signature has the fields of `Parameters` in the place of ``**given`` for help and completion.

    >>> from iclglass import sweep
    >>> list(inspect.signature(sweep).parameters)[:3]
    ['task_diversity', 'context_length', 'distinct_tasks']
    """
    own = inspect.signature(function)
    others = [each for each in own.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    if len(others) == len(own.parameters):
        return function
    named = [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=Given.__annotations__[name])
        for name, each in inspect.signature(Parameters).parameters.items()
        if name in names and name not in own.parameters
    ]
    first = [each for each in others if each.kind is not inspect.Parameter.KEYWORD_ONLY]
    function.__signature__ = own.replace(  # type: ignore[attr-defined]
        parameters=[*first, *named, *others[len(first) :]]
    )
    return function


def takes(*names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A function that takes only these fields of `Parameters` in its ``**given``; its signature names them.

    >>> function = takes("ridge")(lambda **given: given)
    >>> list(inspect.signature(function).parameters), function(ridge=1)
    (['ridge'], {'ridge': 1})
    """

    def restricted(function: Callable[P, R]) -> Callable[P, R]:
        own = [each.name for each in inspect.signature(function).parameters.values() if each.kind != each.VAR_KEYWORD]

        @wraps(function)
        def checked(*args: P.args, **given: P.kwargs) -> R:
            refuse_unknown(given, (*names, *own))
            return function(*args, **given)

        return spelled_out(checked, names)

    return restricted


def _aligned(named: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A DataArray with all dimensions and coordinates, and the numbers of each, broadcast to it."""
    import xarray as xr

    try:
        arrays = xr.align(*named.values(), join="exact", copy=False)
        # Sums of zeros carry dimensions and coordinates as those of the numbers would.
        like = reduce(add, [xr.zeros_like(array, dtype=np.float64) for array in arrays])
        values = {name: array.broadcast_like(like).to_numpy() for name, array in zip(named, arrays, strict=True)}
    except ValueError as error:
        raise ParameterError(
            f"{', '.join(named)} do not fit together, as the coordinates or the length of a dimension differ: select "
            f"what they share, or rename a dimension ({error})"
        ) from error
    return like, values


def _labelled(result: Any, like: Any) -> Any:
    """The arrays of a result with the dimensions and coordinates of ``like``."""

    def named(name: str | None, array: Any) -> Any:
        if isinstance(array, Parameters) or array is None:
            return array
        if isinstance(array, Mapping):
            return {key: named(key, value) for key, value in array.items()}
        shape = np.shape(array)
        longer = len(shape) > like.ndim
        if longer and "step" in like.dims:
            raise ParameterError(
                "a dimension of the parameters is called step, as that of the result: rename it (.rename(step=...))"
            )
        found = (like.expand_dims(step=shape[0]) if longer else like).copy(data=np.asarray(array))
        return found.rename(name)

    if isinstance(result, np.ndarray | np.generic):
        return named(None, result)
    return replace(result, **{field.name: named(field.name, getattr(result, field.name)) for field in fields(result)})
