r"""Elimination of the saddle-point equations to closed form.

Eliminating chi and q leaves one quadratic for the learned fraction of the signal, z = a m:

    z^2 - (1 + tau + ell tau) z + tau = 0,    ell = lam/a

Its smaller root is the physical one (z -> 0 as the ridge grows; the roots lie on either side of 1). Written
naively the solution loses all digits near the interpolation threshold and as lam -> 0. The definitions below are
the same solution without cancellation: every difference of nearby numbers is replaced by a product of roots. They are
derived for people and machines to evaluate in order; `closed_form` proves, branch by branch, that they solve the
saddle-point equations and equal the observables of `replica.saddle_point`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import sympy as sp
from sympy.codegen.cfunctions import log1p

from iclglass.replica import symbols as S
from iclglass.replica.saddle_point import SaddlePointSystem
from iclglass.replica.thermodynamics import thermodynamics

__all__ = ["ClosedForm", "branch", "closed_form"]


@dataclass(frozen=True)
class ClosedForm:
    """The solution as definitions to be evaluated in order.

    Attributes
    ----------
    quadratic
        Polynomial in z whose smaller root is the solution.
    definitions
        (symbol, expression) in order; later ones use earlier ones.
    outputs
        Name -> expression in the defined symbols; exist at every temperature and ridge.
    thermal_inputs
        (symbol, expression) of what `replica.thermodynamics` needs.
    thermal_outputs
        The same for what needs a finite susceptibility or, for the last ones, T > 0.
    """

    quadratic: sp.Expr
    definitions: tuple[tuple[sp.Symbol, sp.Expr], ...]
    outputs: tuple[tuple[str, sp.Expr], ...]
    thermal_inputs: tuple[tuple[sp.Symbol, sp.Expr], ...]
    thermal_outputs: tuple[tuple[str, sp.Expr], ...]


def closed_form(system: SaddlePointSystem) -> ClosedForm:
    """Eliminate to closed form and prove it.

    Raises
    ------
    ValueError
        The closed form does not satisfy an equation of ``system`` or does not equal one of its observables; it belongs
        to another model.
    """
    result = ClosedForm(
        quadratic=_eliminate(system),
        definitions=_definitions(),
        outputs=_outputs(),
        thermal_inputs=_thermal_inputs(),
        thermal_outputs=_thermal_outputs(),
    )
    for name, difference in _differences(system, result):
        if difference != 0:
            raise ValueError(f"the closed form fails {name}: it differs by {difference}; it is for another model")
    return result


def _eliminate(system: SaddlePointSystem) -> sp.Expr:
    """The first two equations, with m = z/a and lam = a ell, as one polynomial in z."""
    first, second = system.residuals[:2]
    (chi_of_z,) = sp.solve(second.subs(S.m, S.z / S.a), S.chi)
    numerator, _ = sp.fraction(sp.together(first.subs(S.chi, chi_of_z).subs(S.lam, S.a * S.ell)))
    polynomial = sp.Poly(sp.expand(numerator), S.z)
    # The trivial root z = 0 (chi = 0) is not a solution: 1/chi has been multiplied away.
    while polynomial.TC() == 0:
        polynomial = sp.Poly(sp.cancel(polynomial.as_expr() / S.z), S.z)
    monic = sp.cancel(polynomial.as_expr() / polynomial.LC())
    return sp.collect(sp.expand(monic), S.z)


def _definitions() -> tuple[tuple[sp.Symbol, sp.Expr], ...]:
    above = S.d >= 0
    return (
        (S.b, (1 + S.rho) / S.alpha),
        (S.b_test, (1 + S.rho) / S.alpha_test),
        (S.a, 1 + S.b),
        (S.ell, S.lam / S.a),
        (S.delta, S.tau - 1),
        (S.d, S.delta + S.ell * S.tau),
        (S.s, sp.sqrt(S.d**2 + 4 * S.ell * S.tau)),
        (S.h, (S.s + sp.Abs(S.d)) / 2),
        (S.z, 2 * S.tau / (1 + S.tau + S.ell * S.tau + S.s)),
        (S.z_bar, sp.Piecewise((S.ell * S.tau / S.h, above), (S.h, True))),
        (S.r, sp.Piecewise((S.z * S.h / S.tau, above), (S.ell * S.z / S.h, True))),
        (S.chi, sp.Piecewise((S.tau / (S.a * S.h), above), (S.h / S.lam, True))),
        (S.inverse_chi, sp.Piecewise((S.a * S.h / S.tau, above), (S.lam / S.h, True))),
        (S.m, S.z / S.a),
        (S.replicon, S.z * S.s / S.tau),
        (S.e_idg, (S.rho + (S.b + S.z_bar**2) / S.a) / S.replicon),
        (S.v, S.m**2 * S.a * S.e_idg / S.tau),
        (S.q, S.m**2 + S.v),
        (S.e_icl, S.rho + ((S.b + S.z_bar) / S.a) ** 2 + S.b_test * S.m**2 + (1 + S.b_test) * S.v),
        (S.e_train, S.e_idg * S.r**2),
    )


def _outputs() -> tuple[tuple[str, sp.Expr], ...]:
    return (
        ("m", S.m),
        ("q", S.q),
        ("z", S.z),
        ("inverse_chi", S.inverse_chi),
        ("lam_chi", S.z_bar),
        ("e_icl", S.e_icl),
        ("e_idg", S.e_idg),
        ("e_train", S.e_train),
        ("contrast", 1 / sp.sqrt(1 + S.a * S.e_idg / S.tau)),
        ("replicon", S.replicon),
    )


def _thermal_inputs() -> tuple[tuple[sp.Symbol, sp.Expr], ...]:
    return (  # log1p keeps the volume exact at large tau
        (S.ground_state, (S.e_train + S.lam * S.q) / 2),
        (S.gibbs_response, (1 + S.b_test) * S.chi),
        (S.volume, S.z + sp.log(2 * sp.pi * S.T * S.chi) - S.tau * log1p(S.a * S.chi / S.tau)),
        (S.spins, sp.S.One),
    )


def _thermal_outputs() -> tuple[tuple[str, sp.Expr], ...]:
    inserted = dict(_thermal_inputs())
    return (("chi", S.chi), *((name, warm.subs(inserted)) for name, warm, _ in thermodynamics()))


def _rational(expression: sp.Expr, form: ClosedForm, *, above: bool) -> sp.Expr:
    """Insert the definitions with ell traded for z, which makes every root rational.

    On the solution ell = (1 - z)(tau - z)/(tau z), so s = (tau - z^2)/z and d = s - 2 (1 - z). The three are
    checked here; ``above`` selects the branch d >= 0, on which |d| = d.
    """
    ell = (1 - S.z) * (S.tau - S.z) / (S.tau * S.z)
    s = (S.tau - S.z**2) / S.z
    d = s - 2 * (1 - S.z)
    definitions = dict(form.definitions)
    exact = {S.ell: ell, S.delta: definitions[S.delta], S.lam: ell * S.a}
    _require_zero(form.quadratic.subs(S.ell, ell), "the parametrisation by z")
    _require_zero(definitions[S.d].subs(exact) - d, "d")
    _require_zero(definitions[S.s] ** 2 - s**2, "s", {**exact, S.d: d})
    _require_zero((definitions[S.z] - S.z).subs({S.s: s}).subs(exact), "z")
    values = {**exact, S.d: d, S.s: s, S.h: (s + (d if above else -d)) / 2}
    for symbol, definition in reversed(form.definitions):
        if symbol not in {S.a, S.b, S.b_test, S.z, *values}:
            expression = expression.subs(symbol, branch(definition, above=above))
    expression = expression.subs(values).subs(exact)
    # b and b_test stay; alpha and rho are expressed by them, so that everything is rational.
    expression = expression.subs({S.alpha: (1 + S.rho) / S.b, S.alpha_test: (1 + S.rho) / S.b_test})
    return expression.subs(S.a, 1 + S.b)


def _require_zero(expression: sp.Expr, what: str, values: Mapping[sp.Symbol, sp.Expr] | None = None) -> None:
    """Raise unless the expression vanishes identically."""
    remainder = sp.cancel(sp.together(expression.subs(values or {})))
    if remainder != 0:
        raise ValueError(f"{what} does not hold: {remainder} should vanish")


def branch(expression: sp.Expr, *, above: bool) -> sp.Expr:
    """The branch d >= 0 (``above``) or d < 0 of a definition."""
    if isinstance(expression, sp.Piecewise):
        return expression.args[0 if above else 1][0]
    return expression


def _differences(system: SaddlePointSystem, form: ClosedForm) -> list[tuple[str, sp.Expr]]:
    outputs = dict(form.outputs + form.thermal_outputs)
    identities = [(str(equation), equation.lhs - equation.rhs) for equation in system.equations]
    identities += [
        ("the definition of a", system.a_definition.lhs - system.a_definition.rhs),
        ("replicon = 1 - z^2/tau", S.replicon - 1 + S.z**2 / S.tau),
        ("lam chi", outputs["lam_chi"] - S.lam * S.chi),
        ("1/chi", S.inverse_chi * S.chi - 1),
        # What is both defined and put out, under one name.
        *((str(symbol), outputs[str(symbol)] - symbol) for symbol, _ in form.definitions if str(symbol) in outputs),
    ]
    for name, natural in system.observables:
        difference = outputs[name] - natural
        # The contrast is a square root of positive quantities: compare squares.
        if name == "contrast":
            difference = outputs[name] ** 2 - natural**2
        identities.append((name, difference))
    results = _parameters(system, form)
    for above in (True, False):
        for name, identity in identities:
            value = _rational(identity.replace(log1p, lambda u: sp.log(1 + u)), form, above=above)
            results.append((name, _vanishing(value)))
    return results


def _parameters(system: SaddlePointSystem, form: ClosedForm) -> list[tuple[str, sp.Expr]]:
    """The definitions that `_rational` trades for z and b: checked in the parameters they are made of."""
    definitions = dict(form.definitions)
    feature = system.a_definition.rhs
    a = definitions[S.a].subs(S.b, definitions[S.b])
    checks = {
        "a": a - feature,
        "b": definitions[S.b] - feature + 1,
        "b_test": definitions[S.b_test] - feature.subs(S.alpha, S.alpha_test) + 1,
        "ell": definitions[S.ell] * S.a - S.lam,
        "h above": definitions[S.h].subs(sp.Abs(S.d), S.d) - (S.s + S.d) / 2,
        "h below": definitions[S.h].subs(sp.Abs(S.d), -S.d) - (S.s - S.d) / 2,
    }
    return [(f"the definition of {name}", sp.cancel(sp.together(value))) for name, value in checks.items()]


def _vanishing(expression: sp.Expr) -> sp.Expr:
    """Zero if the expression vanishes identically: logarithms are compared by argument, the rest is rational."""
    names: dict[sp.Expr, sp.Symbol] = {}

    def named(argument: sp.Expr) -> sp.Symbol:
        return names.setdefault(sp.factor(sp.cancel(argument)), sp.Dummy("log"))

    return sp.cancel(sp.together(expression.replace(sp.log, named)))
