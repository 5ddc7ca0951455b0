"""Checks of what users give: numbers, arrays, counts, choices; each message names the value, the range and the remedy.

Numbers are those of Python and NumPy, and exact ones: Fraction, Decimal, mpmath's, SymPy's. Text, booleans and complex
numbers are none. What NumPy would convert in silence, dropping a mask, a unit or labels, is refused.
"""

from __future__ import annotations

import math
import os
import reprlib
import sys
from decimal import Decimal
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.errors import ParameterError, ParameterTypeError

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "LARGEST",
    "MOST",
    "FloatArray",
    "as_number",
    "check_beta",
    "check_callable",
    "check_choice",
    "check_count",
    "check_flag",
    "check_generator",
    "check_path",
    "check_real",
    "check_solver",
    "check_type",
    "doubles",
    "is_data_array",
    "real_array",
    "to_double",
]

LARGEST = 1e30
"""Of unscaled parameters: beyond it, or below its inverse, products and cubes of matrices leave floating point."""
MOST = 10**15
"""Counts above it would take longer than a lifetime, or more memory than there is."""

FloatArray = NDArray[np.float64]
"""What numbers of users become."""


def check_count(name: str, value: object, *, minimum: int, maximum: int | None = None, reason: str = "") -> int:
    """Return `value` as an int of at least `minimum`, and at most `maximum` where one is given.

    Raises ParameterTypeError for anything that is not a number, ParameterError for a fraction or a number
    too small or too large.

    >>> check_count("prompts", 12, minimum=1)
    12
    """
    given = as_number(value)
    if given is None:
        raise ParameterTypeError(f"{name} must be an integer, got {_kind(value)}")
    whole = isinstance(given, Integral) or (math.isfinite(to_double(name, given)) and int(given) == given)
    if not whole:
        raise ParameterError(f"{name} must be a whole number, got {value!r}; round it")
    count = int(given)
    if count < minimum:
        because = f" ({reason})" if reason else ""
        raise ParameterError(f"{name} must be at least {minimum}{because}, got {reprlib.repr(count)}")
    if maximum is not None and count > maximum:
        raise ParameterError(f"{name} must be at most {maximum}, got {reprlib.repr(count)}")
    return count


def check_real(name: str, value: object, *, minimum: float, above: bool = False, maximum: float = math.inf) -> float:
    """Return `value` as a finite float in [minimum, maximum), or in (minimum, maximum) with `above`.

    >>> check_real("ridge", 0, minimum=0)
    0.0
    """
    given = as_number(value)
    if given is None:
        raise ParameterTypeError(f"{name} must be a real number, got {_kind(value)}")
    number = to_double(name, given)
    low = number > minimum if above else number >= minimum
    if not (math.isfinite(number) and low and number < maximum):
        bounds = f"{'>' if above else '>='} {minimum:g}" + (f" and < {maximum:g}" if maximum < math.inf else "")
        raise ParameterError(f"{name} must be finite and {bounds}, got {reprlib.repr(value)}")
    return number


def check_beta(value: object) -> float:
    """Return an inverse temperature, not scaled, as a float of (0, 1e30), and not below 1e-30.

    >>> check_beta(100)
    100.0
    """
    beta = check_real("beta", value, minimum=0.0, above=True)
    if not 1 / LARGEST <= beta < LARGEST:
        raise ParameterError(f"beta must be in {1 / LARGEST:g} .. {LARGEST:g}, got {value!r}: variances would overflow")
    return beta


def check_solver(
    ridge0: object, beta: object, tolerance: object, max_iterations: object
) -> tuple[float, float, float, int]:
    """What every solver of one data set is given: SG's lambda0 >= 0 and beta, not scaled, and when it stops.

    >>> check_solver(0, 2, 1e-12, 100)
    (0.0, 2.0, 1e-12, 100)
    """
    return (
        check_real("ridge0", ridge0, minimum=0.0, maximum=LARGEST),
        check_beta(beta),
        check_real("tolerance", tolerance, minimum=0.0, above=True, maximum=1.0),
        check_count("max_iterations", max_iterations, minimum=1),
    )


