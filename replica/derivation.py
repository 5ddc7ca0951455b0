"""The derivation in order: `Derivation` has what each stage takes and gives, `STAGES` the names of all."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property

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
from iclglass.replica.quadratic import quadratic_replicon
from iclglass.replica.saddle_point import SaddlePointSystem, saddle_point

__all__ = ["STAGES", "Derivation", "Stage", "derive"]


@dataclass(frozen=True)
class Stage:
    """One stage as a reader sees it: a heading, why it is done, and its equations."""

    name: str
    title: str
    text: str
    equations: tuple[sp.Basic, ...]


@dataclass(frozen=True)
class Derivation:
    """The stages of one model, each computed once, when it or one that needs it is asked for.

    A proof belongs to the stage it proves, which raises ValueError where it fails; `prove` does them all.
    """

    model: Model

    def __post_init__(self) -> None:
        model = self.model
        if not isinstance(model, Model):
            raise TypeError(
                f"model must be a replica.model.Model, or left out, got {type(model).__name__} {model!r:.40}; for a "
                f"stage call derive().stage(NAME), NAME one of {', '.join(STAGES)}"
            )

    @cached_property
    def moments(self) -> FeatureMoments:
        """Second moments of one prompt, exact at finite D and N."""
        return feature_moments(self.model)

    @cached_property
    def couplings(self) -> tuple[CouplingMoments, ...]:
        """Mean and variance of fields and couplings."""
        return coupling_moments(self.model)

    @cached_property
    def action(self) -> ReplicatedAction:
        """n replicas, prompts averaged."""
        return replicate(self.model)

    @cached_property
    def free_energy(self) -> FreeEnergy:
        """The replica-symmetric ansatz, n -> 0: the functional."""
        return free_energy(self.action)

    @cached_property
    def system(self) -> SaddlePointSystem:
        """Stationarity: saddle-point equations and observables."""
        return saddle_point(self.action, self.free_energy)

    @property
    def saddle_point(self) -> tuple[sp.Eq, sp.Eq, sp.Eq]:
        """The saddle-point equations for 1/chi, m and q."""
        return self.system.equations

    @cached_property
    def closed_form(self) -> ClosedForm:
        """The solution by elimination, proved to satisfy the equations and equal the observables."""
        return closed_form(self.system)

    @cached_property
    def limits(self) -> Limits:
        """lam -> 0, tau = 1 and T -> 0, each held against numbers."""
        return limits(self.closed_form)

    @cached_property
    def replicon(self) -> sp.Expr:
        """The replicon: stability of the ansatz."""
        return quadratic_replicon(self.action, self.system)

    @cached_property
    def cavity(self) -> CavityEquations:
        """The saddle-point equations by another road, proved to be the same."""
        equations = cavity(self.model, self.moments)
        differences = cavity_differences(equations, self.system)
        if any(difference != 0 for difference in differences):
            raise ValueError(f"replica and cavity disagree: {differences}")
        return equations

    @cached_property
    def pool(self) -> PoolTheory:
        """Finite pools of tasks, spectrum abstract; its stationary point is proved."""
        return pool_theory(self.model)

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The chain for reading, from Hamiltonian to saddle-point equations and beyond; every proof is done."""
        return tuple(self.stage(name) for name in STAGES)

    def stage(self, name: str) -> Stage:
        """The stage with this name, computed with no more than it needs.

        Raises
        ------
        ValueError
            No such stage; the message lists the names.
        """
        if name not in STAGES:
            raise ValueError(f"no stage {name!r}; the stages are {', '.join(STAGES)}")
        title, text, equations = _STAGES[name]
        return Stage(name, title, text, equations(self))

    def prove(self) -> "Derivation":
        """This derivation, with every stage computed and thereby every proof done.

        Raises
        ------
        ValueError
            The model leaves the domain of a stage, or a proof fails.
        """
        _ = self.stages
        return self


