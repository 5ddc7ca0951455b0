"""SymPy expressions as functions of mpmath numbers, and as NumPy functions that do not overflow."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from iclglass.replica import symbols as S

__all__ = ["degree", "numeric", "precise", "stable"]

Array = NDArray[np.float64]


class Expit(sp.Function):
    """1/(1 + exp(-u))."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """Expit(u) Expit(-u), which has no cancellation."""
        return self * Expit(-self.args[0])


class Softplus(sp.Function):
    """log(1 + exp(u))."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """Expit(u)."""
        return Expit(self.args[0])


class LogCosh(sp.Function):
    """log(cosh(u))."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """tanh(u)."""
        return sp.tanh(self.args[0])


_FUNCTIONS: dict[str, Any] = {}


def _functions() -> dict[str, Any]:
    if not _FUNCTIONS:
        from scipy import special

        _FUNCTIONS.update(
            Expit=special.expit,
            Softplus=lambda u: np.logaddexp(0.0, u),
            LogCosh=lambda u: np.logaddexp(u, -u) - np.log(2.0),
        )
    return _FUNCTIONS


def stable(expression: sp.Expr) -> sp.Expr:
    """The expression with log(1 + exp(u)) and log(cosh(u)) as functions of their own.

    >>> x = sp.Symbol("x", real=True)
    >>> stable(sp.log(1 + sp.exp(-x)) + sp.log(sp.cosh(2 * x)))
    LogCosh(2*x) + Softplus(-x)
    """
    u = sp.Wild("u")
    expression = expression.replace(sp.log(sp.cosh(u)), lambda u: LogCosh(u))
    expression = expression.replace(sp.log(1 + sp.exp(u)), lambda u: Softplus(u))
    return sp.sympify(expression, strict=True)


def numeric(arguments: Sequence[sp.Symbol], expression: sp.Expr | sp.Tuple) -> Callable[..., Any]:
    """A NumPy function of the arguments, elementwise; constants come back as scalars."""
    return sp.lambdify(list(arguments), expression, modules=[_functions(), "scipy", "numpy"], cse=True)


def precise(arguments: Sequence[sp.Symbol], expression: sp.Expr) -> Callable[..., Any]:
    """An mpmath function of the arguments, at the working precision."""
    return sp.lambdify(list(arguments), expression, modules="mpmath")


_POWERS = dict.fromkeys((S.normal, S.field, S.spin, S.t, S.f_cav, S.f, S.pull), 1)
_POWERS |= dict.fromkeys((S.mean_penalty, S.spin_free, S.mean_loss, S.prompt_free), 2)


def degree(integrand: sp.Expr) -> float:
    """Degree in a field in which one body is a straight line and its energy a parabola; infinite for no polynomial.

    >>> degree(S.spin**2 * S.response), degree(S.mean_loss * S.pull), degree(sp.exp(S.f))
    (2, 3, inf)
    """
    field = sp.Dummy("field")
    scaled = integrand.subs({symbol: symbol * field**power for symbol, power in _POWERS.items()}, simultaneous=True)
    if not scaled.is_polynomial(field):
        return float("inf")
    return int(sp.degree(sp.expand(scaled), field)) if scaled.has(field) else 0
