"""The intervals on which an expression of one variable is smooth: cut at the zeros of what its kinks turn on.

Abs, Max, Min, Piecewise, Heaviside and sign are replaced by their branches, innermost first.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import sympy as sp

from iclglass.replica.sampling import signs

__all__ = ["Piece", "pieces_of"]

_KINKED = (sp.Abs, sp.Max, sp.Min, sp.Piecewise, sp.Heaviside, sp.sign)


@dataclass(frozen=True)
class Piece:
    """The energy on one interval, inside which it is smooth.

    Attributes
    ----------
    low, high
        Ends of the interval: expressions, -oo and oo included.
    expression
        The energy there.
    """

    low: sp.Expr
    high: sp.Expr
    expression: sp.Expr


@cache
def pieces_of(variable: sp.Symbol, expression: sp.Expr, low: sp.Expr) -> tuple[Piece, ...]:
    """The pieces from ``low`` to infinity, in increasing order; neighbours with one expression are one piece.

    Raises
    ------
    ValueError
        Kinks cannot be located, or their order depends on the values of other symbols.

    Examples
    --------
    >>> x = sp.Symbol("x", real=True)
    >>> [(piece.low, piece.high, piece.expression) for piece in pieces_of(x, sp.Max(x, x**2), -sp.oo)]
    [(-oo, 0, x**2), (0, 1, x), (1, oo, x**2)]
    """
    return tuple(_merge(list(_split(Piece(low, sp.oo, expression), variable))))


def _split(piece: Piece, variable: sp.Symbol) -> Iterator[Piece]:
    """The piece, cut at the kinks of its innermost kinked function, and so on."""
    kinked = [
        atom
        for atom in piece.expression.atoms(*_KINKED)
        if atom.has(variable) and not any(arg.has(*_KINKED) and _moves(arg, variable) for arg in atom.args)
    ]
    if not kinked:
        yield piece
        return
    atom = min(kinked, key=sp.default_sort_key)
    switches = _switches(atom)
    roots = {root for switch in switches for root in _roots(switch, variable)}
    bounds = _ordered(piece, roots)
    for low, high in pairwise(bounds):
        known = {switch: signs(switch, variable, low, high) for switch in switches}
        branch = piece.expression.xreplace({atom: _branch(atom, known)})
        yield from _split(Piece(low, high, branch), variable)


def _moves(expression: sp.Basic, variable: sp.Symbol) -> bool:
    return any(atom.has(variable) for atom in expression.atoms(*_KINKED))


def _switches(atom: sp.Expr) -> list[sp.Expr]:
    """What changes sign where the function changes its branch."""
    if isinstance(atom, sp.Max | sp.Min):
        first = sorted(atom.args, key=sp.default_sort_key)
        return [a - b for k, a in enumerate(first) for b in first[k + 1 :]]
    if isinstance(atom, sp.Piecewise):
        relations = {
            relation for _, condition in atom.args for relation in condition.atoms(sp.core.relational.Relational)
        }
        return [relation.lhs - relation.rhs for relation in sorted(relations, key=sp.default_sort_key)]
    return [atom.args[0]]


def _branch(atom: sp.Expr, known: Mapping[sp.Expr, int]) -> sp.Expr:
    """The function on an interval where the signs of its switches are known."""
    if isinstance(atom, sp.Max | sp.Min):
        wanted = 1 if isinstance(atom, sp.Max) else -1
        best, *others = sorted(atom.args, key=sp.default_sort_key)
        for other in others:
            sign = known[best - other] if best - other in known else -known[other - best]
            if sign == -wanted:
                best = other
        return best
    if isinstance(atom, sp.Piecewise):
        for value, condition in atom.args:
            truth = condition.xreplace(
                {
                    relation: sp.true if relation.func(known[relation.lhs - relation.rhs], 0) else sp.false
                    for relation in condition.atoms(sp.core.relational.Relational)
                }
            )
            if truth == sp.true:
                return value
        raise ValueError(f"{atom} has no value on part of the line; end it with (expression, True)")
    argument = atom.args[0]
    sign = known[argument]
    if isinstance(atom, sp.Abs):
        return sign * argument
    return sp.Integer(sign) if isinstance(atom, sp.sign) else sp.Integer((1 + sign) // 2)


def _roots(switch: sp.Expr, variable: sp.Symbol) -> list[sp.Expr]:
    """Real zeros of a smooth expression."""
    if not switch.has(variable):
        return []
    expanded = sp.expand(switch)
    if expanded.is_polynomial(variable) and sp.degree(expanded, variable) == 1:
        return [sp.cancel(-expanded.coeff(variable, 0) / expanded.coeff(variable, 1))]
    found = sp.solveset(switch, variable, sp.S.Reals)
    if found is sp.S.EmptySet:
        return []
    if isinstance(found, sp.Intersection):
        found = next((part for part in found.args if isinstance(part, sp.FiniteSet)), found)
    if not isinstance(found, sp.FiniteSet):
        raise ValueError(f"the kinks of the energy, where {switch} = 0, cannot be located")
    return list(found)


def _ordered(piece: Piece, roots: set[sp.Expr]) -> list[sp.Expr]:
    """The roots inside the piece in increasing order, between its ends."""
    inside: list[sp.Expr] = []
    for root in sorted(roots, key=sp.default_sort_key):
        if any(sp.simplify(root - known) == 0 for known in (piece.low, piece.high, *inside)):
            continue
        if not _before(piece.low, root) or not _before(root, piece.high):
            continue
        place = sum(_before(known, root) for known in inside)
        inside.insert(place, root)
    return [piece.low, *inside, piece.high]


def _before(first: sp.Expr, second: sp.Expr) -> bool:
    if first == -sp.oo or second == sp.oo:
        return True
    if first == sp.oo or second == -sp.oo:
        return False
    return signs(second - first, None, first, second) > 0


def _merge(pieces: list[Piece]) -> list[Piece]:
    """Neighbours with one expression are one piece."""
    merged = [pieces[0]]
    for piece in pieces[1:]:
        last = merged[-1]
        if sp.expand(piece.expression - last.expression) == 0:
            merged[-1] = Piece(last.low, piece.high, last.expression)
        else:
            merged.append(piece)
    return merged
