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
from iclglass.replica.free_energy import prompt_part
from iclglass.replica.guarded_limit import value_at_zero
from iclglass.replica.model import Model
from iclglass.replica.moments import expectation
from iclglass.replica.saddle_point import prediction_error

__all__ = ["PoolTheory", "average", "one_task_per_prompt", "pool_theory"]

_SCREENING = (S.Delta, S.tau * (1 / S.omega - 1) / S.betahat)
"""omega = 1/(1 + betahat Delta/tau), solved for Delta."""


def average(expression: sp.Expr) -> sp.Expr:
    """< . >: the average over the pool's spectrum, unevaluated.

    Examples
    --------
    >>> average(S.eigenvalue)
    Integral(r_pool*p(r_pool), (r_pool, 0, oo))
    """
    return sp.Integral(expression * S.density(S.eigenvalue), (S.eigenvalue, 0, sp.oo))


def one_task_per_prompt(expression: sp.Expr) -> sp.Expr:
    """The limit kappa -> infinity: R is the identity, every average is its value at r = 1, and t = 1.

    Examples
    --------
    >>> one_task_per_prompt(average(S.eigenvalue**2 + S.rho))
    rho + 1
    """

    def at_one(*arguments: sp.Basic) -> sp.Expr:
        return (arguments[0] / S.density(S.eigenvalue)).subs(S.eigenvalue, 1)

    return expression.replace(sp.Integral, at_one).subs(S.strength, 1)


@dataclass(frozen=True)
class PoolTheory:
    """Saddle point of a pool with spectrum p(r).

    Attributes
    ----------
    moments
        E[y^2], E[y f], E[f^a f^b] as derived, in sums over R and the weights.
    feature
        b(r), the variance of a feature along an eigenvector of R.
    functional
        Phi in m, q, Delta and the conjugate fields; averages unevaluated.
    conjugates
        Stationary k_hat, q_hat, m_hat in chi, omega and the test error.
    equations
        nu (from Delta), and the pool's m and Q through averages.
    observables
        Tr W/D, q, chi, e_idg, e_icl, e_train, replicon, in nu, omega and averages.
    directions
        New tasks of any covariance, c_* along an eigenvector of R: what a unit of c_* costs there, not averaged, and
        e_icl as the sum over directions.
    free_energy
        At the saddle point, in nu, omega and averages.
    """

    moments: tuple[sp.Eq, ...]
    feature: sp.Expr
    functional: sp.Expr
    conjugates: tuple[tuple[sp.Symbol, sp.Expr], ...]
    equations: tuple[sp.Eq, ...]
    observables: tuple[sp.Eq, ...]
    directions: tuple[sp.Eq, ...]
    free_energy: sp.Eq


