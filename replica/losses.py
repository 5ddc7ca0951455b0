r"""Losses as data: the cost l(y, f) of predicting f for a query with label y.

A new loss is one entry of `LOSSES`; everything else about it is found from its expression.
"""

from dataclasses import dataclass
from functools import cache

import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.energies import Energy
from iclglass.replica.sampling import numbers

__all__ = ["LABELS", "LOSSES", "Loss", "refusal"]

_CHOICES = 4
"""Numbers tried before two losses are compared as expressions."""

LABELS: dict[str, str] = {"linear": "y = w.x/sqrt(D) + noise", "sign": "y = sign(w.x/sqrt(D) + noise)"}


@dataclass(frozen=True)
class Loss:
    """A loss.

    Attributes
    ----------
    name
        What users call it.
    expression
        l(y, f) in `S.y`, `S.f` and strengths.
    meaning
        In words.
    labels
        The labels it goes with, of `LABELS`.

    Examples
    --------
    >>> LOSSES["hinge"].margin, LOSSES["hinge"].translation
    (True, False)
    """

    name: str
    expression: sp.Expr
    meaning: str
    labels: tuple[str, ...] = ("linear", "sign")

    @property
    def energy(self) -> Energy:
        """The loss as a function of the prediction."""
        return Energy(S.f, self.expression)

    @property
    def translation(self) -> bool:
        """Whether l(y, f) = l0(f - y): a function of the residual alone."""
        return translation(self.expression)

    @property
    def margin(self) -> bool:
        """Whether l(y, f) = l(1, y f) for labels y = -1 and 1: a function of the margin alone."""
        return margin(self.expression)


def translation(expression: sp.Expr) -> bool:
    """Whether a loss is a function of f - y alone."""
    shift = sp.Dummy("shift", real=True)
    return _equal(expression, expression.subs({S.y: S.y + shift, S.f: S.f + shift}, simultaneous=True))


def margin(expression: sp.Expr) -> bool:
    """Whether a loss is, for labels -1 and 1, a function of y f alone."""
    return _equal(expression.subs({S.y: 1}), expression.subs({S.y: -1, S.f: -S.f}, simultaneous=True))


def product(expression: sp.Expr) -> bool:
    """Whether a loss is a function of y f alone for labels of any size: it asks for the sign of f only."""
    factor = sp.Dummy("factor", positive=True)
    return _equal(expression, expression.subs({S.y: factor * S.y, S.f: S.f / factor}, simultaneous=True))


@cache
def refusal(expression: sp.Expr, labels: str) -> str | None:
    """Why a loss and labels do not go together, in a sentence; None if they do."""
    if labels not in LABELS:
        return f"labels must be one of {', '.join(LABELS)}, not {labels!r}"
    if labels == "linear" and product(expression):
        return (
            f"the loss {expression} is a margin loss: it depends on y f alone and asks for the sign of a label, not "
            "for its value, so it is no loss of a regression; take labels='sign'"
        )
    return None


def _equal(first: sp.Expr, second: sp.Expr) -> bool:
    difference = sp.expand(first - second)
    # Numbers say no in a hundredth of the time that simplification takes.
    for choice in range(_CHOICES):
        if abs(sp.N(difference.subs(numbers(difference.free_symbols, choice)))) > sp.Float(10) ** -10:
            return False
    return difference == 0 or sp.simplify(difference) == 0


_residual = S.y - S.f
_margin = S.y * S.f

LOSSES: dict[str, Loss] = {
    loss.name: loss
    for loss in (
        Loss("squared_error", _residual**2 / 2, "half of the squared residual"),
        Loss("absolute_error", sp.Abs(_residual), "size of the residual"),
        Loss(
            "huber",
            sp.Piecewise(
                (_residual**2 / 2, sp.Abs(_residual) <= S.huber_threshold),
                (S.huber_threshold * (sp.Abs(_residual) - S.huber_threshold / 2), True),
            ),
            "half of the squared residual, linear beyond a threshold",
        ),
        Loss("log_loss", sp.log(1 + sp.exp(-_margin)), "minus the log-probability of the label", ("sign",)),
        Loss("hinge", sp.Max(0, 1 - _margin), "distance of the margin from 1, if it is less", ("sign",)),
    )
}