def derive(model: Model | None = None) -> Derivation:
    """Derive everything from the model: Hamiltonian, disorder average, replicas, saddle point, cavity.

    Source: the model is SG, arXiv:2408.02288; the derivation is this project's, notes/derivation.md.

    Parameters
    ----------
    model
        Default `replica.model.linear_attention`, of which a stage is computed when it is asked for; a given model is
        proved at once. The closed form is proved for label noise rho and prior lambda0 W^2/2; for another model use
        `Derivation(model)` up to its `saddle_point`.

    Raises
    ------
    ValueError
        The model leaves the domain of a stage; the message says which property is missing.
    TypeError
        Not a model; for a stage it says how to ask for it.

    Examples
    --------
    >>> derive().saddle_point[0]
    Eq(1/chi, a/(a*chi/tau + 1) + lam)
    """
    return _derive_default() if model is None else Derivation(model).prove()


@cache
def _derive_default() -> Derivation:
    return Derivation(linear_attention())


def _equation(left: str | sp.Expr, right: sp.Basic) -> sp.Basic:
    equation = sp.Eq(sp.Symbol(left) if isinstance(left, str) else left, right, evaluate=False)
    # Dummies carry an underscore that a reader does not need.
    return equation.xreplace({dummy: sp.Symbol(dummy.name, integer=True) for dummy in equation.atoms(sp.Dummy)})


def _equations_of_model(derivation: Derivation) -> tuple[sp.Basic, ...]:
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
    )


def _equations_of_action(derivation: Derivation) -> tuple[sp.Basic, ...]:
    model, action = derivation.model, derivation.action
    one, two = sp.symbols("f_1 f_2")
    average = GaussianAverage(
        -S.g * (model.loss.subs(S.f, one) + model.loss.subs(S.f, two)),
        sp.Tuple(S.y, one, two),
        sp.ImmutableMatrix(action.covariance(S.m, ReplicaSymmetric(S.Delta, S.q, sp.Integer(2))).explicit()),
    )
    averaged = 1 / sp.sqrt(sp.factor(sp.expand(average.doit() ** -2)))
    return (
        _equation("cov(y,y)", action.label),
        _equation("cov(y,f)", action.signal * S.m),
        _equation("cov(f1,f2)", S.a * S.q),
        sp.Eq(S.a, action.feature),
        sp.Eq(S.g, S.betahat / S.tau),
        sp.Eq(average, averaged, evaluate=False),
    )


def _equations_of_free_energy(derivation: Derivation) -> tuple[sp.Basic, ...]:
    action, energy = derivation.action, derivation.free_energy
    overlaps = ReplicaSymmetric(S.Delta, S.q, S.n)
    return (
        _equation("ln_det_Q", overlaps.log_determinant()),
        _equation("ln_det_prompts", action.prompt_matrices(S.m, overlaps)[1].log_determinant()),
        _equation("cov_excess", action.covariance(S.m, overlaps).block.excess),
        _equation("phi_spins", energy.spins),
        *(_equation(symbol, value) for symbol, value in energy.conjugates),
        _equation(S.phi, energy.functional),
    )


