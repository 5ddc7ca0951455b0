"""The stages as a reader sees them: headings, why each is done, and equations of a `replica.derivation.Derivation`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.action import GaussianAverage
from iclglass.replica.averages import Average
from iclglass.replica.functional import FIELD, SYMMETRIC, UNITS, LogPrompt, LogSpin, functional
from iclglass.replica.measures import MEASURES
from iclglass.replica.model import Model
from iclglass.replica.quadratic import log_prompt, log_spin

__all__ = ["BUILTIN", "CLOSED", "POLYNOMIAL", "STAGES", "TABLE", "Stage"]


@dataclass(frozen=True)
class Stage:
    """One stage as a reader sees it: a heading, why it is done, and its equations."""

    name: str
    title: str
    text: str
    equations: tuple[sp.Basic, ...]


def _equation(left: str | sp.Expr, right: sp.Basic) -> sp.Basic:
    equation = sp.Eq(sp.Symbol(left) if isinstance(left, str) else left, right, evaluate=False)
    # Dummies carry an underscore that a reader does not need.
    return equation.xreplace({dummy: sp.Symbol(dummy.name, integer=True) for dummy in equation.atoms(sp.Dummy)})


def _equations_of_model(derivation: Any) -> tuple[sp.Basic, ...]:
    model = derivation.model
    block, last = model.block("block"), model.block("last row")
    s = sp.IndexedBase("s")
    i, j = block.indices
    mu = sp.Symbol("mu", integer=True)
    loss = model.loss.subs({S.y: sp.IndexedBase("y")[mu], S.f: sp.IndexedBase("f")[mu]})
    spin = sp.IndexedBase("sigma")[i]
    hamiltonian = sp.Sum(loss, (mu, 1, S.P)) / S.P + sp.Sum(
        model.prior.subs(S.sigma, spin), (i, 1, block.size + last.size)
    )
    return (
        _equation("y", model.label),
        _equation(s[i, j], block.feature),
        _equation(s[S.D + 1, j], last.feature),
        _equation("H", hamiltonian),
        *(_equation(symbol, value) for symbol, value in model.scaling),
        *_allowed_spins(model),
    )


def _allowed_spins(model: Model) -> tuple[sp.Basic, ...]:
    """Where scaled spins off the diagonal may lie, unless anywhere."""
    measure, spin = MEASURES[model.spins], S.scaled_spin
    if measure.levels is not None:
        return (sp.Contains(spin, sp.FiniteSet(*measure.levels), evaluate=False),)
    if measure.discrete:
        return (sp.Contains(spin / S.spacing, sp.S.Integers, evaluate=False),)
    return (spin >= 0,) if measure.support == "half-line" else ()


def _equations_of_action(derivation: Any) -> tuple[sp.Basic, ...]:
    labels = derivation.labels
    shared = (
        _equation("cov(t,t)", labels.teacher_variance),
        _equation("cov(t,f)", labels.kappa1 * S.m),
        _equation("cov(f1,f2)", S.a * S.q),
        sp.Eq(S.a, labels.feature),
        sp.Eq(S.g, S.betahat / S.tau),
    )
    if not derivation.gaussian:
        return shared
    model, action = derivation.model, derivation.action
    one, two = sp.symbols("f_1 f_2")
    average = GaussianAverage(
        -S.g * (model.loss.subs(S.f, one) + model.loss.subs(S.f, two)),
        sp.Tuple(S.y, one, two),
        action.covariance(2),
    )
    averaged = 1 / sp.sqrt(sp.factor(sp.expand(average.doit() ** -2)))
    return (*shared, sp.Eq(average, averaged, evaluate=False))


def _equations_of_functional(derivation: Any) -> tuple[sp.Basic, ...]:
    general, ansatz = functional(), SYMMETRIC
    spin, loss = sp.Function("mu")(S.scaled_spin), sp.Function("l")(S.y, S.f)
    log_spin = sp.log(
        sp.Integral(sp.exp(-S.k_hat * S.scaled_spin**2 / 2 + S.field * S.scaled_spin) * spin, S.scaled_spin)
    )
    variance = S.a * S.Delta
    gauss = sp.exp(-((S.f - S.f_cav) ** 2) / (2 * variance)) / sp.sqrt(2 * sp.pi * variance)
    log_prompt = sp.log(sp.Integral(gauss * sp.exp(-S.g * loss), S.f))
    several = Average(sp.exp(S.n * LogSpin(S.field, S.k_hat)), FIELD)
    return (
        _equation(LogSpin(S.field, S.k_hat), log_spin),
        _equation(LogPrompt(S.t, S.f_cav, variance), log_prompt),
        _equation("replicas", several),
        _equation("replicas_to_0", ansatz.in_common_field(LogSpin(S.field, S.k_hat), FIELD)),
        _equation(S.phi, general.phi),
        *(_equation(symbol, value) for symbol, value in UNITS.items()),
        _equation("free_energy", derivation.general.free_energy),
    )


def _equations_of_free_energy(derivation: Any) -> tuple[sp.Basic, ...]:
    action, energy = derivation.action, derivation.free_energy
    return (
        _equation(LogSpin(S.field, S.k_hat), log_spin(action)),
        _equation(LogPrompt(S.t, S.f_cav, S.a * S.Delta), log_prompt(action, S.a * S.Delta)),
        _equation("phi_spins", energy.spins),
        *(_equation(symbol, value) for symbol, value in energy.conjugates),
        _equation(S.phi, energy.functional),
    )


def _equations_of_system(derivation: Any) -> tuple[sp.Basic, ...]:
    general = derivation.general
    equations = (
        *general.equations,
        *(_equation(symbol, value) for symbol, value in general.definitions.items()),
        *(_equation(name, value) for name, value in general.observables.items()),
    )
    if not derivation.gaussian:
        return equations
    closed = derivation.system
    return (*equations, *closed.equations, *(_equation(name, value) for name, value in closed.observables))


POLYNOMIAL = ("disorder", "couplings")
"""Stages of models whose labels are polynomials in the quenched fields."""
CLOSED = ("free-energy",)
"""Stages of models whose averages have a closed form."""
BUILTIN = ("closed-form", "limits", "pool")
"""Stages of the default model alone."""
TABLE: dict[str, tuple[str, str, Callable[[Any], tuple[sp.Basic, ...]]]] = {
    "model": (
        "The model: prompts are the quenched disorder, weights are the real-valued spins",
        "One prompt has N labelled tokens and one query; the layer predicts f = s.W, linear in its weights. The last "
        "row of W multiplies the mean squared label. The Boltzmann weight is exp(-beta H), and the sizes grow "
        "together with D.",
        _equations_of_model,
    ),
    "disorder": (
        "Disorder averages of one prompt, exact at finite D and N",
        "Wick contractions over tokens, noise and task. Features of different spins are uncorrelated, so four numbers"
        " say it all.",
        lambda derivation: derivation.moments.equations(),
    ),
    "couplings": (
        "Fields and couplings",
        "The same energy in the form of a spin glass, H = -sum_(i<j) J_ij s_i s_j - sum_i h_i s_i + (1/2) sum_i "
        "lambda_i s_i^2. For each kind of field and coupling: mean and variance over data sets.",
        lambda derivation: tuple(
            equation
            for kind in derivation.couplings
            for equation in (
                sp.Eq(sp.Symbol(f"mean[{kind.name}]"), kind.mean, evaluate=False),
                sp.Eq(sp.Symbol(f"variance[{kind.name}]"), kind.variance, evaluate=False),
            )
        ),
    ),
    "action": (
        "n replicas, averaged over the prompts",
        "At fixed spins, label and predictions have a covariance that depends on the spins only through m = Tr W/D "
        "and Q_ab = Tr W^a (W^b)^T/D. Gaussian equivalence takes them to be Gaussian at large D; t is the label's "
        "field without noise. For squared error prompts are averaged in closed form, here written out for two "
        "replicas with replica-symmetric overlaps. The last row has a fraction 1/D of the spins and drops out as D ->"
        " infinity.",
        _equations_of_action,
    ),
    "functional": (
        "Replica-symmetric ansatz and n -> 0, for any loss and any spins",
        "Q_ab = q + Delta delta_ab, the same m in every replica. Such a Gaussian is a field common to all replicas "
        "plus an independent part in each (Hubbard and Stratonovich): replicas in one field are independent, and n ->"
        " 0 leaves the average of what one of them contributes. Spins off the diagonal are of order one when scaled, "
        "the D on it of order sqrt(D): their integral is an extremum. Below: one spin and one prompt; n replicas of a"
        " spin and their limit; the functional phi = lim E ln Z/D^2, to be extremised over all that is in it; units "
        "of the temperature, in which it is a sum of free energies of one body that become minima as T -> 0. "
        "Integrals with D are averages over centred Gaussians, h of variance q_hat, (t, f_cav) of E t^2, kappa1 m and"
        " a q.",
        _equations_of_functional,
    ),
    "free-energy": (
        "The functional for squared error and Gaussian spins",
        "One spin and one prompt are Gaussian integrals, averages are of polynomials, and the conjugate fields enter "
        "rationally. Below: both in closed form; the spins' part; stationary conjugate fields; the functional.",
        _equations_of_free_energy,
    ),
    "saddle-point": (
        "Stationarity: the saddle-point equations",
        "Derivatives of the functional pass under the averages by Price's theorem; with chi = betahat Delta the "
        "temperature drops out. Prompts give a spin its precision K, signal M and noise Q; a spin answers with m, q "
        "and chi. Functions of one body: the pull (f - f_cav)/c of a prompt on the prediction and its slope, the mean"
        " spin s in its field h and its response s'. e_icl is the error on a new task, e_idg the same at the "
        "pretraining context length, e_train that on the prompts trained on; all for the mean weights. For squared "
        "error and Gaussian spins the averages are done, and the equations for 1/chi, m and q follow.",
        _equations_of_system,
    ),
    "closed-form": (
        "Elimination to closed form",
        "z = a m solves a quadratic, whose smaller root is physical. The definitions that follow are that root and "
        "every observable without cancellation, in the order of evaluation; they are proved equal to the saddle point"
        " on both branches of d.",
        lambda derivation: (
            sp.Eq(derivation.closed_form.quadratic, 0),
            *(_equation(symbol, value) for symbol, value in derivation.closed_form.definitions),
            *(
                _equation(name, value)
                for name, value in derivation.closed_form.outputs + derivation.closed_form.thermal_outputs
                if sp.Symbol(name) != value and name not in {str(s) for s, _ in derivation.closed_form.definitions}
            ),
        ),
    ),
    "limits": (
        "Limits: ridgeless above and below the interpolation threshold, at it, and zero temperature",
        "In this order: lam -> 0 at tau > 1; lam -> 0 at tau < 1; amplitudes of the divergence at tau = 1; T -> 0.",
        lambda derivation: derivation.limits.equations,
    ),
    "replicon": (
        "Stability of the replica-symmetric saddle point",
        "Fluctuations of Q and of its conjugate orthogonal to (1..1): the product of the two eigenvalues must be "
        "below one (de Almeida and Thouless). For squared error and Gaussian spins it is positive for every lam > 0: "
        "the ansatz is stable, as it must be for a convex energy. It touches zero at tau = 1 as lam -> 0.",
        lambda derivation: (
            _equation(S.replicon, derivation.general.replicon),
            *((_equation(S.replicon, derivation.replicon),) if derivation.gaussian else ()),
        ),
    ),
    "cavity": (
        "The same equations without replicas: leave one prompt and one spin out",
        "A prompt moves its prediction by its leverage c times its pull; a spin answers its cavity field h at the "
        "precision K. Averaged with the moments of one prompt, the equations are those of the saddle point: the "
        "differences, simplified, are zero.",
        lambda derivation: (
            *derivation.cavity.one_prompt,
            derivation.cavity.one_spin,
            derivation.cavity.leverage,
            *derivation.cavity.definitions,
            *derivation.cavity.prompts,
            *derivation.cavity.spins,
        ),
    ),
    "pool": (
        "Finite pools of tasks: every prompt draws one of K = kappa D tasks",
        "Given the pool, second moments depend on R = (1/K) sum w w^T with spectrum p(r), kept abstract: integrals "
        "are averages over it. The spins' part splits over the eigenvalues of R. Below: the second moments; b(r); the"
        " functional with conjugate fields; their stationary values; the equation for the effective ridge nu, and "
        "omega = lam/nu, gamma and the error on the pool's tasks; then m, q, chi, the error on new tasks, the train "
        "error, the replicon, the error on new tasks of any covariance, c_* along an eigenvector of R, direction by "
        "direction, and the free energy. All are derived from the functional, integrand by integrand, and "
        "reduce to the saddle point above as kappa -> infinity.",
        lambda derivation: (
            *derivation.pool.moments,
            _equation(S.phi, derivation.pool.functional),
            *(_equation(symbol, value) for symbol, value in derivation.pool.conjugates),
            *derivation.pool.equations,
            *derivation.pool.observables,
            *derivation.pool.directions,
            derivation.pool.free_energy,
        ),
    ),
}
"""Name -> title, text and equations."""

STAGES = tuple(TABLE)
"""Names of the stages, in order."""
