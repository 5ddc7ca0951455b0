r"""The saddle-point equations by another road: leave one prompt out, leave one spin out.

No replicas, no functional: only linear response of the ground state of a quadratic energy and the second moments of
one prompt (`replica.disorder`).

1. Add one prompt. It pulls the spins with the field s (y - f)/P; they respond with the inverse Hessian, so its
   prediction moves by c (y - f), with the leverage c = s.A^{-1}.s/P. Hence y - f = (y - f_cav)/(1 + c).
2. Add one spin. It sees the residuals of the others, each of which answers with the factor 1/(1 + c):
   lambda0 W_i = (1/P) sum_mu s_i (r_mu - s_i W_i)/(1 + c).
3. Average. Leverage and response concentrate at large D; the field on spin i is a sum over prompts that do not know
   s_i, so its mean is E[y s_i]/(1 + c) and its variance E[s_i^2] E[r^2]/(P (1 + c)^2).
"""

from dataclasses import dataclass

import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.disorder import FeatureMoments
from iclglass.replica.model import Model
from iclglass.replica.saddle_point import SaddlePointSystem

__all__ = ["CavityEquations", "cavity", "cavity_differences"]


@dataclass(frozen=True)
class CavityEquations:
    """The cavity argument and its result.

    Attributes
    ----------
    one_prompt
        Residual with the prompt, in terms of the one without.
    one_spin
        The spin in terms of its cavity field, and its response G, at finite D.
    leverage
        c at large D.
    a_definition
        The variance a of a feature at large D.
    equations
        1/chi, m and q at large D, with the leverage inserted.
    """

    one_prompt: sp.Eq
    one_spin: tuple[sp.Eq, sp.Eq]
    leverage: sp.Eq
    a_definition: sp.Eq
    equations: tuple[sp.Eq, sp.Eq, sp.Eq]


def cavity(model: Model, moments: FeatureMoments) -> CavityEquations:
    """Derive the equations for chi, m and q without replicas.

    Raises
    ------
    ValueError
        Loss or prior is not quadratic in prediction and spin; linear response is then not exact.
    """
    pull, stiffness = _forces(model)
    f_cav, residual, field, spin = sp.symbols("f_cav r_cav h_cav W_i", real=True)
    # 1. The prompt's prediction after the spins have responded to it.
    (prediction,) = sp.solve(sp.Eq(S.f, f_cav + S.c * pull), S.f)
    one_prompt = sp.Eq(S.y - S.f, sp.factor(S.y - prediction))
    screening = sp.simplify((S.y - prediction) / (S.y - f_cav))

    # 2. Force balance on one spin: prior against data, with every residual screened.
    feature = sp.Symbol("s_i", real=True)
    force = sp.expand(feature * screening * (residual - feature * spin))
    self_response = -force.coeff(spin)
    mean_square = S.a / S.D
    balance = stiffness * spin - (field - self_response.subs(feature**2, mean_square) * spin)
    (solution,) = sp.solve(balance, spin)
    response = sp.simplify(solution / field)
    one_spin = (sp.Eq(spin, S.G * field), sp.Eq(1 / S.G, sp.apart(1 / response, S.c)))

    # 3. Averages at large D, with G = D chi and all D^2 spins of the block alike.
    leverage = model.large_dimension(S.D**2 * mean_square * S.D * S.chi / S.P)
    inverse_chi = model.large_dimension(sp.expand(S.D / response))
    weight = S.D * S.chi * screening
    mean = model.large_dimension(weight * moments.signal / S.D)
    error = model.large_dimension(moments.label - 2 * moments.signal * S.m) + S.a * S.q
    variance = model.large_dimension(S.D**2 / S.D * weight**2 * mean_square / S.P) * error
    feature_variance = sp.expand(model.large_dimension(moments.block))
    values = {S.c: leverage}
    return CavityEquations(
        one_prompt=one_prompt,
        one_spin=one_spin,
        leverage=sp.Eq(S.c, leverage),
        a_definition=sp.Eq(S.a, feature_variance),
        equations=(
            sp.Eq(1 / S.chi, inverse_chi.subs(values)),
            sp.Eq(S.m, mean.subs(values)),
            sp.Eq(S.q, S.m**2 + variance.subs(values)),
        ),
    )


def _forces(model: Model) -> tuple[sp.Expr, sp.Expr]:
    """-d loss/df, required to be y - f up to a constant, and the second derivative of the prior."""
    pull = sp.expand(-sp.diff(model.loss, S.f))
    stiffness = sp.diff(model.prior, S.sigma, 2)
    if sp.expand(pull - (S.y - S.f)) != 0 or stiffness.has(S.sigma):
        raise ValueError(
            f"loss {model.loss} and prior {model.prior} must be (y - f)^2/2 and quadratic for exact linear response"
        )
    return pull, stiffness


def cavity_differences(equations: CavityEquations, system: SaddlePointSystem) -> tuple[sp.Expr, ...]:
    """Replica minus cavity, equation by equation; all zero when the two roads agree.

    The equations for q are compared on the solution of the one for m. The last entry compares the two values of a.
    """
    (chi_of_m,) = sp.solve(system.residuals[1], S.chi)
    differences = []
    for replica, other in zip(system.equations, equations.equations, strict=True):
        difference = replica.rhs - other.rhs
        if replica.lhs == S.q:
            difference = difference.subs(S.chi, chi_of_m)
        differences.append(sp.simplify(difference))
    differences.append(sp.simplify(system.a_definition.rhs - equations.a_definition.rhs))
    return tuple(differences)
