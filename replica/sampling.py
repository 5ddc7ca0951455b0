"""Signs of expressions at sample values of their symbols: for what assumptions alone do not decide.

Values are the same in every run. A symbol of either sign gets both; strengths are drawn over four decades.
"""

import random
from collections.abc import Iterable, Sequence

import sympy as sp

__all__ = ["everywhere", "numbers", "points", "real_value", "signs"]

_CHOICES = 8
"""Choices of values that must agree."""
_DIGITS = 30
_STEPS = tuple(sp.Float(10, _DIGITS) ** sp.Rational(power, 2) for power in range(-6, 7))
"""Distances from the end of an interval."""


def numbers(symbols: Iterable[sp.Basic], choice: int) -> dict[sp.Basic, sp.Expr]:
    """Values for the symbols within their ranges, different for each choice."""
    source = random.Random(choice)
    values = {}
    for symbol in sorted(symbols, key=str):
        size = sp.Rational(round(1000 * 10 ** source.uniform(-2, 2)), 1000)
        values[symbol] = size if symbol.is_nonnegative else source.choice((-1, 1)) * size
    return values


def points(low: sp.Expr, high: sp.Expr) -> list[sp.Expr]:
    """Points strictly inside an interval of numbers, at all distances from its ends."""
    if low == high:
        return [low]
    if low == -sp.oo and high == sp.oo:
        return [*(-step for step in reversed(_STEPS)), sp.S.Zero, *_STEPS]
    if high == sp.oo:
        return [low + step for step in _STEPS]
    if low == -sp.oo:
        return [high - step for step in reversed(_STEPS)]
    return [low + (high - low) * sp.Rational(k, 14) for k in range(1, 14)]


def real_value(expression: sp.Expr, variable: sp.Symbol, point: sp.Expr) -> sp.Expr | None:
    """The number that an expression of one variable is at a point; None if it is not a finite real one."""
    value = sp.N(expression.subs(variable, point), _DIGITS)
    return value if value.is_comparable else None


def signs(expression: sp.Expr, variable: sp.Symbol | None, low: sp.Expr, high: sp.Expr) -> int:
    """The one sign, 1 or -1, that the expression has strictly between low and high.

    Raises
    ------
    ValueError
        It changes sign there, or the sign depends on other symbols.
    """
    if expression.is_positive or expression.is_negative:
        return 1 if expression.is_positive else -1
    at = sp.Dummy() if variable is None else variable
    others = (expression.free_symbols | low.free_symbols | high.free_symbols) - {at}
    found: set[sp.Expr] = set()
    for choice in range(_CHOICES if others else 1):
        values = numbers(others, choice)
        # Three points: the roots are known, and where one was missed signs differ in some choice.
        inside = [sp.S.Zero] if variable is None else points(low.subs(values), high.subs(values))[::6]
        here = expression.subs(values)
        found |= {sp.sign(value) for point in inside if (value := real_value(here, at, point)) is not None}
    found -= {sp.S.Zero}
    if found not in ({sp.S.One}, {sp.S.NegativeOne}):
        raise ValueError(f"the sign of {expression} between {low} and {high} depends on the values of other symbols")
    return int(found.pop())


def everywhere(conditions: Sequence[tuple[sp.Expr, sp.Expr, sp.Expr]], variable: sp.Symbol, choice: int) -> bool:
    """Whether expressions are >= 0 at all sample points of their intervals, for one choice of the other symbols.

    A condition is (expression, low, high).
    """
    others: set[sp.Basic] = set().union(*(part.free_symbols for condition in conditions for part in condition))
    values = numbers(others - {variable}, choice)
    for expression, low, high in conditions:
        here = expression.subs(values)
        for point in points(low.subs(values), high.subs(values)):
            value = real_value(here, variable, point)
            if value is None or value < -(sp.Float(10) ** -10):
                return False
    return True
