r"""Stationarity of the free-energy functional: saddle-point equations and observables.

With chi = betahat Delta the temperature drops out of the equations:

    1/chi = lam + a/(1 + a chi/tau),   m = chi/(1 + a chi/tau),   q - m^2 = (a/tau) m^2 (1 + rho - 2 m + a q)

Energy and entropy follow from the same functional by thermodynamics, and with them the train error: the energy
of the prompts is -d(prompt part)/d(betahat) at fixed overlaps, half the train error as T -> 0.
"""

from dataclasses import dataclass

import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.action import ReplicatedAction
from iclglass.replica.free_energy import FreeEnergy
from iclglass.replica.guarded_limit import value_at_zero
from iclglass.replica.one_body import Response
from iclglass.replica.quadratic import inserted
from iclglass.replica.stability import replicon
from iclglass.replica.system import System, sides

__all__ = ["SaddlePointSystem", "closed_replicon", "reductions", "saddle_point"]


@dataclass(frozen=True)
class SaddlePointSystem:
    """Saddle-point equations in (chi, m, q) and the observables in terms of their solution.

    Attributes
    ----------
    equations
        The three equations, each solved for the left-hand side.
    a_definition
        The variance a of a feature in terms of alpha and rho.
    observables
        Name -> expression in chi, m, q and the parameters, at temperature T.
    """

    equations: tuple[sp.Eq, sp.Eq, sp.Eq]
    a_definition: sp.Eq
    observables: tuple[tuple[str, sp.Expr], ...]

    @property
    def residuals(self) -> tuple[sp.Expr, ...]:
        """Left-hand side minus right-hand side of each equation."""
        return tuple(equation.lhs - equation.rhs for equation in self.equations)


def saddle_point(action: ReplicatedAction, energy: FreeEnergy) -> SaddlePointSystem:
    """Derive the saddle-point equations and the observables from the functional.

    Raises
    ------
    ValueError
        An equation does not have the form that can be solved for its order parameter.
    """
    phi = energy.functional
    by_q, by_m, by_Delta = (sp.diff(phi, variable) for variable in (S.q, S.m, S.Delta))
    to_chi = {S.Delta: S.chi / S.betahat}

    # d phi/dq = betahat/2 (1/chi - ...): solved for 1/chi.
    stationary_q = sp.expand(2 * by_q.subs(to_chi) / S.betahat)
    inverse_chi = sp.Eq(1 / S.chi, 1 / S.chi - stationary_q)
    (magnetization,) = sp.solve(by_m.subs(to_chi), S.m)
    # The equation for Delta, with lam taken from the first one and the error kept as one symbol.
    (ridge,) = sp.solve(stationary_q, S.lam)
    variance = sp.cancel((2 * S.Delta**2 * by_Delta).subs(to_chi).subs(S.lam, ridge) + S.q - S.m**2)
    error = prediction_error(action, S.a)
    coefficient = sp.cancel(variance / error)
    (chi_of_m,) = sp.solve(magnetization - S.m, S.chi)
    coefficient = sp.factor(coefficient.subs(S.chi, chi_of_m))
    if coefficient.has(S.q, S.chi, S.betahat):
        raise ValueError(f"q - m^2 is not a multiple of the test error: coefficient {coefficient}")
    overlap = S.m**2 + coefficient * error
    return SaddlePointSystem(
        equations=(inverse_chi, sp.Eq(S.m, magnetization), sp.Eq(S.q, overlap)),
        a_definition=sp.Eq(S.a, action.feature),
        observables=tuple(_observables(action, energy).items()),
    )


def prediction_error(action: ReplicatedAction, feature: sp.Expr) -> sp.Expr:
    """E (y - f)^2 for the mean weights: E y^2 - 2 E y f + E f f', with feature variance ``feature``."""
    return action.label - 2 * action.signal * S.m + feature * S.q


def _observables(action: ReplicatedAction, energy: FreeEnergy) -> dict[str, sp.Expr]:
    in_temperature = {S.Delta: S.T * S.chi, S.betahat: 1 / S.T}
    loss_energy = sp.factor(-sp.diff(energy.prompt_part, S.betahat).subs(in_temperature))
    prior_energy = sp.simplify(-sp.diff(energy.spin_part, S.betahat).subs(in_temperature))
    functional = energy.functional.subs(in_temperature)
    total = loss_energy + prior_energy
    test_feature = action.feature.subs(S.alpha, S.alpha_test)
    icl = prediction_error(action, test_feature)
    return {
        "q_self": S.q + S.T * S.chi,
        "e_icl": icl,
        "e_icl_gibbs": icl + test_feature * S.T * S.chi,
        "e_idg": prediction_error(action, S.a),
        "e_train": sp.simplify(2 * value_at_zero(loss_energy, S.T) / action.gaussian[0][1, 1]),
        "contrast": S.m / sp.sqrt(S.q),
        "energy": total,
        "free_energy": -S.T * functional,
        "entropy": functional + total / S.T,
    }


def closed_replicon(action: ReplicatedAction, system: SaddlePointSystem) -> sp.Expr:
    """The replicon on the solution of the saddle-point equations: 1 - a^2 m^2/tau."""
    ratio = inserted(replicon(), action)
    # The response of a Gaussian spin is chi itself.
    (precision,) = sp.solve(inserted(Response(S.field, S.K), action) - S.chi, S.K)
    (chi_of_m,) = sp.solve(system.residuals[1], S.chi)
    return sp.expand(sp.simplify(ratio.subs(S.K, precision).subs(S.chi, chi_of_m)))


def reductions(system: SaddlePointSystem, action: ReplicatedAction, general: System) -> tuple[sp.Expr, ...]:
    """Both sides of the general system with the closed one-body functions, minus the saddle-point equations.

    Returns
    -------
    tuple[sp.Expr, ...]
        For 1/chi, m, q and a on the solution: zeros, where the two are the same.
    """
    labels = {symbol: general.definitions[symbol] for symbol in (S.kappa1, S.teacher_variance)}
    prompts, spins = (
        {
            unknown: inserted(value, action).subs(S.c, S.a * S.chi / S.tau).subs(labels)
            for unknown, value in side.items()
        }
        for side in sides()
    )
    (chi_of_m,) = sp.solve(system.residuals[1], S.chi)
    (precision,) = sp.solve(spins[S.chi] - S.chi, S.K)
    inverse_chi = (1 / spins[S.chi]).subs(S.K, prompts[S.K])
    m = spins[S.m].subs(S.M, prompts[S.M]).subs(S.K, precision)
    q = spins[S.q].subs({S.M: prompts[S.M], S.Q: prompts[S.Q]}).subs(S.K, precision)
    return (
        sp.simplify(inverse_chi - system.equations[0].rhs),
        sp.simplify(m - system.equations[1].rhs),
        sp.simplify((q - system.equations[2].rhs).subs(S.chi, chi_of_m)),
        sp.simplify(general.definitions[S.a] - system.a_definition.rhs),
    )
