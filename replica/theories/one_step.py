r"""One step of replica symmetry breaking: clusters of replicas, for any spins, squared error and linear labels.

Replicas of one cluster have the overlap q1, those of two clusters q0. A cluster holds x of them, and y = x/T stays
finite as T -> 0. Replicas of a cluster share a field, and these fields vary around one that all share; so what was the
free energy F of one body becomes that of a cluster,

    F_y(h) = -(1/y) ln E_z exp(-y F(h + sqrt(v) z)),        v: Q1 - Q0 of spins, a (q1 - q0) of predictions,

and <A> is the mean of A over z, weighed with exp(-y F). One integration by parts gives its derivatives,

    dF_y/dh = -<s>,    d<s>/dh = <ds/dh> + y (<s^2> - <s>^2),    dF_y/dv = -(<ds/dh> + y <s^2>)/2,
    dF_y/dy = (<F> - F_y)/y.

Everything else is the functional of `replica.functional` with another ansatz, and its stationarity. y is stationary,
too: the complexity y^2 d(free energy)/dy, the logarithm of the number of clusters over D^2, vanishes there. For q1 = q0
it is the replica-symmetric theory, whatever y is.

Source: Parisi, J. Phys. A 13 (1980) 1101; for y and the complexity Monasson, Phys. Rev. Lett. 75 (1995) 2847. The
equations: this project, notes/glass.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.ansatz import OneStepMatrix
from iclglass.replica.averages import Average, GaussianLaw, OneBody, linear
from iclglass.replica.disorder import label_moments
from iclglass.replica.functional import Symmetric
from iclglass.replica.guarded_limit import value_at_zero
from iclglass.replica.model import Model
from iclglass.replica.one_body import DiagonalFree
from iclglass.replica.quadratic import gaussian_integral

__all__ = ["LAW", "ClusterFree", "OneStep", "OneStepSystem", "one_step", "quadratic"]

LAW = GaussianLaw("between", (S.field,), sp.Matrix([[S.Q0]]), (S.normal,))
"""The field on a spin that all clusters have in common."""
_X = S.parisi * S.T


class OneStep:
    """Q_ab = q1 in a cluster, q0 between clusters, q1 + Delta for a = b; the same m in every replica."""

    overlaps = OneStepMatrix(S.Delta, S.q1 - S.q0, S.q0, S.cluster_size, S.n)
    fields = OneStepMatrix(S.k_hat, S.q0_hat - S.q1_hat, -S.q0_hat, S.cluster_size, S.n)

    def constraints(self) -> sp.Expr:
        """lim (1/n) of (1/2) Tr Qh Q - n m_hat m."""
        return Symmetric.without_replicas((self.fields @ self.overlaps).trace() / 2 - S.n * S.m_hat * S.m)

    def precision(self) -> sp.Expr:
        """What large spins see, the same in every replica."""
        return Symmetric.without_replicas(self.fields.sum_of_entries())


class ClusterResponse(OneBody):
    """<ds/dh>."""


class ClusterSquare(OneBody):
    """<s^2>."""


class ClusterMeanFree(OneBody):
    """<F>."""


class ClusterSpin(OneBody):
    """<s>."""

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """By the common field: the response, and that of the weights of clusters."""
        if argindex != 1:
            return super().fdiff(argindex)
        y, spread = self.args[3], ClusterSquare(*self.args) - ClusterSpin(*self.args) ** 2
        return ClusterResponse(*self.args) + y * spread


class ClusterFree(OneBody):
    """F_y of one spin: common field h, precision K, variance v of the field between clusters, y."""

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """By h, K (heat equation), v (Parisi's equation) and y."""
        y = self.args[3]
        square, response = ClusterSquare(*self.args), ClusterResponse(*self.args)
        derivatives = (
            -ClusterSpin(*self.args),
            (square + S.T * response) / 2,
            -(response + y * square) / 2,
            (ClusterMeanFree(*self.args) - ClusterFree(*self.args)) / y,
        )
        return derivatives[argindex - 1]


_NODES = {
    ClusterFree: S.cluster_free,
    ClusterSpin: S.cluster_spin,
    ClusterSquare: S.cluster_square,
    ClusterResponse: S.cluster_response,
    ClusterMeanFree: S.cluster_mean_free,
    DiagonalFree: S.diagonal_free,
}


@dataclass(frozen=True)
class OneStepSystem:
    """The theory of one model as expressions in node symbols and averages over the common field.

    Attributes
    ----------
    prompts
        K, M, Q1, Q0 in m, q1, q0, chi and y: closed.
    spins
        m, q1, q0, chi in the diagonal spin and averages over spins.
    diagonal_precision
        What the diagonal spin sees in the place of K.
    free_energy
        Stationary at the solution.
    complexity
        y^2 times its derivative by y.
    replicon
        The smaller of two is positive where the solution is stable: of replicas in one cluster, and of clusters.
    definitions
        a, kappa1, kappa2 and c.
    observables
        Name -> expression.
    """

    model: Model
    thermal: bool
    prompts: Mapping[sp.Symbol, sp.Expr]
    spins: Mapping[sp.Symbol, sp.Expr]
    diagonal_precision: sp.Expr
    free_energy: sp.Expr
    complexity: sp.Expr
    replicon: tuple[sp.Expr, sp.Expr]
    definitions: Mapping[sp.Symbol, sp.Expr]
    observables: Mapping[str, sp.Expr]


def quadratic(model: Model) -> bool:
    """Whether clusters of prompts are derived: squared error and linear labels.

    >>> from iclglass.replica.model import linear_attention
    >>> quadratic(linear_attention()), quadratic(linear_attention(loss="huber"))
    (True, False)
    """
    return bool(model.labels == "linear" and sp.expand(model.loss - _LOSS) == 0)


@cache
def one_step(model: Model, *, thermal: bool) -> OneStepSystem:
    """Derive the one-step system of a model.

    Parameters
    ----------
    model
        Squared error and linear labels, so that clusters of prompts have a closed form; any spins.
    thermal
        At temperature T > 0, or in the limit T -> 0.

    Raises
    ------
    ValueError
        Another loss or other labels.

    Examples
    --------
    >>> from iclglass.replica.model import linear_attention
    >>> one_step(linear_attention(spins="binary"), thermal=False).spins[S.q0]
    diagonal**2 + E_between[cluster_spin**2]
    """
    if not quadratic(model):
        raise ValueError("clusters of prompts are derived for squared error and linear labels")
    ansatz, labels = OneStep(), label_moments(model)
    constraints = sp.expand(-S.T * ansatz.constraints().subs(_UNITS))
    precision = sp.expand(S.T * ansatz.precision().subs(_UNITS))
    spins = Average(ClusterFree(S.field, S.K, S.Q1 - S.Q0, S.parisi), LAW) + DiagonalFree(precision, S.M)
    prompt, cluster = _prompt()
    free = constraints + spins + _averaged(cluster)
    fields = _stationary(free, {S.Q1: S.chi, S.Q0: S.q0, S.M: S.m, S.K: S.q1})
    answers = _stationary(free, {S.q1: S.K, S.q0: S.Q0, S.m: S.M, S.chi: S.Q1})
    # Squared second derivatives of F and of F_y, which for predictions do not depend on the field.
    bend, cluster_bend = (sp.diff(each, S.f_cav, 2) for each in (prompt, cluster))
    response = S.cluster_response + S.parisi * (S.cluster_square - S.cluster_spin**2)
    within = 1 - S.a**2 / S.tau * bend**2 * Average(S.cluster_response_square, LAW)
    between = 1 - S.a**2 / S.tau * cluster_bend**2 * Average(response**2, LAW)
    return OneStepSystem(
        model=model,
        thermal=thermal,
        prompts={unknown: _in_nodes(value, thermal) for unknown, value in fields.items()},
        spins={unknown: _in_nodes(answers[unknown], thermal) for unknown in (S.m, S.q1, S.q0, S.chi)},
        diagonal_precision=precision,
        free_energy=_in_nodes(free, thermal),
        complexity=_in_nodes(S.parisi**2 * sp.diff(free, S.parisi), thermal),
        replicon=(_in_nodes(within, thermal), _in_nodes(between, thermal)),
        definitions={
            S.kappa1: labels.kappa1,
            S.kappa2: labels.kappa2,
            S.a: labels.feature,
            S.a_test: labels.feature.subs(S.alpha, S.alpha_test),
        },
        observables={name: _in_nodes(each, thermal) for name, each in _observables(free, thermal).items()},
    )


_LOSS = (S.y - S.f) ** 2 / 2
_LEVERAGE = S.a * S.chi / S.tau
_UNITS = {S.k_hat: S.K / S.T, S.q1_hat: S.Q1 / S.T**2, S.q0_hat: S.Q0 / S.T**2, S.m_hat: S.M / S.T}
_UNITS |= {S.Delta: S.T * S.chi, S.cluster_size: _X}


def _prompt() -> tuple[sp.Expr, sp.Expr]:
    """Free energies of one prediction and of its clusters, in y and f_cav."""
    unit, rate = S.tau * S.T, S.parisi / S.tau
    c, variance = _LEVERAGE, S.a * (S.q1 - S.q0)
    exponent = -(_LOSS + (S.f - S.f_cav) ** 2 / (2 * c)) / unit
    free = sp.expand_log(-unit * (gaussian_integral(exponent, S.f) - sp.log(2 * sp.pi * c * unit) / 2), force=True)
    # The loss is a function of y - f_cav: the common field is enough.
    shifted = -rate * free.subs(S.f_cav, S.f_cav + sp.sqrt(variance) * S.normal) - S.normal**2 / 2
    return free, -(gaussian_integral(shifted, S.normal) - sp.log(2 * sp.pi) / 2) / rate


def _averaged(cluster: sp.Expr) -> sp.Expr:
    """Over label and common prediction; the teacher's field is the label without its noise."""
    polynomial = sp.Poly(cluster, S.y, S.f_cav)
    moments = {(2, 0): S.kappa2, (1, 1): S.kappa1 * S.m, (0, 2): S.a * S.q0, (0, 0): sp.S.One}
    parts = [sp.factor(factor) * moments[powers] for powers, factor in polynomial.terms() if any(powers)]
    return sp.Add(*parts, polynomial.coeff_monomial(1))


def _stationary(free: sp.Expr, side: Mapping[sp.Symbol, sp.Symbol]) -> dict[sp.Symbol, sp.Expr]:
    """Solve the derivative by each variable for its unknown, in the order given, with those before it known."""
    solution: dict[sp.Symbol, sp.Expr] = {}
    for unknown, variable in side.items():
        gradient = linear(sp.diff(free, variable)).subs(solution)
        solution[unknown] = _solved(gradient, unknown)
    # Those found first may hold those found last.
    return {unknown: _solved(unknown - value.subs(solution), unknown) for unknown, value in solution.items()}


def _solved(gradient: sp.Expr, unknown: sp.Symbol) -> sp.Expr:
    """Where an expression vanishes that is linear in the unknown, which is in no average."""
    masks = {each: sp.Dummy(real=True) for each in gradient.atoms(Average)}
    masked = gradient.xreplace(masks)
    slope = sp.factor(sp.diff(masked, unknown))
    if slope.has(unknown):
        raise ValueError(f"{gradient} is not linear in {unknown}")
    found = -masked.subs(unknown, 0) / slope
    value = sp.expand(sp.cancel(found)) if masks else sp.factor(found)
    return value.xreplace({mask: each for each, mask in masks.items()})


def _in_nodes(expression: sp.Expr, thermal: bool) -> sp.Expr:
    """Node symbols for functions of one body, and T = 0 outside of them unless there is a temperature."""
    result = linear(expression.replace(lambda part: type(part) in _NODES, lambda part: _NODES[type(part)]))
    if thermal:
        return result
    masks = {average: sp.Dummy(real=True) for average in result.atoms(Average)}
    return value_at_zero(result.xreplace(masks), S.T).xreplace({mask: average for average, mask in masks.items()})


def _observables(free: sp.Expr, thermal: bool) -> dict[str, sp.Expr]:
    """Of the mean weights, which two replicas agree in: of one cluster with probability 1 - x."""
    overlap = (1 - _X) * S.q1 + _X * S.q0
    itself = S.q1 + S.T * S.chi
    error = S.kappa2 - 2 * S.kappa1 * S.m
    train = S.tau / S.a * ((1 - _X) * S.Q1 + _X * S.Q0)
    density = Average(S.cluster_nonzero, LAW)
    loss = S.tau / S.a * S.Q1 / 2 + S.tau * S.T * _LEVERAGE / (2 * (1 + _LEVERAGE))
    energy = loss + Average(S.cluster_penalty, LAW) + S.diagonal_penalty
    found = {
        "q": overlap,
        "q_self": itself,
        "e_icl": error + S.a_test * overlap,
        "e_icl_gibbs": error + S.a_test * itself,
        "e_idg": error + S.a * overlap,
        "e_train": train,
        "test_loss": (error + S.a_test * overlap) / 2,
        "train_loss": train / 2,
        "contrast": S.m / sp.sqrt(overlap),
        "density": density,
        "density_off_diagonal": density,
        "energy": energy,
    }
    return found | ({"entropy": (energy - free) / S.T} if thermal else {})
