"""The parameters of the theory: names, symbols, ranges, defaults; validation in one place.

Source of the names: the project's interface, README.md. All are dimensionless scaled parameters of notes/notation.md.
"""

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import reduce, wraps
from operator import add
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from iclglass.numerics.arguments import doubles, is_data_array, real_array
from iclglass.numerics.errors import ParameterError, ParameterTypeError

__all__ = ["PARAMETERS", "Parameter", "broadcast", "broadcast_arrays", "by_name", "closest", "real"]

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Parameter:
    """One parameter of the theory.

    Attributes:
        name: Python keyword.
        letter: short name on the command line and of the symbol.
        meaning: one line for help texts and labels.
        symbol: Unicode symbol for axis labels.
        zero_allowed: whether 0 is in the range; no parameter is negative.
        infinite: whether infinity is in the range.
        default: value when not given; None means required (or another parameter's value, said in ``meaning``).
        remedy: what to do about a value out of range.
    """

    name: str
    letter: str
    meaning: str
    symbol: str
    zero_allowed: bool
    default: float | None
    remedy: str
    infinite: bool = False

    @property
    def range(self) -> str:
        """The range in words."""
        low = ">= 0" if self.zero_allowed else "> 0"
        return f"{low}, or infinite" if self.infinite else f"finite and {low}"


PARAMETERS: dict[str, Parameter] = {
    parameter.name: parameter
    for parameter in (
        Parameter(
            "task_diversity",
            "tau",
            "task diversity P/D^2",
            "τ",
            False,
            None,
            "take P >= 1 prompts: tau = P/D^2 > 0",
        ),
        Parameter(
            "context_length",
            "alpha",
            "context length N/D",
            "α",
            False,
            None,
            "take N >= 1 tokens: alpha = N/D > 0",
        ),
        Parameter(
            "distinct_tasks",
            "kappa",
            "distinct tasks K/D; infinity: one task per prompt",
            "κ",
            False,
            math.inf,
            "take K >= 1 tasks, kappa = K/D > 0, or inf for one task per prompt",
            infinite=True,
        ),
        Parameter("label_noise", "rho", "variance of the label noise", "ρ", True, 0.0, "a variance is not negative"),
        Parameter(
            "ridge",
            "lam",
            "ridge D lambda0; 0 is the ridgeless limit",
            "λ",
            True,
            0.1,
            "0 is the ridgeless limit",
        ),
        Parameter(
            "temperature",
            "T",
            "temperature D^2/beta; 0 is the ground state",
            "T",
            True,
            0.0,
            "0 is the ground state",
        ),
        Parameter(
            "test_context_length",
            "test_context_length",
            "context length of test prompts; as in pretraining when not given",
            "α_test",
            False,
            None,
            "leave it out to test at the pretraining context length",
        ),
    )
}


def closest(name: str, known: Iterable[str]) -> str:
    """' (did you mean ...?)' for a name close to a known one, else the list of known names.

    Examples:
        >>> closest("e_ilc", ["e_icl", "chi"])
        "; did you mean 'e_icl'?"
        >>> closest("zzz", ["e_icl", "chi"])
        '; known: e_icl, chi'
    """
    names = list(known)
    match = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {match[0]!r}?" if match else f"; known: {', '.join(names)}"


def real(name: str, value: ArrayLike) -> NDArray[np.float64]:
    """A real array of any shape, checked against the range of the parameter ``name``.

    Raises:
        ParameterTypeError: not a real number or an array of them (`numerics.arguments.real_array`).
        ParameterError: NaN, infinite, or out of range; the message names value, range and remedy.

    Examples:
        >>> real("ridge", [0, 1])
        array([0., 1.])
        >>> real("label_noise", -1)
        Traceback (most recent call last):
        iclglass.numerics.errors.ParameterError: label_noise = -1.0 must be finite and >= 0: a variance is not negative
    """
    parameter = PARAMETERS[name]
    array = doubles(name, value)
    low_enough = array >= 0 if parameter.zero_allowed else array > 0
    bounded = ~np.isnan(array) if parameter.infinite else np.isfinite(array)
    bad = ~(bounded & low_enough)
    if bad.any():
        value = float(array[bad].flat[0])
        raise ParameterError(f"{name} = {value} must be {parameter.range}: {parameter.remedy}")
    return array


def broadcast(values: Mapping[str, ArrayLike | None]) -> dict[str, NDArray[np.float64]]:
    """Validate parameters by name and broadcast them to one shape, as read-only views.

    A parameter that is left out has its default; ``test_context_length`` left out or None the value of
    ``context_length``.

    Raises:
        ParameterTypeError, ParameterError: as `real`, any other None included; shapes that do not broadcast.
    """
    arrays = {}
    for name, parameter in PARAMETERS.items():
        value = values.get(name, parameter.default)
        if value is None and name == "test_context_length":
            value = values.get("context_length")
        if value is None and parameter.default is None:
            raise ParameterTypeError(f"{name} is required: {parameter.meaning}")
        arrays[name] = real(name, value)  # type: ignore[arg-type]
    return broadcast_arrays(arrays)


def broadcast_arrays(arrays: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Checked arrays, by name, broadcast to one shape, as read-only views.

    Raises:
        ParameterError: shapes that do not broadcast; it names them.

    Examples:
        >>> {name: array.shape for name, array in broadcast_arrays({"a": np.ones(2), "b": np.ones(())}).items()}
        {'a': (2,), 'b': (2,)}
    """
    try:
        return dict(zip(arrays, np.broadcast_arrays(*arrays.values()), strict=True))
    except ValueError as error:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items() if array.ndim)
        raise ParameterError(f"the parameters' shapes do not broadcast: {shapes}") from error


_BROADCAST = (*PARAMETERS, "dimension", "time", "initial_overlap", "initial_chi")


def by_name(function: Callable[P, R]) -> Callable[P, R]:
    """The function, taking its parameters also as xarray.DataArrays, which are paired by the names of their dimensions.

    The results, an array or a dataclass of arrays, are then DataArrays, too, with all dimensions and coordinates of the
    parameters; a result with one more axis in front has the dimension ``step``. Other parameters must be numbers, as an
    array without names would have to be paired by position.

    Raises:
        ParameterTypeError: DataArrays and other arrays together.
        ParameterError: coordinates of one dimension that differ.

    Examples:
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
        if arrays and not any(array.ndim for array in named.values()):
            return function(*args, **given)
        if arrays:
            raise ParameterTypeError(
                f"{arrays[0]} is an array without names and {next(iter(named))} a DataArray: give all as DataArrays, "
                "or all as arrays (.to_numpy()); numbers go with both"
            )
        like, values = _aligned(named)
        return _labelled(function(*args, **{**given, **values}), like)

    return paired


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
