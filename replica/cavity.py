r"""The same system by another road: leave one prompt out, leave one spin out.

No replicas, no functional: linear response of the ground state of a convex energy, and second moments of one prompt
(`replica.disorder`). Energies are D^2 H, spins W~ = sqrt(D) W.

1. Add one prompt. It pulls the spins with the field s pull D^(3/2)/P, pull = -dl/df; they respond with chi each, so its
   prediction moves by c pull, with the leverage c = (D^2/P) sum_i s_i^2 chi/D: f = f_cav + c pull, which is where
   l(y, f) + (f - f_cav)^2/(2c) is least. Slope of the pull: -l''/(1 + c l'').
2. Add one spin. Every prompt's f_cav moves by s_i W, its pull by pull_slope s_i W: force balance r'(s) = h - K s, the
   minimum of r(s) + K s^2/2 - h s.
3. Average. K and c concentrate; the field h is a sum over prompts that do not know the spin. Its mean is that of
   D s_ii pull, where s_ii is correlated with the teacher's field alone, its variance that of s_i pull.
"""

from dataclasses import dataclass

import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.averages import Average, linear
from iclglass.replica.disorder import LabelMoments
from iclglass.replica.model import Model
from iclglass.replica.system import System

__all__ = ["CavityEquations", "cavity", "cavity_differences"]

_LOSS, _PENALTY = sp.Function("l"), sp.Function("r")


@dataclass(frozen=True)
class CavityEquations:
    """The cavity argument and its result at T = 0.

    Attributes
    ----------
    one_prompt
        Its prediction, in terms of the one without it, and the slope of its pull.
    one_spin
        Force balance.
    leverage
        c at large D.
    definitions
        E[y t] = kappa1 and the variance a of a feature at large D.
    prompts
        K, M and Q.
    spins
        m, q and chi.
    """

    one_prompt: tuple[sp.Eq, sp.Eq]
    one_spin: sp.Eq
    leverage: sp.Eq
    definitions: tuple[sp.Eq, ...]
    prompts: tuple[sp.Eq, ...]
    spins: tuple[sp.Eq, ...]


def cavity(model: Model, labels: LabelMoments) -> CavityEquations:
    """Derive K, M, Q and m, q, chi without replicas, for any convex loss and penalty.

    Parameters
    ----------
    model
        Of it the scaling is used; what one prompt and one spin do stays behind node symbols.
    labels
        Moments of teacher, label and features.
    """
    f, cavity_field, leverage = sp.Dummy("f"), S.f_cav, S.c
    force = -sp.diff(_LOSS(S.y, f), f)
    # 1. f(w) solves f = w + c force(f); its pull is force(f(w)).
    answer = sp.Function("f")(cavity_field)
    balance = answer - cavity_field - leverage * force.subs(f, answer)
    slope = sp.Symbol("df_dw")
    (moved,) = sp.solve(sp.diff(balance, cavity_field).doit().subs(sp.diff(answer, cavity_field), slope), slope)
    curvature = sp.Symbol("l''")
    moved = sp.simplify(moved.replace(lambda part: isinstance(part, (sp.Derivative, sp.Subs)), lambda _: curvature))
    one_prompt = (
        sp.Eq(S.f, cavity_field + leverage * S.pull, evaluate=False),
        sp.Eq(S.pull_slope, sp.factor((moved - 1) / leverage), evaluate=False),
    )
    # 2. The pulls without the spin make its field, their change makes K.
    one_spin = sp.Eq(sp.Derivative(_PENALTY(S.spin), S.spin), S.field - S.K * S.spin, evaluate=False)
    # 3. Averages at large D. One prompt's share in the force on W~: D^2/P s_i/sqrt(D).
    share = S.D**2 / S.P / sp.sqrt(S.D)
    mean_square = S.a / S.D
    slope_of_force = model.large_dimension(S.P * share * mean_square / sp.sqrt(S.D))
    variance = model.large_dimension(S.P * share**2 * mean_square)
    # D spins of size sqrt(D): M is the force over sqrt(D). E[s_ii pull] by the part of t that f_cav does not have.
    signal = model.large_dimension(S.P * share / sp.sqrt(S.D) * S.kappa1 / S.D)
    by_f = Average(S.pull_slope, "prompts")
    by_t = (Average(S.t * S.pull, "prompts") - S.kappa1 * S.m * by_f) / S.teacher_variance
    return CavityEquations(
        one_prompt=one_prompt,
        one_spin=one_spin,
        leverage=sp.Eq(leverage, model.large_dimension(S.D**2 * S.D**2 / S.P * mean_square / S.D * S.chi)),
        definitions=tuple(sp.Eq(*pair, evaluate=False) for pair in ((S.kappa1, labels.kappa1), (S.a, labels.feature))),
        prompts=(
            sp.Eq(S.K, -slope_of_force * by_f, evaluate=False),
            sp.Eq(S.M, sp.expand(signal * by_t), evaluate=False),
            sp.Eq(S.Q, variance * Average(S.pull**2, "prompts"), evaluate=False),
        ),
        spins=(
            sp.Eq(S.m, S.diagonal, evaluate=False),
            sp.Eq(S.q, S.diagonal**2 + Average(S.spin**2, "spins"), evaluate=False),
            sp.Eq(S.chi, Average(S.response, "spins"), evaluate=False),
        ),
    )


def cavity_differences(equations: CavityEquations, system: System) -> tuple[sp.Expr, ...]:
    """Replica minus cavity for K, M, Q, m, q, chi, c, kappa1 and a; all zero when the two roads agree."""
    by_replicas = {**system.definitions, **system.prompts, **system.spins}
    other = (*equations.prompts, *equations.spins, equations.leverage, *equations.definitions)
    return tuple(sp.expand(linear(by_replicas[equation.lhs] - equation.rhs)) for equation in other)