def as_number(value: object) -> Any:
    """The value as a real number of its own type, exact as it came; None where it is none.

    >>> as_number(Decimal("0.1")), as_number(np.array(2)), as_number(True), as_number("1")
    (Decimal('0.1'), np.int64(2), None, None)
    """
    if isinstance(value, np.ndarray) and value.ndim == 0 and not np.ma.is_masked(value):
        value = value[()]
    elif is_data_array(value) and value.ndim == 0:
        value = value.to_numpy()[()]
    if isinstance(value, (bool, np.bool_, np.timedelta64)):  # NumPy counts a time span among the integers
        return None
    if isinstance(value, (Real, Decimal)):
        return value
    # Of SymPy's numbers only the rational and the decimal ones are Real: pi and sqrt(2) know themselves.
    symbolic = type(value).__module__.partition(".")[0] == "sympy"
    return value if symbolic and getattr(value, "is_number", False) and value.is_extended_real else None  # type: ignore[attr-defined]


def to_double(name: str, number: Any) -> float:
    """A number as a float; infinite and NaN stay what they are.

    Raises ParameterError for a number that is finite and too large, or not 0 and too small.

    >>> to_double("ridge", Decimal("0.1"))
    0.1
    """
    try:
        double = float(number)
    except OverflowError:
        double = math.inf
    except (TypeError, ValueError):  # a signalling NaN; a symbolic number that cannot be evaluated
        return math.nan
    lost = (math.isinf(double) and abs(number) != math.inf) or (double == 0 and number != 0)
    if lost:
        raise ParameterError(f"{name} = {reprlib.repr(number)} {_BEYOND}")
    return double


_MUST = "must be a real number or an array of real numbers"
_BEYOND = "is beyond double precision, whose numbers are 0 and 5e-324 .. 1.8e308: take one of these"
_LABELLED = {"xarray": ("DataArray", "Dataset", "Variable"), "pandas": ("Series", "DataFrame")}


def is_data_array(value: object) -> TypeGuard[xr.DataArray]:
    """Whether the value is an xarray.DataArray; xarray is not imported to find out.

    >>> is_data_array(1.0)
    False
    """
    return _is_of("xarray", ("DataArray",), value)


def _is_of(module: str, names: tuple[str, ...], value: object) -> bool:
    loaded = sys.modules.get(module)
    # A user's own file may have that name, too.
    return loaded is not None and isinstance(value, tuple(getattr(loaded, name, ()) for name in names))


def real_array(name: str, value: object) -> NDArray[Any]:
    """The value as an array of integers or floats, of the type it has; exact numbers become doubles.

    Raises ParameterTypeError for anything that is not a real number or a rectangular array of them, and for what an
    array would lose in silence: masked entries, units, the names and labels of xarray and pandas.

    >>> real_array("ridge", [1, Decimal("0.5")])
    array([1. , 0.5])
    """
    _refuse_silent_loss(name, value)
    try:
        array = np.asarray(value)
    except Exception as error:  # by what an object of others does when asked for an array
        raise ParameterTypeError(f"{name} must be a number or a rectangular array of numbers: {error}") from error
    if array.dtype.kind == "O":
        numbers = [as_number(entry) for entry in array.flat]
        wrong = [entry for entry, number in zip(array.flat, numbers, strict=True) if number is None]
        if wrong and array.ndim:
            raise ParameterTypeError(f"{name} {_MUST}, not {_kind(wrong[0])} among them")
        if not wrong:
            return np.array([to_double(name, number) for number in numbers], dtype=np.float64).reshape(array.shape)
    if array.dtype.kind not in "iuf":
        remedy = "; pass its real part" if array.dtype.kind == "c" else ""
        raise ParameterTypeError(f"{name} {_MUST}, not {array.dtype if array.ndim else _kind(value)}{remedy}")
    return array


def doubles(name: str, value: object) -> NDArray[np.float64]:
    """`real_array` in double precision.

    Raises ParameterTypeError as `real_array`, ParameterError for numbers that double precision has not.

    >>> doubles("ridge", 1)
    array(1.)
    """
    array = real_array(name, value)
    with np.errstate(over="ignore", under="ignore"):
        result = array.astype(np.float64)
    lost = (np.isinf(result) & ~np.isinf(array)) | ((result == 0) & (array != 0))
    if lost.any():
        raise ParameterError(f"{name} = {array[lost].flat[0]} {_BEYOND}")
    return result


