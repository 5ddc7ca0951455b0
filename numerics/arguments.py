"""Checks of user-given counts and real numbers: each message names the value, the range and the remedy."""

from __future__ import annotations

import math
from numbers import Integral, Real

from numerics.errors import ParameterError, ParameterTypeError

__all__ = ["check_choice", "check_count", "check_real"]


def check_count(name: str, value: object, *, minimum: int, reason: str = "") -> int:
    """Return `value` as an int of at least `minimum`.

    Raises ParameterTypeError for anything that is not a number, ParameterError for a fraction or a number
    too small.

    >>> check_count("prompts", 12, minimum=1)
    12
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ParameterTypeError(f"{name} must be an integer, got {type(value).__name__} {value!r}")
    number = _double(value)
    if not math.isfinite(number) or not number.is_integer():
        raise ParameterError(f"{name} must be a whole number, got {value!r}; round it")
    count = int(value) if isinstance(value, Integral) else int(number)
    if count < minimum:
        because = f" ({reason})" if reason else ""
        raise ParameterError(f"{name} must be at least {minimum}{because}, got {count}")
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
        raise ParameterError(f"{name} must be finite and {bounds}, got {value!r}")
    return number


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
