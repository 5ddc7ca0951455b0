"""How a penalty grows with its spin: what is left of it on spins of order sqrt(D)."""

import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.energies import Energy
from iclglass.replica.guarded_limit import limit
from iclglass.replica.pieces import Piece
from iclglass.replica.sampling import numbers, real_value

__all__ = ["growth", "written"]


def growth(penalty: Energy) -> tuple[sp.Expr, sp.Expr]:
    """lim r(s)/s^2 as s -> -oo and as s -> oo; both the latter where spins are not negative.

    Raises
    ------
    ValueError
        A limit is infinite.

    Examples
    --------
    >>> s = S.scaled_spin
    >>> growth(Energy(s, S.lam * sp.Max(s, 0) ** 2 + sp.Abs(s)))
    (0, lam)
    """
    right = _growth(penalty.pieces[-1], 1)
    return (right if penalty.support == "half-line" else _growth(penalty.pieces[0], -1)), right


def written(expression: sp.Expr) -> sp.Expr:
    """The expression with a scaled spin written s, for messages."""
    return expression.subs(S.scaled_spin, sp.Symbol("s", real=True))


def _growth(piece: Piece, side: int) -> sp.Expr:
    """lim r(x)/x^2 as x -> side oo."""
    far = sp.Dummy("x", positive=True)
    ratio = sp.expand(piece.expression.subs(S.scaled_spin, side * far) / far**2)
    if not ratio.has(far):
        return ratio
    try:
        tends = limit(ratio, far, sp.oo)
    except ValueError:
        # The guarded limit asks for a power; a logarithm also grows without end.
        values = numbers(ratio.free_symbols - {far}, choice=0)
        near, nearer = (real_value(ratio.subs(values), far, sp.Integer(10) ** power) for power in (30, 60))
        if near is None or nearer is None or abs(nearer) < sp.Rational(3, 2) * abs(near):
            raise
        tends = sp.sign(nearer) * sp.oo
    if tends.has(sp.oo):
        raise ValueError(
            f"the penalty {written(piece.expression)} grows faster than s^2: it forbids diagonal spins, of order "
            "sqrt(D), and the magnetization is 0 as D -> oo"
        )
    if tends.has(-sp.oo):
        raise ValueError(f"the penalty {written(piece.expression)} falls faster than -s^2: spins escape to infinity")
    return tends
