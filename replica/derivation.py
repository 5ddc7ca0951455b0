r"""The derivation in order: what each stage takes and what it gives.

model         -                         -> Model              energy, disorder, spin measure
disorder      Model                     -> FeatureMoments     exact second moments at finite D, N
couplings     Model                     -> CouplingMoments    mean and variance of fields and couplings
action        Model                     -> ReplicatedAction   n replicas, prompts averaged
free-energy   ReplicatedAction          -> FreeEnergy         replica-symmetric ansatz, n -> 0
saddle-point  FreeEnergy                -> SaddlePointSystem  stationarity, observables
closed-form   SaddlePointSystem         -> ClosedForm         elimination
limits        ClosedForm                -> Limits             lam -> 0, tau = 1, T -> 0
replicon      ReplicatedAction, system  -> expression         stability of the ansatz
cavity        Model, FeatureMoments     -> CavityEquations    the same equations by another road
pool          Model                     -> PoolTheory         finite pools of tasks, spectrum abstract
"""

from dataclasses import dataclass
from functools import cache

import sympy as sp

from iclglass.replica import symbols as S
from iclglass.replica.action import GaussianAverage, ReplicatedAction, replicate
from iclglass.replica.ansatz import ReplicaSymmetric
from iclglass.replica.cavity import CavityEquations, cavity, cavity_differences
from iclglass.replica.closed_form import ClosedForm, closed_form
from iclglass.replica.disorder import CouplingMoments, FeatureMoments, coupling_moments, feature_moments
from iclglass.replica.free_energy import FreeEnergy, free_energy
from iclglass.replica.limits import Limits, limits
from iclglass.replica.model import Model, linear_attention
from iclglass.replica.pool import PoolTheory, pool_theory
from iclglass.replica.saddle_point import SaddlePointSystem, saddle_point
from iclglass.replica.stability import replicon

__all__ = ["STAGES", "Derivation", "Stage", "derive"]

STAGES = (
    "model",
    "disorder",
    "couplings",
    "action",
    "free-energy",
    "saddle-point",
    "closed-form",
    "limits",
    "replicon",
    "cavity",
    "pool",
)
"""Names of the stages, in order."""


@dataclass(frozen=True)
class Stage:
    """One stage as a reader sees it: a heading, why it is done, and its equations."""

    name: str
    title: str
    text: str
    equations: tuple[sp.Basic, ...]


