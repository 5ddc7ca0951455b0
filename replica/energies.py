r"""One energy of one variable: a loss as a function of the prediction, a penalty as a function of one spin.

An `Energy` is an expression with what solvers must know of it: where its variable may lie, the pieces on which it
is smooth, whether each is a parabola (averages and proximal maps are then elementary) and whether it is convex (the
replica-symmetric solution is then the only one). All of it is found from the expression.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Literal, TypeAlias

import sympy as sp

from iclglass.replica.guarded_limit import limit
from iclglass.replica.pieces import Piece, pieces_of
from iclglass.replica.sampling import everywhere

__all__ = ["Energy", "Support"]

Support: TypeAlias = Literal["real", "half-line", "levels", "lattice"]


@dataclass(frozen=True)
class Energy:
    """An energy of one variable.

    Attributes
    ----------
    variable
        The prediction `S.f`, a scaled spin `S.scaled_spin` or a diagonal spin `S.diagonal`.
    expression
        The energy, in the variable, the label `S.y` and strengths.
    support
        Where the variable may lie: "real", "half-line" (>= 0), "levels" (finitely many), or "lattice" (all integer
        multiples of `S.spacing`).
    levels
        The levels in increasing order, None unless the support is "levels".

    Examples
    --------
    >>> x, k = sp.Symbol("x", real=True), sp.Symbol("k", positive=True)
    >>> energy = Energy(x, sp.Max(0, sp.Abs(x) - k))
    >>> [(piece.low, piece.high, piece.expression) for piece in energy.pieces]
    [(-oo, -k, -k - x), (-k, k, 0), (k, oo, -k + x)]
    >>> energy.convex, energy.smooth
    (True, False)
    """

    variable: sp.Symbol
    expression: sp.Expr
    support: Support = "real"
    levels: tuple[sp.Expr, ...] | None = None

    @property
    def discrete(self) -> bool:
        """Whether the variable takes separate values only."""
        return self.support in ("levels", "lattice")

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """The intervals on which the energy is smooth, in increasing order; on the whole line for discrete spins.

        Raises
        ------
        ValueError
            Kinks cannot be located, or their order depends on the values of other symbols: fix these first (`at`).
        """
        return pieces_of(self.variable, self.expression, sp.S.Zero if self.support == "half-line" else -sp.oo)

    @property
    def kinks(self) -> tuple[sp.Expr, ...]:
        """Where two pieces meet."""
        return tuple(piece.low for piece in self.pieces[1:])

    @property
    def smooth(self) -> bool:
        """Whether there is one piece only."""
        return len(self.pieces) == 1

    @cached_property
    def quadratic(self) -> tuple[tuple[sp.Expr, sp.Expr, sp.Expr, sp.Expr, sp.Expr], ...] | None:
        """(low, high, c0, c1, c2) of every piece c0 + c1 x + c2 x^2; None if one of them is no parabola."""
        found = []
        for piece in self.pieces:
            expression = sp.expand(piece.expression)
            coefficients = [expression.coeff(self.variable, power) for power in range(3)]
            rest = expression - sum(c * self.variable**power for power, c in enumerate(coefficients))
            if any(c.has(self.variable) for c in coefficients) or sp.expand(rest) != 0:
                return None
            found.append((piece.low, piece.high, *coefficients))
        return tuple(found)

    @cached_property
    def convex(self) -> bool | None:
        """Whether the energy is convex, for every value of its strengths and the label.

        True is proved: second derivatives are >= 0 and slopes do not fall at kinks. False: a counterexample was found
        at every choice of strengths tried. None: at some of them only, or none was found and there is no proof.
        Discrete spins are never convex.
        """
        if self.discrete:
            return False
        conditions = list(self._convexity())
        if any(jump is False for _, jump in conditions):
            return False
        if all(
            _shown(expression, piece, self.variable) for expression, piece in conditions if isinstance(piece, Piece)
        ):
            return True
        verdicts = [
            everywhere(
                [(expression, piece.low, piece.high) for expression, piece in conditions if isinstance(piece, Piece)],
                self.variable,
                choice,
            )
            for choice in range(8)
        ]
        return None if any(verdicts) else False

    def derivatives(self, order: int = 1) -> tuple[sp.Expr, ...]:
        """The derivative of this order on each piece."""
        return tuple(sp.diff(piece.expression, self.variable, order) for piece in self.pieces)

    def at(self, values: Mapping[sp.Symbol, sp.Expr | float]) -> "Energy":
        """The same energy with values put in for labels or strengths."""
        levels = None if self.levels is None else tuple(level.subs(values) for level in self.levels)
        return replace(self, expression=self.expression.subs(values), levels=levels)

    def _convexity(self) -> Iterator[tuple[sp.Expr, Piece | bool]]:
        """Expressions that must be >= 0, each on an interval; (.., False) where the energy jumps."""
        for piece in self.pieces:
            yield sp.diff(piece.expression, self.variable, 2), piece
        for left, right in pairwise(self.pieces):
            sides = ((left.expression, "-"), (right.expression, "+"))
            before, after = (_at(expression, self.variable, right.low, side) for expression, side in sides)
            if sp.simplify(after - before) != 0:
                yield after - before, False
            slopes = ((sp.diff(expression, self.variable), side) for expression, side in sides)
            before, after = (_at(slope, self.variable, right.low, side) for slope, side in slopes)
            rise = after - before
            yield rise, Piece(right.low, right.low, rise)


def _at(expression: sp.Expr, variable: sp.Symbol, point: sp.Expr, side: str) -> sp.Expr:
    """The value at a point, approached from the side where it is not defined there."""
    value = expression.subs(variable, point)
    if not value.has(sp.nan, sp.zoo):
        return value
    away = sp.Dummy("away", positive=True)
    return limit(expression.subs(variable, point + away if side == "+" else point - away), away)


def _shown(expression: sp.Expr, piece: Piece, variable: sp.Symbol) -> bool:
    """Whether SymPy can see that the expression is >= 0 on the piece."""
    inside = expression
    if piece.low == piece.high:
        inside = expression.subs(variable, piece.low)
    elif piece.low != -sp.oo:
        inside = expression.subs(variable, piece.low + sp.Dummy(positive=True))
    elif piece.high != sp.oo:
        inside = expression.subs(variable, piece.high - sp.Dummy(positive=True))
    forms = (
        lambda e: e,
        sp.expand,
        sp.factor,
        sp.simplify,
        lambda e: sp.factor(sp.simplify(e.rewrite(sp.exp))),
    )
    return any(form(inside).is_nonnegative for form in forms)
