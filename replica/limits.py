r"""Limits of the closed form: ridgeless on both sides of the threshold and at it, and zero temperature.

At lam = 0 the number of prompts per spin, tau, decides: for tau > 1 the data fix every spin and chi stays finite; for
tau < 1 a fraction 1 - tau of the directions is flat, chi diverges as (1 - tau)/lam and the training error vanishes. At
tau = 1 chi and the test error diverge as lam^(-1/2): the interpolation threshold.
"""

from dataclasses import dataclass

import sympy as sp
from sympy.codegen.cfunctions import log1p

from iclglass.replica import symbols as S
from iclglass.replica.closed_form import ClosedForm, branch
from iclglass.replica.guarded_limit import limit
from iclglass.replica.thermodynamics import thermodynamics

__all__ = ["Limits", "limits"]


@dataclass(frozen=True)
class Limits:
    """Limits of the closed form.

    Attributes
    ----------
    ridgeless_above
        Lam -> 0 at tau > 1: m, chi, e_idg, e_train, replicon.
    ridgeless_below
        Lam -> 0 at tau < 1: the same; chi diverges, z_bar = lam chi is its finite form.
    threshold
        Leading behaviour as lam -> 0 at tau = 1: amplitudes of lam^(-1/2) for chi and e_idg.
    ground_state
        Energy and free energy as T -> 0.
    flat
        Susceptibility and volume as lam -> 0 at tau < 1, where flat directions have all the room they want.
    """

    ridgeless_above: tuple[sp.Eq, ...]
    ridgeless_below: tuple[sp.Eq, ...]
    threshold: tuple[sp.Eq, ...]
    ground_state: tuple[sp.Eq, ...]
    flat: tuple[tuple[sp.Symbol, sp.Expr], ...]

    @property
    def equations(self) -> tuple[sp.Eq, ...]:
        """What a reader sees."""
        return (*self.ridgeless_above, *self.ridgeless_below, *self.threshold, *self.ground_state)


def limits(form: ClosedForm) -> Limits:
    """lam -> 0 on both sides of the threshold and at it, and T -> 0."""
    shown = (S.m, S.z_bar, S.chi, S.e_idg, S.e_train, S.replicon)
    excess = sp.Symbol("t", positive=True)
    above = {S.tau: 1 + excess}
    below = {S.tau: 1 / (1 + excess)}
    ridgeless = []
    for side, back, sign in ((above, S.tau - 1, True), (below, 1 / S.tau - 1, False)):
        equations = []
        for symbol in shown:
            value = limit(_insert(symbol, form, above=sign).subs(side), S.lam)
            equations.append(sp.Eq(symbol, sp.factor(sp.simplify(value).subs(excess, back)), evaluate=False))
        ridgeless.append(tuple(equations))
    root = sp.Symbol("root", positive=True)
    threshold = []
    for symbol in (S.chi, S.e_idg):
        scaled = _insert(symbol, form, above=True).subs(S.tau, 1).subs(S.lam, root**2) * root
        threshold.append(sp.Eq(symbol * sp.sqrt(S.lam), sp.simplify(limit(scaled, root))))
    energy = (S.e_train + S.lam * S.q) / 2
    ground = tuple(sp.Eq(sp.Symbol(name), energy) for name, _, cold in thermodynamics() if cold == S.ground_state)
    volume = dict(form.thermal_inputs)[S.volume].replace(log1p, lambda u: sp.log(1 + u)).subs(below)
    # V diverges as a logarithm, too slowly for numbers: its exponential is a power.
    if limit(sp.exp(-volume), S.chi, sp.oo) != 0:
        raise ValueError(f"the volume {volume} must be infinite where chi is")
    return Limits(ridgeless[0], ridgeless[1], tuple(threshold), ground, ((S.chi, sp.oo), (S.volume, sp.oo)))


def _insert(expression: sp.Expr, form: ClosedForm, *, above: bool) -> sp.Expr:
    """Insert all definitions down to a and the parameters, on one branch."""
    for symbol, definition in reversed(form.definitions):
        if symbol in {S.a, S.b, S.b_test}:
            continue
        definition = branch(definition, above=above)
        expression = expression.subs(symbol, definition.replace(sp.Abs, lambda u: u if above else -u))
    return expression