@dataclass(frozen=True)
class Derivation:
    """Every stage's result; `stages` has them as text and equations, in order."""

    model: Model
    moments: FeatureMoments
    couplings: tuple[CouplingMoments, ...]
    action: ReplicatedAction
    free_energy: FreeEnergy
    system: SaddlePointSystem
    closed_form: ClosedForm
    limits: Limits
    replicon: sp.Expr
    cavity: CavityEquations
    pool: PoolTheory

    @property
    def saddle_point(self) -> tuple[sp.Eq, sp.Eq, sp.Eq]:
        """The saddle-point equations for 1/chi, m and q."""
        return self.system.equations

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The chain for reading, from Hamiltonian to saddle-point equations and beyond."""
        return _stages(self)

    def stage(self, name: str) -> Stage:
        """The stage with this name.

        Raises:
            ValueError: no such stage; the message lists the names.
        """
        if name not in STAGES:
            raise ValueError(f"no stage {name!r}; the stages are {', '.join(STAGES)}")
        return self.stages[STAGES.index(name)]


def derive(model: Model | None = None) -> Derivation:
    """Derive everything from the model: Hamiltonian, disorder average, replicas, saddle point, cavity.

    Source: the model is SG, arXiv:2408.02288; the derivation is this project's, notes/derivation.md.

    Args:
        model: default `replica.model.linear_attention`. The closed form is proved for label noise rho and prior
            lambda0 W^2/2; for another model use the stage functions up to `replica.saddle_point.saddle_point`.

    Raises:
        ValueError: the model leaves the domain of a stage; the message says which property is missing.
        TypeError: not a model; for a stage it says how to ask for it.

    Examples:
        >>> derive().saddle_point[0]
        Eq(1/chi, a/(a*chi/tau + 1) + lam)
    """
    if model is None:
        return _derive_default()
    if not isinstance(model, Model):
        raise TypeError(
            f"model must be a replica.model.Model, or left out, got {type(model).__name__} {model!r:.40}; for a stage "
            f"call derive().stage(NAME), NAME one of {', '.join(STAGES)}"
        )
    return _derive(model)


@cache
def _derive_default() -> Derivation:
    return _derive(linear_attention())


def _derive(model: Model) -> Derivation:
    moments = feature_moments(model)
    action = replicate(model)
    energy = free_energy(action)
    system = saddle_point(action, energy)
    form = closed_form(system)
    cavity_equations = cavity(model, moments)
    differences = cavity_differences(cavity_equations, system)
    if any(difference != 0 for difference in differences):
        raise ValueError(f"replica and cavity disagree: {differences}")
    return Derivation(
        model=model,
        moments=moments,
        couplings=coupling_moments(model),
        action=action,
        free_energy=energy,
        system=system,
        closed_form=form,
        limits=limits(form),
        replicon=replicon(action, system),
        cavity=cavity_equations,
        pool=pool_theory(model),
    )


def _readable(expression: sp.Basic) -> sp.Basic:
    """Dummies carry an underscore that a reader does not need."""
    names = {dummy: sp.Symbol(dummy.name, integer=True) for dummy in expression.atoms(sp.Dummy)}
    return expression.xreplace(names)


def _equation(left: str | sp.Expr, right: sp.Basic) -> sp.Basic:
    name = sp.Symbol(left) if isinstance(left, str) else left
    return _readable(sp.Eq(name, right, evaluate=False))


def _stages(derivation: Derivation) -> tuple[Stage, ...]:
    model, action, energy = derivation.model, derivation.action, derivation.free_energy
    block, last = model.block("block"), model.block("last row")
    s = sp.IndexedBase("s")
    i, j = block.indices
    mu = sp.Symbol("mu", integer=True)
    loss = model.loss.subs({S.y: sp.IndexedBase("y")[mu], S.f: sp.IndexedBase("f")[mu]})
    spin = sp.IndexedBase("sigma")[i]
    hamiltonian = sp.Sum(loss, (mu, 1, S.P)) / S.P + sp.Sum(
        model.prior.subs(S.sigma, spin), (i, 1, block.size + last.size)
    )
    overlaps = ReplicaSymmetric(S.Delta, S.q, S.n)
    one, two = sp.symbols("f_1 f_2")
    average = GaussianAverage(
        -S.g * (model.loss.subs(S.f, one) + model.loss.subs(S.f, two)),
        sp.Tuple(S.y, one, two),
        sp.ImmutableMatrix(action.covariance(S.m, ReplicaSymmetric(S.Delta, S.q, sp.Integer(2))).explicit()),
    )
    averaged = 1 / sp.sqrt(sp.factor(sp.expand(average.doit() ** -2)))
    covariance = action.covariance(S.m, overlaps)
    return (
        Stage(
            "model",
            "The model: prompts are the quenched disorder, weights are the real-valued spins",
            "One prompt has N labelled tokens and one query; the layer predicts f = s.W, linear in its weights. The "
            "last row of W multiplies the mean squared label. The Boltzmann weight is exp(-beta H), and the sizes "
            "grow together with D.",
            (
                _equation("y", model.label),
                _equation(s[i, j], block.feature),
                _equation(s[S.D + 1, j], last.feature),
                _equation("H", hamiltonian),
                *(_equation(symbol, value) for symbol, value in model.scaling),
            ),
        ),
        Stage(
            "disorder",
            "Disorder averages of one prompt, exact at finite D and N",
            "Wick contractions over tokens, noise and task. Features of different spins are uncorrelated, so four "
            "numbers say it all.",
            derivation.moments.equations(),
        ),
        Stage(
            "couplings",
            "Fields and couplings",
            "The same energy in the form of a spin glass, H = -sum_(i<j) J_ij s_i s_j - sum_i h_i s_i + "
            "(1/2) sum_i lambda_i s_i^2. For each kind of field and coupling: mean and variance over data sets.",
            tuple(
                equation
                for kind in derivation.couplings
                for equation in (
                    sp.Eq(sp.Symbol(f"mean[{kind.name}]"), kind.mean, evaluate=False),
                    sp.Eq(sp.Symbol(f"variance[{kind.name}]"), kind.variance, evaluate=False),
                )
            ),
        ),
        Stage(
            "action",
            "n replicas, averaged over the prompts",
            "At fixed spins, label and predictions have a covariance that depends on the spins only through "
            "m = Tr W/D and Q_ab = Tr W^a (W^b)^T/D. Gaussian equivalence takes them to be Gaussian at large D; "
            "prompts are then averaged in closed form, here written out for two replicas with replica-symmetric "
            "overlaps. The last row has a fraction 1/D of the spins and drops out as D -> infinity.",
            (
                _equation("cov(y,y)", action.label),
                _equation("cov(y,f)", action.signal * S.m),
                _equation("cov(f1,f2)", S.a * S.q),
                derivation.system.a_definition,
                sp.Eq(S.g, S.betahat / S.tau),
                sp.Eq(average, averaged, evaluate=False),
            ),
        ),
        Stage(
            "free-energy",
            "Replica-symmetric ansatz and n -> 0",
            "Q_ab = q + Delta delta_ab, the same m in every replica. A replica-symmetric matrix has eigenvalue "
            "'excess' on the n - 1 vectors orthogonal to (1..1) and excess + n uniform on (1..1), which gives "
            "determinant and inverse for every n. Below: ln det of the overlaps; ln det (1 + L C) of the prompts; "
            "both parts as n -> 0; stationary conjugate fields; the functional phi = lim E ln Z/D^2.",
            (
                _equation("ln_det_Q", overlaps.log_determinant()),
                _equation("ln_det_prompts", action.prompt_matrices(S.m, overlaps)[1].log_determinant()),
                _equation("cov_excess", covariance.block.excess),
                _equation("phi_spins", energy.spins),
                *(_equation(symbol, value) for symbol, value in energy.conjugates),
                _equation(S.phi, energy.functional),
            ),
        ),
        Stage(
            "saddle-point",
            "Stationarity: the saddle-point equations",
            "With chi = betahat Delta the temperature drops out of the order parameters. e_icl is the error on a new "
            "task, e_idg the same at the pretraining context length, e_train that on the prompts trained on; all for "
            "the mean weights. Energy and entropy are derivatives of phi.",
            (
                *derivation.system.equations,
                *(_equation(name, value) for name, value in derivation.system.observables),
            ),
        ),
        Stage(
            "closed-form",
            "Elimination to closed form",
            "z = a m solves a quadratic, whose smaller root is physical. The definitions that follow are that root and "
            "every observable without cancellation, in the order of evaluation; they are proved equal to the saddle "
            "point on both branches of d.",
            (
                sp.Eq(derivation.closed_form.quadratic, 0),
                *(_equation(symbol, value) for symbol, value in derivation.closed_form.definitions),
                *(
                    _equation(name, value)
                    for name, value in derivation.closed_form.outputs + derivation.closed_form.thermal_outputs
                    if sp.Symbol(name) != value and name not in {str(s) for s, _ in derivation.closed_form.definitions}
                ),
            ),
        ),
        Stage(
            "limits",
            "Limits: ridgeless above and below the interpolation threshold, at it, and zero temperature",
            "In this order: lam -> 0 at tau > 1; lam -> 0 at tau < 1; amplitudes of the divergence at tau = 1; T -> 0.",
            (
                *derivation.limits.ridgeless_above,
                *derivation.limits.ridgeless_below,
                *derivation.limits.threshold,
                *derivation.limits.ground_state,
            ),
        ),
        Stage(
            "replicon",
            "Stability of the replica-symmetric saddle point",
            "Fluctuations of Q orthogonal to (1..1). Positive for every lam > 0: the ansatz is stable, as it must be "
            "for a convex energy. It touches zero at tau = 1 as lam -> 0.",
            (_equation(S.replicon, derivation.replicon),),
        ),
        Stage(
            "cavity",
            "The same equations without replicas: leave one prompt and one spin out",
            "A prompt's residual shrinks by its leverage c; a spin answers its cavity field with G = D chi. Averaged "
            "with the moments of one prompt, the equations for chi, m and q are those of the saddle point: the "
            "differences, simplified, are zero.",
            (
                derivation.cavity.one_prompt,
                *derivation.cavity.one_spin,
                derivation.cavity.leverage,
                derivation.cavity.a_definition,
                *derivation.cavity.equations,
            ),
        ),
        Stage(
            "pool",
            "Finite pools of tasks: every prompt draws one of K = kappa D tasks",
            "Given the pool, second moments depend on R = (1/K) sum w w^T with spectrum p(r), kept abstract: integrals "
            "are averages over it. The spins' part splits over the eigenvalues of R. Below: the second moments; b(r); "
            "the functional with conjugate fields; their stationary values; the equation for the effective ridge nu, "
            "and omega = lam/nu, gamma and the error on the pool's tasks; then m, q, chi, the error on new tasks, the "
            "train error, the replicon and the free energy. The stationary point is proved against the functional, "
            "integrand by integrand, and reduces to the saddle point above as kappa -> infinity; train error and free "
            "energy are tested numerically.",
            (
                *derivation.pool.moments,
                _equation(S.phi, derivation.pool.functional),
                *(_equation(symbol, value) for symbol, value in derivation.pool.conjugates),
                *derivation.pool.equations,
                *derivation.pool.observables,
                derivation.pool.free_energy,
            ),
        ),
    )
