"""Signs of expressions at sample values of their symbols: for what assumptions alone do not decide.

Values are the same in every run. A symbol of either sign gets both; strengths are drawn over four decades.
"""

import random
from collections.abc import Callable, Sequence

import mpmath
import sympy as sp

__all__ = ["everywhere", "numbers", "points", "signs", "valued"]

_CHOICES = 8
"""Choices of values that must agree."""


def numbers(symbols: set[sp.Basic], choice: int) -> dict[sp.Basic, sp.Expr]:
    """Values for the symbols within their ranges, different for each choice."""
    source = random.Random(choice)
    values = {}
    for symbol in sorted(symbols, key=str):
        size = sp.Rational(round(1000 * 10 ** source.uniform(-2, 2)), 1000)
        values[symbol] = size if symbol.is_nonnegative else source.choice((-1, 1)) * size
    return values


def points(low: mpmath.mpf, high: mpmath.mpf) -> list[mpmath.mpf]:
    """Points strictly inside an interval, at all distances from its ends."""
    if low == high:
        return [low]
    steps = [mpmath.mpf(10) ** (mpmath.mpf(k) / 2) for k in range(-6, 7)]
    if mpmath.isinf(low) and mpmath.isinf(high):
        return [-step for step in reversed(steps)] + [mpmath.mpf(0)] + steps
    if mpmath.isinf(high):
        return [low + step for step in steps]
    if mpmath.isinf(low):
        return [high - step for step in reversed(steps)]
    return [low + (high - low) * mpmath.mpf(k) / 14 for k in range(1, 14)]


def valued(expression: sp.Expr, variable: sp.Symbol) -> Callable[[mpmath.mpf], mpmath.mpf]:
    """The expression of one variable as a function of numbers."""
    function: Callable[[mpmath.mpf], mpmath.mpf] = sp.lambdify(variable, expression, modules="mpmath")
    return function


def signs(expression: sp.Expr, variable: sp.Symbol | None, low: sp.Expr, high: sp.Expr) -> int:
    """The one sign, 1 or -1, that the expression has strictly between low and high.

    Raises
    ------
    ValueError
        It changes sign there, or the sign depends on other symbols.
    """
    if expression.is_positive or expression.is_negative:
        return 1 if expression.is_positive else -1
    at = variable if variable is not None else sp.Dummy()
    others = (expression.free_symbols | low.free_symbols | high.free_symbols) - {at}
    found: set[int] = set()
    for choice in range(_CHOICES if others else 1):
        values = numbers(others, choice)
        ends = [_number(end.subs(values)) for end in (low, high)]
        function = valued(expression.subs(values), at)
        inside = points(*ends) if variable is not None else [mpmath.mpf(0)]
        found |= {int(mpmath.sign(function(point))) for point in inside}
    found -= {0}
    if len(found) != 1:
        raise ValueError(f"the sign of {expression} between {low} and {high} depends on the values of other symbols")
    return found.pop()


def everywhere(conditions: Sequence[tuple[sp.Expr, sp.Expr, sp.Expr]], variable: sp.Symbol, choice: int) -> bool:
    """Whether expressions are >= 0 at all sample points of their intervals, for one choice of the other symbols."""
    others = set().union(*(part.free_symbols for condition in conditions for part in condition)) - {variable}
    values = numbers(others, choice)
    for expression, low, high in conditions:
        function = valued(expression.subs(values), variable)
        ends = [_number(end.subs(values)) for end in (low, high)]
        for point in points(*ends):
            value = function(point)
            if mpmath.im(value) != 0 or value < -(mpmath.mpf(10) ** -10) * (1 + abs(value)):
                return False
    return True


def _number(value: sp.Expr) -> mpmath.mpf:
    return mpmath.mpf(str(sp.N(value, 17))) if value.is_finite else mpmath.inf * (1 if value == sp.oo else -1)