def _refuse_silent_loss(name: str, value: object) -> None:
    """Refuse what NumPy would convert without a word and with another meaning, also inside of lists."""
    if isinstance(value, (list, tuple)):
        kinds = set(map(type, value))
        # A list of plain numbers may be long: it is not gone through.
        if any(kind is bool or not issubclass(kind, (int, float, np.number)) for kind in kinds):
            for part in value:
                if isinstance(part, (bool, np.bool_)) or getattr(part, "dtype", None) == np.bool_:
                    raise ParameterTypeError(f"{name} {_MUST}, not {_kind(part)} among them")
                _refuse_silent_loss(name, part)
    elif np.ma.is_masked(value):
        raise ParameterTypeError(
            f"{name} must be an array with all its numbers, not a masked array with masked entries: leave those out, "
            "or give them a number with .filled(...)"
        )
    elif isinstance(value, np.ndarray) and (hasattr(value, "unit") or hasattr(value, "units")):
        raise ParameterTypeError(
            f"{name} must be a plain number or array, not a {type(value).__name__} with a unit: parameters are "
            "dimensionless, pass its value"
        )
    elif any(_is_of(module, names, value) for module, names in _LABELLED.items()):
        kind = type(value).__name__
        # One number has no order that labels could change.
        if not (is_data_array(value) and value.ndim == 0):
            raise ParameterTypeError(
                f"{name} {_MUST}, not a {kind}, whose labels would be ignored: pass its numbers, .to_numpy()"
                f"{_BY_NAME.get(kind, '')}"
            )


_BY_NAME = {
    "DataArray": " (as keywords of solve, learning_curve and the like, all parameters may be DataArrays)",
    "Series": ", or .to_xarray() where DataArrays are paired by name",
}


def _kind(value: object) -> str:
    """Type and value for a message, on one line, and what to do about None."""
    remedy = "; leave it out where it has a default" if value is None else ""
    return f"{type(value).__name__} {' '.join(reprlib.repr(value).split())}{remedy}"


def check_type(name: str, value: object, kind: type, wanted: str, *, remedy: str = "") -> None:
    """Refuse a value of another type, in these words.

    >>> check_type("prompts", 12, int, "an integer")
    """
    if not isinstance(value, kind):
        raise ParameterTypeError(f"{name} must be {wanted}, got {type(value).__name__}{remedy}")


def check_generator(rng: object) -> None:
    """Refuse what is neither None nor a generator of random numbers.

    >>> check_generator(np.random.default_rng(0))
    """
    check_type("rng", rng, np.random.Generator | None, "a numpy.random.Generator")  # type: ignore[arg-type]


def check_callable(name: str, value: object) -> None:
    """Refuse what is neither None nor can be called.

    >>> check_callable("progress", print)
    """
    if value is not None and not callable(value):
        raise ParameterTypeError(f"{name} must be a function or None, got {_kind(value)}")


def check_flag(name: str, value: object) -> bool:
    """Return True or False as it is; a text like "no" is not taken for True.

    >>> check_flag("force", False)
    False
    """
    if not isinstance(value, (bool, np.bool_)):
        raise ParameterTypeError(f"{name} must be True or False, got {_kind(value)}")
    return bool(value)


def check_path(name: str, value: object) -> Path:
    """Return the name of a file as a path.

    >>> check_path("path", "sweep.nc").name
    'sweep.nc'
    """
    if not isinstance(value, (str, os.PathLike)):
        raise ParameterTypeError(f"{name} must be the name of a file, got {_kind(value)}")
    return Path(value)


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> str:
    """Return `value` if it is one of `choices`.

    >>> check_choice("norm", "N", ("N", "N+1"))
    'N'
    """
    if not isinstance(value, str):
        raise ParameterTypeError(f"{name} must be one of {', '.join(choices)}, got {_kind(value)}")
    if value not in choices:
        raise ParameterError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
    return value