def pool_theory(model: Model) -> PoolTheory:
    """Derive the saddle point of a pool of tasks from the model.

    Averages are linear in the density: all is derived on integrands, with b for b(r), and averaged at the end.

    Raises
    ------
    ValueError
        A stationary value does not have the form that this theory needs; the message says which.
    """
    moments, feature = _moments(model)
    action = replicate(model)
    constraints, row, prompts, precision = _functional(action)
    functional = constraints + average(sp.together(sp.expand_mul(row.subs(S.b_pool, feature)))) + prompts
    conjugates = _conjugates(constraints + prompts)
    by_error = S.rho, S.e_idg - S.strength + 2 * S.m - S.q  # m and q here are the pool's Tr(R W)/D and Q
    fields = {name: sp.simplify(value.subs(*by_error)) for name, value in conjugates}
    at_saddle = {**fields, S.lam: S.nu * S.omega}
    gradients = [sp.diff(constraints + row, field) for field in fields]
    (solved,) = sp.solve(gradients, [S.Delta, S.m, S.q], dict=True)
    pool = {name: sp.factor(value.subs(at_saddle)) for name, value in solved.items()}
    if any(value.free_symbols & {S.rho, S.m, S.q} for value in pool.values()):
        raise ValueError(f"overlaps of pools must depend on the prompts through their error alone: {pool}")
    # One spin: its response, what replicas share of its second moment, and its mean under the source m^ r.
    spin = precision.inverse()
    single, shared = (sp.factor(part.subs(at_saddle)) for part in (spin.excess, value_at_zero(spin.uniform, S.n)))
    mean = sp.factor(single * S.eigenvalue * fields[S.m_hat])
    share = sp.cancel(pool[S.Delta] * S.betahat * S.omega)
    gamma = sp.factor(sp.diff(pool[S.q], S.e_idg))
    numerator = S.strength + S.rho - 2 * pool[S.m] + sp.factor(pool[S.q] - gamma * S.e_idg)
    test = sp.collect(action.feature, 1 / S.alpha).subs(S.alpha, S.alpha_test)
    prompts = prompts.subs(*by_error)
    loss = -sp.diff(prompts, S.betahat).subs(*_SCREENING).subs(S.betahat, 1 / S.T)
    observables = {
        S.m: mean,
        S.q: mean**2 + shared,
        S.chi: sp.factor(single * S.betahat),
        S.e_icl: prediction_error(action, test),
        S.e_train: sp.factor(2 * value_at_zero(sp.simplify(loss), S.T)),
        S.replicon: 1 - S.gamma,
    }
    ground = (S.e_train + S.lam * S.q) / 2
    volume = sp.log(2 * sp.pi * S.T) - sp.log(S.b_pool + S.nu) + (S.tau - 1) * sp.log(S.omega)
    # phi + betahat f, where the equation for omega, an average, is used twice: in the volume and times the error.
    free = (ground - S.T / 2 * (volume + S.tau * (1 - S.omega))).subs({**observables, **at_saddle, S.T: 1 / S.betahat})
    phi = (constraints + row + prompts).subs(*_SCREENING).subs(pool).subs(at_saddle)
    balance = S.betahat * S.omega * S.e_idg * (S.omega - 1 + share / S.tau)
    difference = sp.simplify(sp.expand_log(phi + S.betahat * free - balance, force=True))
    if difference != 0:
        raise ValueError(f"the free energy of pools does not hold: phi differs by {difference}")

    def shown(expression: sp.Expr) -> sp.Expr:
        return _averaged(expression, feature)

    return PoolTheory(
        moments=moments,
        feature=feature,
        functional=functional,
        conjugates=conjugates,
        equations=(
            sp.Eq(S.lam, shown(S.nu - S.nu * share / S.tau)),
            sp.Eq(S.omega, shown(1 - share / S.tau)),
            sp.Eq(S.gamma, shown(gamma)),
            sp.Eq(S.e_idg, shown(numerator) / (1 - S.gamma)),
        ),
        observables=tuple(sp.Eq(name, shown(value)) for name, value in observables.items()),
        directions=_directions(feature, mean, observables[S.q]),
        free_energy=sp.Eq(sp.Symbol("free_energy"), ground - S.T / 2 * shown(volume + share)),
    )


def _directions(feature: sp.Expr, mean: sp.Expr, second: sp.Expr) -> tuple[sp.Eq, ...]:
    """New tasks of another covariance: its part that is linear in c_*, one direction at a time, and the whole error.

    The moments of a prompt are linear in the covariance of its task: those of a new prompt are the pool's with c_* in
    the place of r and t_* in that of t. ``mean`` and ``second`` are of the weights in a row, on average m and q.
    """
    tested = feature.subs({S.eigenvalue: S.tested, S.strength: S.test_strength, S.alpha: S.alpha_test})
    error = S.tested + S.rho - 2 * S.tested * S.m + tested * S.q
    cost = sp.diff(error, S.tested)
    rest = sp.expand(error - cost * S.tested)
    if (cost * rest).has(S.tested) or cost.has(S.test_strength):
        raise ValueError(f"the error on new tasks must be linear in their covariance: {error}")
    # Written as a sum of positive terms: cost is 1 - 2 m + q.
    positive = (cost - S.q + S.m**2).factor() + sp.factor((S.q - S.m**2).subs({S.m: mean, S.q: second}))
    positive = positive.subs({S.m: mean, S.b_pool: feature}).subs(S.b_pool, feature)
    total = sp.Function("E")(S.tested * S.direction_cost) + S.rho + sp.factor(rest - S.rho)
    return sp.Eq(S.direction_cost, positive), sp.Eq(S.e_icl, total)


def _averaged(expression: sp.Expr, feature: sp.Expr) -> sp.Expr:
    """< . > of an integrand in r and b, with b = b(r) put in: what depends on neither is a constant."""
    total = sp.S.Zero
    for term in sp.Add.make_args(expression):
        constant, integrand = term.as_independent(S.eigenvalue, S.b_pool, as_Add=False)
        total += constant * (average(integrand.subs(S.b_pool, feature)) if integrand != 1 else 1)
    return total


