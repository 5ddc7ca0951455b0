r"""Limits, each held against numbers.

SymPy's limit can be wrong where square roots cancel (sympy issue 23525: 0 for a limit that is not 0), and a wrong limit
looks like any other. So every limit of this layer is taken here, and its value must be what the expression tends to in
numbers: for two choices of the other symbols, the distance to the limit (or the inverse, where the limit is
infinite) must fall like a power of the distance to the point. No tolerance on the value is needed: a wrong value leaves
a distance that does not fall.
"""

from collections.abc import Iterator

import sympy as sp

__all__ = ["limit", "value_at_zero"]

_NEAR, _NEARER = sp.Integer(10) ** 30, sp.Integer(10) ** 60
"""Inverse distances to the point, or its values on the way to infinity."""
_FALL = 1000
"""Least fall of the distance between them: a square root falls by 10^15."""
_DIGITS, _MOST = 40, 300
"""Digits of the numbers, agreeing to which values are equal; at the most carried where terms cancel."""


def limit(expression: sp.Expr, symbol: sp.Symbol, point: sp.Expr = sp.S.Zero) -> sp.Expr:
    """lim expression as symbol -> 0 from above, or -> oo, checked.

    Raises
    ------
    ValueError
        There is no limit, or numbers tend elsewhere.

    Examples
    --------
    >>> x, a = sp.symbols("x a", positive=True)
    >>> limit((a - sp.sqrt(a**2 - x)) / x, x)
    1/(2*a)
    """
    value = sp.limit(expression, symbol, point)
    _check(expression, symbol, point, value)
    return value


def value_at_zero(expression: sp.Expr, symbol: sp.Symbol) -> sp.Expr:
    """The expression with symbol = 0 put in, checked to be its limit: cheaper where nothing is singular.

    Raises
    ------
    ValueError
        The expression is not continuous there.

    Examples
    --------
    >>> x = sp.Symbol("x", positive=True)
    >>> value_at_zero(sp.cos(x) + x, x)
    1
    """
    value = expression.subs(symbol, 0)
    _check(expression, symbol, sp.S.Zero, value)
    return value


def _check(expression: sp.Expr, symbol: sp.Symbol, point: sp.Expr, value: sp.Expr) -> None:
    infinite = value in (sp.oo, -sp.oo)
    if not infinite and (value.has(sp.nan, sp.zoo, sp.oo, -sp.oo, sp.AccumBounds, sp.Limit) or value.has(symbol)):
        raise ValueError(f"{expression} has no limit as {symbol} -> {point}: SymPy gives {value}")
    for numbers in _choices(expression.free_symbols | value.free_symbols, symbol):
        near, nearer = (
            expression.evalf(_DIGITS, subs={**numbers, symbol: at if point is sp.oo else 1 / at}, maxn=_MOST)
            for at in (_NEAR, _NEARER)
        )
        stated = value.evalf(_DIGITS, subs=numbers)
        if infinite:
            tends = sp.sign(near) == sp.sign(nearer) == sp.sign(value) and abs(nearer) > _FALL * abs(near)
        else:
            equal = max(1, abs(stated)) / 10 ** (_DIGITS - 2)
            tends = abs(nearer - stated) < max(abs(near - stated) / _FALL, equal)
        if not tends:
            raise ValueError(
                f"SymPy gives {value} as the limit of {expression} as {symbol} -> {point}, which is {stated.n(10)} "
                f"with {numbers}; numbers tend to {nearer.n(10)}"
            )


def _choices(symbols: set[sp.Symbol], moving: sp.Symbol) -> Iterator[dict[sp.Symbol, sp.Expr]]:
    """Two choices of numbers for the symbols that stay: of both signs where a symbol allows it."""
    rest = sorted(symbols - {moving}, key=str)
    for choice in (1, -1):
        numbers = {}
        for k, symbol in enumerate(rest, start=3):
            size = sp.Integer(k) if symbol.is_integer else sp.Rational(sp.prime(k), sp.prime(k + 1)) ** choice
            numbers[symbol] = size if symbol.is_nonnegative else choice * size
        yield numbers
