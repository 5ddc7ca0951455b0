r"""Finite pools of tasks: the same derivation with the pool's spectrum kept abstract.

Every prompt draws its task from a pool of K = kappa D tasks. Given the pool, label and predictions have second moments
in R = (1/K) sum w w^T:

    E[y^2] = Tr R/D + rho,   E[y f] = Tr(R W)/D = m,   E[f^a f^b] = Tr((W^a)^T B W^b)/D = Q_ab
    B = R + (t + rho)/alpha

(`replica.moments` derives this.) The prompts' part of the action is that of `replica.action` at unit feature variance.
The spins' part splits over the eigenvalues r of R: the conjugate fields act on row r with weights b(r) and r, so

    spins = (1/2) Tr Q^ Q - m^ m + (1/2) ln 2 pi
            + < -(1/2) ln det K(r) + (1/2) m^ r 1.K(r)^{-1}.1 r m^ >,     K(r) = b(r) Q^ + prior precision

where < . > averages over the spectrum, p(r) dr, not chosen before the numerics. Source of the model with a pool: Lu et
al., arXiv:2405.11751 (LU); temperature and free energy: this project, notes/derivation.md.
"""

from dataclasses import dataclass

import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.action import ReplicatedAction, replicate
from iclglass.replica.ansatz import ReplicaSymmetric, replica_limit
from iclglass.replica.free_energy import collect_error
from iclglass.replica.guarded_limit import value_at_zero
from iclglass.replica.model import Model
from iclglass.replica.moments import expectation

__all__ = ["PoolTheory", "average", "one_task_per_prompt", "pool_theory"]


def average(expression: sp.Expr) -> sp.Expr:
    """< . >: the average over the pool's spectrum, unevaluated.

    Examples:
        >>> average(S.eigenvalue)
        Integral(r_pool*p(r_pool), (r_pool, 0, oo))
    """
    return sp.Integral(expression * S.density(S.eigenvalue), (S.eigenvalue, 0, sp.oo))


def one_task_per_prompt(expression: sp.Expr) -> sp.Expr:
    """The limit kappa -> infinity: R is the identity, every average is its value at r = 1, and t = 1.

    Examples:
        >>> one_task_per_prompt(average(S.eigenvalue**2 + S.rho))
        rho + 1
    """

    def at_one(*arguments: sp.Basic) -> sp.Expr:
        return (arguments[0] / S.density(S.eigenvalue)).subs(S.eigenvalue, 1)

    return expression.replace(sp.Integral, at_one).subs(S.strength, 1)


@dataclass(frozen=True)
class PoolTheory:
    """Saddle point of a pool with spectrum p(r).

    Attributes:
        moments: E[y^2], E[y f], E[f^a f^b] as derived, in sums over R and the weights.
        feature: b(r), the variance of a feature along an eigenvector of R.
        functional: phi in m, q, Delta and the conjugate fields; averages unevaluated.
        conjugates: stationary k_hat, q_hat, m_hat in chi, omega and the test error.
        equations: nu (from Delta), and the pool's m and Q through averages.
        observables: Tr W/D, q, chi, e_idg, e_icl, e_train, replicon, in nu, omega and averages.
        free_energy: at the saddle point, in nu, omega and averages.
    """

    moments: tuple[sp.Eq, ...]
    feature: sp.Expr
    functional: sp.Expr
    conjugates: tuple[tuple[sp.Symbol, sp.Expr], ...]
    equations: tuple[sp.Eq, ...]
    observables: tuple[sp.Eq, ...]
    free_energy: sp.Eq


def pool_theory(model: Model) -> PoolTheory:
    """Derive the saddle point of a pool of tasks from the model.

    Raises:
        ValueError: the stationary point differs from the equations stated here, or does not reduce to one task per
            prompt; the message says where.
    """
    moments, feature = _moments(model)
    action = replicate(model)
    functional = _functional(action, feature)
    conjugates = _conjugates(functional)
    equations, observables, energy = _solution(feature)
    theory = PoolTheory(moments, feature, functional, conjugates, equations, observables, energy)
    _prove(theory)
    return theory