_STAGES: dict[str, tuple[str, str, Callable[[Derivation], tuple[sp.Basic, ...]]]] = {
    "model": (
        "The model: prompts are the quenched disorder, weights are the real-valued spins",
        "One prompt has N labelled tokens and one query; the layer predicts f = s.W, linear in its weights. The "
        "last row of W multiplies the mean squared label. The Boltzmann weight is exp(-beta H), and the sizes "
        "grow together with D.",
        _equations_of_model,
    ),
    "disorder": (
        "Disorder averages of one prompt, exact at finite D and N",
        "Wick contractions over tokens, noise and task. Features of different spins are uncorrelated, so four "
        "numbers say it all.",
        lambda derivation: derivation.moments.equations(),
    ),
    "couplings": (
        "Fields and couplings",
        "The same energy in the form of a spin glass, H = -sum_(i<j) J_ij s_i s_j - sum_i h_i s_i + "
        "(1/2) sum_i lambda_i s_i^2. For each kind of field and coupling: mean and variance over data sets.",
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
        "At fixed spins, label and predictions have a covariance that depends on the spins only through "
        "m = Tr W/D and Q_ab = Tr W^a (W^b)^T/D. Gaussian equivalence takes them to be Gaussian at large D; "
        "prompts are then averaged in closed form, here written out for two replicas with replica-symmetric "
        "overlaps. The last row has a fraction 1/D of the spins and drops out as D -> infinity.",
        _equations_of_action,
    ),
    "free-energy": (
        "Replica-symmetric ansatz and n -> 0",
        "Q_ab = q + Delta delta_ab, the same m in every replica. A replica-symmetric matrix has eigenvalue "
        "'excess' on the n - 1 vectors orthogonal to (1..1) and excess + n uniform on (1..1), which gives "
        "determinant and inverse for every n. Below: ln det of the overlaps; ln det (1 + L C) of the prompts; "
        "both parts as n -> 0; stationary conjugate fields; the functional phi = lim E ln Z/D^2.",
        _equations_of_free_energy,
    ),
    "saddle-point": (
        "Stationarity: the saddle-point equations",
        "With chi = betahat Delta the temperature drops out of the order parameters. e_icl is the error on a new "
        "task, e_idg the same at the pretraining context length, e_train that on the prompts trained on; all for "
        "the mean weights. Energy and entropy are derivatives of phi.",
        lambda derivation: (
            *derivation.system.equations,
            *(_equation(name, value) for name, value in derivation.system.observables),
        ),
    ),
    "closed-form": (
        "Elimination to closed form",
        "z = a m solves a quadratic, whose smaller root is physical. The definitions that follow are that root and "
        "every observable without cancellation, in the order of evaluation; they are proved equal to the saddle "
        "point on both branches of d.",
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
        "Fluctuations of Q orthogonal to (1..1). Positive for every lam > 0: the ansatz is stable, as it must be "
        "for a convex energy. It touches zero at tau = 1 as lam -> 0.",
        lambda derivation: (_equation(S.replicon, derivation.replicon),),
    ),
    "cavity": (
        "The same equations without replicas: leave one prompt and one spin out",
        "A prompt's residual shrinks by its leverage c; a spin answers its cavity field with G = D chi. Averaged "
        "with the moments of one prompt, the equations for chi, m and q are those of the saddle point: the "
        "differences, simplified, are zero.",
        lambda derivation: (
            derivation.cavity.one_prompt,
            *derivation.cavity.one_spin,
            derivation.cavity.leverage,
            derivation.cavity.a_definition,
            *derivation.cavity.equations,
        ),
    ),
    "pool": (
        "Finite pools of tasks: every prompt draws one of K = kappa D tasks",
        "Given the pool, second moments depend on R = (1/K) sum w w^T with spectrum p(r), kept abstract: integrals "
        "are averages over it. The spins' part splits over the eigenvalues of R. Below: the second moments; b(r); "
        "the functional with conjugate fields; their stationary values; the equation for the effective ridge nu, "
        "and omega = lam/nu, gamma and the error on the pool's tasks; then m, q, chi, the error on new tasks, the "
        "train error, the replicon and the free energy. All are derived from the functional, integrand by integrand, "
        "and reduce to the saddle point above as kappa -> infinity.",
        lambda derivation: (
            *derivation.pool.moments,
            _equation(S.phi, derivation.pool.functional),
            *(_equation(symbol, value) for symbol, value in derivation.pool.conjugates),
            *derivation.pool.equations,
            *derivation.pool.observables,
            derivation.pool.free_energy,
        ),
    ),
}

STAGES = tuple(_STAGES)
"""Names of the stages, in order."""
