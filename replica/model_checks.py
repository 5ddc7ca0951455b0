"""What a user's own energies must satisfy, each failure said in words with its remedy.

Text is never evaluated: energies are SymPy expressions or Python functions that return one.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

import sympy as sp
from sympy.core.function import AppliedUndef

from iclglass.replica import symbols as S
from iclglass.replica.energies import Energy
from iclglass.replica.growth import growth, written
from iclglass.replica.sampling import numbers, real_value

__all__ = ["STRENGTHS", "bounded_below", "confined", "declared", "expression_of", "real_valued"]

STRENGTHS: tuple[sp.Symbol, ...] = (S.lam, S.l1, S.huber_threshold)
"""Symbols that own energies may hold as free parameters."""

_CHOICES = 6
"""Choices of strengths and labels at which energies are looked at."""
_FAR = tuple(sp.Float(10) ** power for power in (2, 3, 4, 5))
"""Where a fall without end is told from one that ends."""


def expression_of(
    given: object, arguments: Sequence[sp.Symbol], what: str, names: Mapping[str, sp.Expr], letters: str
) -> sp.Expr:
    """The SymPy expression that a user means: a name of the table, an expression, or a function of the symbols.

    Raises
    ------
    TypeError
        It is none of these, or the function is not symbolic, or takes other arguments.
    ValueError
        A name that is not in the table.
    """
    if isinstance(given, str):
        if given in names:
            return names[given]
        raise ValueError(
            f"{what} {given!r} is no name of a {what} ({', '.join(names)}), and text is never evaluated: give a SymPy "
            f"expression or a function, {what}=lambda {letters}: ..."
        )
    if isinstance(given, sp.Expr):
        return given
    if not callable(given):
        raise TypeError(
            f"{what} must be a function of ({letters}) or a SymPy expression, not {given!r} ({type(given).__name__})"
        )
    return _called(given, arguments, what, letters)


def _called(given: Callable[..., object], arguments: Sequence[sp.Symbol], what: str, letters: str) -> sp.Expr:
    try:
        signature = inspect.signature(given)
    except (TypeError, ValueError):
        pass  # Some built-in functions do not tell their arguments; the call will.
    else:
        try:
            signature.bind(*arguments)
        except TypeError as error:
            raise TypeError(f"{what} must take the arguments ({letters}); it takes {signature}") from error
    remedy = (
        "use sympy functions (sympy.log, sympy.Abs, sympy.Max, sympy.Piecewise for cases), not those of math or numpy, "
        "no float(...) and no 'if'"
    )
    try:
        value = given(*arguments)
    except Exception as error:
        raised = f"{type(error).__name__}: {error}"
        raise TypeError(
            f"{what} is not symbolic: called with symbols ({letters}) it raises {raised}; {remedy}"
        ) from error
    if isinstance(value, sp.Expr):
        return value
    if isinstance(value, int | float):
        raise TypeError(f"{what} returns the number {value!r} whatever its arguments are, not an expression; {remedy}")
    raise TypeError(f"{what} returns {value!r} ({type(value).__name__}), not a SymPy expression; {remedy}")


def declared(expression: sp.Expr, arguments: Sequence[sp.Symbol], what: str) -> None:
    """Check that an energy depends on all its arguments, and on nothing but them and strengths.

    Raises
    ------
    ValueError
        An undeclared symbol or function, or an argument that does not occur.
    """
    unknown = sorted(expression.free_symbols - {*arguments, *STRENGTHS}, key=str)
    if unknown:
        own = list(map(str, (*arguments, *STRENGTHS)))
        same = ", ".join(str(symbol) for symbol in unknown if str(symbol) in own)
        hint = f" ({same}: of the same name, but without the assumptions of the model's own)" if same else ""
        raise ValueError(
            f"{what} {written(expression)} holds {', '.join(map(str, unknown))}, which the model does not declare"
            f"{hint}: put numbers in, or use the symbols of iclglass.replica.symbols: {', '.join(own)}"
        )
    undefined = sorted(expression.atoms(AppliedUndef), key=str)
    if undefined:
        raise ValueError(f"{what} {written(expression)} holds the undefined function {undefined[0].func}")
    for argument in arguments:
        if not expression.has(argument):
            raise ValueError(
                f"{what} {written(expression)} does not depend on {written(argument)}, of which it must be a function"
            )


def real_valued(energy: Energy, what: str, labels: Sequence[int] | None = None) -> None:
    """Check that an energy is a finite real number at points of its whole support.

    Raises
    ------
    ValueError
        It is complex, infinite or not a number somewhere.
    """
    for expression, values in _choices(energy, labels):
        for point in _points(energy, values):
            if real_value(expression, energy.variable, point) is None:
                place = {written(energy.variable): point, **values}
                where = ", ".join(f"{symbol} = {sp.N(number, 6)}" for symbol, number in place.items())
                raise ValueError(f"{what} {written(energy.expression)} is not a finite real number at {where}")


def bounded_below(energy: Energy, what: str, labels: Sequence[int] | None = None) -> None:
    """Check that an energy does not fall without end as its variable goes to +-oo.

    Raises
    ------
    ValueError
        It does.
    """
    sides = (1,) if energy.support == "half-line" else (-1, 1)
    for expression, _ in _choices(energy, labels):
        for side in sides:
            far = [real_value(expression, energy.variable, side * point) for point in _FAR]
            if _falls(far):
                raise ValueError(
                    f"{what} {written(energy.expression)} is not bounded below: it falls without end as "
                    f"{written(energy.variable)} -> {'' if side > 0 else '-'}oo, so there is no ground state"
                )


def confined(penalty: Energy) -> None:
    """Check that one spin's partition function int ds exp(-[r(s) + K s^2/2 - h s]/T) can be finite.

    Prompts give every spin a precision K > 0, which confines any penalty bounded below, and any that falls more slowly
    than -s^2; a penalty that falls as -s^2 or faster overcomes K where K is small.

    Raises
    ------
    ValueError
        lim r(s)/s^2 is negative on a side, for all values of the strengths that were tried.
    """
    for coefficient in growth(penalty):
        symbols = coefficient.free_symbols
        if all(coefficient.subs(numbers(symbols, choice)) < 0 for choice in range(_CHOICES)):
            raise ValueError(
                f"the penalty {written(penalty.expression)} is not bounded below: it falls as ({coefficient}) s^2, "
                "so the partition function of one spin is infinite wherever prompts pull less than that. A penalty "
                "must not fall, for large |s|, or fall more slowly than -s^2"
            )


def _choices(energy: Energy, labels: Sequence[int] | None) -> Iterator[tuple[sp.Expr, Mapping[sp.Basic, sp.Expr]]]:
    """The energy as an expression of its variable alone, at several choices of all else."""
    symbols = energy.expression.free_symbols - {energy.variable}
    for choice in range(_CHOICES if symbols else 1):
        values = numbers(symbols, choice)
        if labels is not None and S.y in values:
            values[S.y] = sp.Integer(labels[choice % len(labels)])
        yield energy.expression.subs(values), values


def _points(energy: Energy, values: Mapping[sp.Basic, sp.Expr]) -> list[sp.Expr]:
    sizes = [sp.Integer(10) ** power for power in range(-3, 4)]
    if energy.support == "half-line":
        return [sp.S.Zero, *sizes]
    # Where residuals are 0.
    label = [values[S.y]] if S.y in values else []
    return [*(-size for size in reversed(sizes)), sp.S.Zero, *label, *sizes]


def _falls(far: Sequence[sp.Expr | None]) -> bool:
    """Whether values at growing distances fall by steps that do not shrink: a logarithm's are all equal."""
    steps = [after - before for before, after in pairwise(value for value in far if value is not None)]
    return len(steps) > 1 and all(step < 0 for step in steps) and abs(steps[-1]) > abs(steps[0]) / 2