def _moments(model: Model) -> tuple[tuple[sp.Eq, ...], sp.Expr]:
    block = model.block("block")
    first, second = sp.IndexedBase("W1", real=True), sp.IndexedBase("W2", real=True)
    fixed = {base: variance for base, variance in model.variances.items() if base != S.w}
    pool = {S.w: S.R}
    label = expectation(model.label**2, fixed, pool)
    mixed = expectation(model.label * block.prediction(first), fixed, pool)
    pair = expectation(block.prediction(first) * block.prediction(second), fixed, pool)
    i, k, j = (sp.Symbol(name, integer=True) for name in ("i1", "i2", "i3"))
    trace = sp.Sum(S.R[i, i], (i, 1, S.D))
    weighted = sp.Sum(S.R[i, k] * first[i, j] * second[k, j], (i, 1, S.D), (k, 1, S.D), (j, 1, S.D))
    plain = sp.Sum(first[i, k] * second[i, k], (i, 1, S.D), (k, 1, S.D))
    remainder = sp.expand(pair)
    # Tr R multiplies the plain overlap: its value, D t, is put in first. SymPy writes the product as one sum.
    values: dict[sp.Expr, sp.Expr] = {}
    for term in remainder.atoms(sp.Sum):
        if term.has(S.R) and term != weighted:
            values[term] = S.D * S.strength * plain
    remainder = sp.expand(remainder.xreplace(values))
    by_pool, by_plain = remainder.coeff(weighted), remainder.coeff(plain)
    if sp.expand(remainder - by_pool * weighted - by_plain * plain) != 0:
        raise ValueError(f"E[f f'] does not close on the overlaps of the pool: {remainder}")
    feature = model.large_dimension(by_pool * S.D) * S.eigenvalue + model.large_dimension(by_plain * S.D)
    y, f1, f2 = sp.symbols("y f_1 f_2")
    mean = sp.Function("E")
    shown = (
        sp.Eq(mean(y**2), model.scaled(label.xreplace({trace: S.D * S.strength}))),
        sp.Eq(mean(y * f1), model.scaled(mixed)),
        sp.Eq(mean(f1 * f2), sp.collect(sp.expand(model.scaled(remainder)), [weighted, plain])),
        sp.Eq(S.b_pool, sp.collect(sp.expand(feature), 1 / S.alpha)),
    )
    return shown, sp.expand(feature)


def _functional(action: ReplicatedAction, feature: sp.Expr) -> sp.Expr:
    overlaps = ReplicaSymmetric(S.Delta, S.q, S.n)
    fields = ReplicaSymmetric(S.k_hat, -S.q_hat, S.n)
    prior = ReplicaSymmetric(action.spin_precision, sp.S.Zero, S.n)
    precision = ReplicaSymmetric(feature * fields.excess, feature * fields.uniform, S.n) + prior
    source = S.m_hat**2 * S.eigenvalue**2 * precision.inverse().sum_of_entries() / 2
    row = replica_limit(-precision.log_determinant() / 2 + source, S.n)
    constraints = replica_limit(
        (fields @ overlaps).trace() / 2 - S.n * S.m_hat * S.m + S.n * sp.log(2 * sp.pi) / 2, S.n
    )
    # The label's variance is t + rho, and a = 1: the feature's variance is inside Q.
    prompts = collect_error(replica_limit(action.prompts(S.m, overlaps), S.n).subs(S.g, S.betahat / S.tau))
    return constraints + average(sp.together(row)) + prompts.subs(S.a, 1).subs(S.rho, S.rho + S.strength - 1)


def _conjugates(functional: sp.Expr) -> tuple[tuple[sp.Symbol, sp.Expr], ...]:
    """Stationarity in q, Delta and m gives the conjugate fields, with omega = 1/(1 + betahat Delta/tau)."""
    gradients = [sp.diff(functional, variable) for variable in (S.q, S.Delta, S.m)]
    unknowns = [S.k_hat, S.q_hat, S.m_hat]
    (solution,) = sp.solve(gradients, unknowns, dict=True)
    screened = S.Delta, S.tau * (1 / S.omega - 1) / S.betahat
    return tuple((name, sp.factor(sp.simplify(solution[name].subs(*screened)))) for name in unknowns)


def _solution(feature: sp.Expr) -> tuple[tuple[sp.Eq, ...], tuple[sp.Eq, ...], sp.Eq]:
    """The equations in their final form; `_prove` holds them against the functional."""
    r, b, nu, e = S.eigenvalue, feature, S.nu, S.e_idg
    test = 1 + (1 + S.rho) / S.alpha_test
    share = average(b / (b + nu))
    gamma = average(b**2 / (b + nu) ** 2) / S.tau
    numerator = S.strength + S.rho - 2 * average(r**2 / (b + nu)) + average(r**2 * b / (b + nu) ** 2)
    q = average(r**2 / (b + nu) ** 2) + e / S.tau * average(b / (b + nu) ** 2)
    m = average(r / (b + nu))
    equations = (
        sp.Eq(S.lam, nu - nu / S.tau * share),
        sp.Eq(S.omega, 1 - share / S.tau),
        sp.Eq(S.gamma, gamma),
        sp.Eq(S.e_idg, numerator / (1 - S.gamma)),
    )
    observables = (
        sp.Eq(S.m, m),
        sp.Eq(S.q, q),
        sp.Eq(S.chi, average(1 / (b + nu)) / S.omega),
        sp.Eq(S.e_icl, 1 + S.rho - 2 * S.m + test * S.q),
        sp.Eq(S.e_train, S.e_idg * S.omega**2),
        sp.Eq(S.replicon, 1 - S.gamma),
    )
    ground = (S.e_train + S.lam * S.q) / 2
    volume = sp.log(2 * sp.pi * S.T) + share - average(sp.log(b + nu)) + (S.tau - 1) * sp.log(S.omega)
    return equations, observables, sp.Eq(sp.Symbol("free_energy"), ground - S.T / 2 * volume)


