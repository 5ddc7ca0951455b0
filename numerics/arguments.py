"""Checks of user-given counts and real numbers: each message names the value, the range and the remedy."""

from __future__ import annotations

import math
import reprlib
from numbers import Integral, Real

from iclglass.numerics.errors import ParameterError, ParameterTypeError

__all__ = ["LARGEST", "MOST", "check_beta", "check_choice", "check_count", "check_real"]

LARGEST = 1e30
"""Of unscaled parameters: beyond it, or below its inverse, products and cubes of matrices leave floating point."""
MOST = 10**15
"""Counts above it would take longer than a lifetime, or more memory than there is."""


def check_count(name: str, value: object, *, minimum: int, maximum: int | None = None, reason: str = "") -> int:
    """Return `value` as an int of at least `minimum`, and at most `maximum` where one is given.

    Raises ParameterTypeError for anything that is not a number, ParameterError for a fraction or a number
    too small or too large.

    >>> check_count("prompts", 12, minimum=1)
    12
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ParameterTypeError(f"{name} must be an integer, got {type(value).__name__} {value!r}")
    if isinstance(value, Integral):
        count = int(value)
    else:
        number = _double(value)
        if not math.isfinite(number) or not number.is_integer():
            raise ParameterError(f"{name} must be a whole number, got {value!r}; round it")
        count = int(number)
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
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ParameterTypeError(f"{name} must be a real number, got {type(value).__name__} {value!r}")
    number = _double(value)
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


def _double(value: Real) -> float:
    """The value as a float; infinite when it is beyond the range of one."""
    try:
        return float(value)
    except OverflowError:
        return -math.inf if value < 0 else math.inf


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> str:
    """Return `value` if it is one of `choices`.

    >>> check_choice("norm", "N", ("N", "N+1"))
    'N'
    """
    if not isinstance(value, str):
        raise ParameterTypeError(f"{name} must be one of {', '.join(choices)}, got {type(value).__name__} {value!r}")
    if value not in choices:
        raise ParameterError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
    return value