def _moments(model: Model) -> tuple[tuple[sp.Eq, ...], sp.Expr]:
    block = model.block("block")
    first, second = sp.IndexedBase("W1", real=True), sp.IndexedBase("W2", real=True)
    given_tasks = {base: variance for base, variance in model.variances.items() if base != S.w}
    label = expectation(model.label**2, given_tasks)
    mixed = expectation(model.label * block.prediction(first), given_tasks)
    pair = expectation(block.prediction(first) * block.prediction(second), given_tasks)
    # Averaged over the pool, w_i w_k is R_ik: in sums over the first few indices of a matrix, and Tr R = D t.
    i, k, j = (sp.Symbol(name, integer=True) for name in ("i1", "i2", "i3"))
    over = [(index, 1, S.D) for index in (i, k, j)]
    plain = sp.Sum(first[i, k] * second[i, k], *over[:2])
    weighted = sp.Sum(S.R[i, k] * first[i, j] * second[k, j], *over)
    pooled = {
        sp.Sum(S.w[i] ** 2, over[0]): S.D * S.strength,
        sp.Sum(S.w[i] * S.w[k] * first[i, k], *over[:2]): sp.Sum(S.R[i, k] * first[i, k], *over[:2]),
        sp.Sum(S.w[i] * S.w[j] * first[i, k] * second[j, k], *over): weighted,
        sp.Sum(S.w[j] ** 2 * first[i, k] * second[i, k], *over): S.D * S.strength * plain,
    }
    label, mixed, pair = (sp.expand(average.xreplace(pooled)) for average in (label, mixed, pair))
    by_pool, by_plain = pair.coeff(weighted), pair.coeff(plain)
    if sp.expand(pair - by_pool * weighted - by_plain * plain) != 0 or (label + mixed).has(S.w):
        raise ValueError(f"the second moments do not close on the overlaps of the pool: {label}, {mixed}, {pair}")
    feature = model.large_dimension(by_pool * S.D) * S.eigenvalue + model.large_dimension(by_plain * S.D)
    y, f1, f2 = sp.symbols("y f_1 f_2")
    mean = sp.Function("E")
    shown = (
        sp.Eq(mean(y**2), model.scaled(label)),
        sp.Eq(mean(y * f1), model.scaled(mixed)),
        sp.Eq(mean(f1 * f2), sp.collect(sp.expand(model.scaled(pair)), [weighted, plain])),
        sp.Eq(S.b_pool, sp.collect(sp.expand(feature), 1 / S.alpha)),
    )
    return shown, sp.expand(feature)


def _functional(action: ReplicatedAction) -> tuple[sp.Expr, sp.Expr, sp.Expr, ReplicaSymmetric]:
    """phi as constraints, the integrand of the spins and the prompts; and the precision of a row of spins."""
    overlaps = ReplicaSymmetric(S.Delta, S.q, S.n)
    fields = ReplicaSymmetric(S.k_hat, -S.q_hat, S.n)
    prior = ReplicaSymmetric(action.gaussian[1], sp.S.Zero, S.n)
    precision = ReplicaSymmetric(S.b_pool * fields.excess, S.b_pool * fields.uniform, S.n) + prior
    source = S.m_hat**2 * S.eigenvalue**2 * precision.inverse().sum_of_entries() / 2
    row = replica_limit(-precision.log_determinant() / 2 + source, S.n)
    constraints = replica_limit(
        (fields @ overlaps).trace() / 2 - S.n * S.m_hat * S.m + S.n * sp.log(2 * sp.pi) / 2, S.n
    )
    # The label's variance is t + rho, and a = 1: the feature's variance is inside Q.
    prompts = prompt_part(action)
    return constraints, row, prompts.subs(S.a, 1).subs(S.rho, S.rho + S.strength - 1), precision


def _conjugates(functional: sp.Expr) -> tuple[tuple[sp.Symbol, sp.Expr], ...]:
    """Stationarity in q, Delta and m gives the conjugate fields, with omega = 1/(1 + betahat Delta/tau)."""
    gradients = [sp.diff(functional, variable) for variable in (S.q, S.Delta, S.m)]
    unknowns = [S.k_hat, S.q_hat, S.m_hat]
    (solution,) = sp.solve(gradients, unknowns, dict=True)
    return tuple((name, sp.factor(sp.simplify(solution[name].subs(*_SCREENING)))) for name in unknowns)