def _prove(theory: PoolTheory) -> None:
    """The stationary point against the functional, integrand by integrand, and its limit of one task per prompt.

    Proved: the conjugate fields; Delta, m and Q as averages; chi, Tr W/D and q from one spin; the equations for
    omega, lam and gamma in terms of the share <b/(b + nu)>. The train error and the free energy are not proved here:
    tests hold them against the functional numerically and against exact determinants of finite systems.
    """
    b, r, nu, omega = theory.feature, S.eigenvalue, S.nu, S.omega
    conjugates = dict(theory.conjugates)
    error = S.strength + S.rho - 2 * S.m + S.q
    expected = {
        S.k_hat: S.betahat * omega,
        S.m_hat: S.betahat * omega,
        S.q_hat: S.betahat**2 * omega**2 * error / S.tau,
    }
    for name, value in expected.items():
        _require(conjugates[name] - value, f"the conjugate field {name}")
    # Stationarity in the conjugate fields: Delta, m and q + Delta as averages.
    stationary = {
        "Delta": (S.q_hat, S.Delta, b / (b + nu) / (S.betahat * omega)),
        "m": (S.m_hat, S.m, r**2 / (b + nu)),
        "q + Delta": (
            S.k_hat,
            S.q + S.Delta,
            S.e_idg / S.tau * b**2 / (b + nu) ** 2 + r**2 * b / (b + nu) ** 2 + b / (b + nu) / (S.betahat * omega),
        ),
    }
    for what, (variable, left, integrand) in stationary.items():
        terms = sp.Add.make_args(sp.diff(theory.functional, variable))
        outside = sp.expand(sp.Add(*(term for term in terms if not term.has(sp.Integral))))
        inside = _integrand(sp.Add(*(term for term in terms if term.has(sp.Integral)))).subs(
            {S.k_hat: S.betahat * omega, S.m_hat: S.betahat * omega}
        )
        inside = inside.subs({S.q_hat: S.betahat**2 * omega**2 * S.e_idg / S.tau, S.lam: nu * omega})
        scale = -outside.coeff(left.as_ordered_terms()[-1])
        _require(outside + scale * left, f"the left-hand side of the equation for {what}")
        _require(inside - scale * integrand, f"the average in the equation for {what}")
    # e_idg: m and q inserted into the error give the stated fraction.
    observed = {equation.lhs: equation.rhs for equation in theory.observables}
    stated = {equation.lhs: equation.rhs for equation in theory.equations}
    numerator = stated[S.e_idg] * (1 - S.gamma) - S.strength - S.rho
    _require(_integrand(sp.expand(numerator)) + 2 * r**2 / (b + nu) - r**2 * b / (b + nu) ** 2, "e_idg")
    # One task per prompt: the equations of iclglass.replica.saddle_point.
    a = 1 + (1 + S.rho) / S.alpha
    chi = 1 / (omega * (a + nu))
    share = b / (b + nu)
    _require(_integrand(sp.expand(1 - stated[S.omega])) - share / S.tau, "omega")
    _require(_integrand(sp.expand(nu - stated[S.lam])) - nu * share / S.tau, "lam")
    _require(_integrand(stated[S.gamma]) - share**2 / S.tau, "gamma")
    test = 1 + (1 + S.rho) / S.alpha_test
    _require(observed[S.e_icl] - (1 + S.rho - 2 * S.m + test * S.q), "e_icl")
    _require(observed[S.replicon] - 1 + S.gamma, "the replicon")
    # One spin at the saddle point: mean, and the part of its second moment that replicas share.
    precision = b * S.betahat * omega + S.betahat * S.lam
    spin = ReplicaSymmetric(precision, -b * S.betahat**2 * omega**2 * S.e_idg / S.tau, S.n).inverse()
    shared, single = value_at_zero(spin.uniform, S.n), spin.excess
    ridge = {S.lam: nu * omega}
    _require((single * S.betahat).subs(ridge) - _integrand(observed[S.chi] * omega) / omega, "chi")
    _require((single * S.betahat * omega * r).subs(ridge) - _integrand(observed[S.m]), "m")
    mean_square = (single * S.betahat * omega * r) ** 2
    _require((mean_square + shared).subs(ridge) - _integrand(sp.expand(observed[S.q])), "q")
    _require(one_task_per_prompt(observed[S.chi]) - chi, "chi at one task per prompt")
    m = sp.cancel(one_task_per_prompt(observed[S.m]))
    _require(m - omega * chi, "m at one task per prompt")
    q = one_task_per_prompt(observed[S.q])
    _require(q - m**2 - a / S.tau * m**2 * S.e_idg, "q at one task per prompt")


def _integrand(expression: sp.Expr) -> sp.Expr:
    """The integrand of a sum of averages, without the density."""
    return expression.replace(sp.Integral, lambda *arguments: arguments[0] / S.density(S.eigenvalue))


def _require(difference: sp.Expr, what: str) -> None:
    remainder = sp.cancel(sp.together(difference))
    if remainder != 0:
        raise ValueError(f"{what} does not hold: {remainder} should vanish")
