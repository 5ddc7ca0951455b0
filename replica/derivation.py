"""The derivation in order: `Derivation` has what each stage takes and gives, `STAGES` the names of all."""

from dataclasses import dataclass
from functools import cache, cached_property

import sympy as sp

from iclglass.replica.action import ReplicatedAction, replicate
from iclglass.replica.cavity import CavityEquations, cavity, cavity_differences
from iclglass.replica.closed_form import ClosedForm, closed_form
from iclglass.replica.disorder import (
    CouplingMoments,
    FeatureMoments,
    LabelMoments,
    coupling_moments,
    feature_moments,
    label_moments,
)
from iclglass.replica.free_energy import FreeEnergy, free_energy
from iclglass.replica.limits import Limits, limits
from iclglass.replica.model import Model, linear_attention
from iclglass.replica.pool import PoolTheory, pool_theory
from iclglass.replica.saddle_point import SaddlePointSystem, closed_replicon, reductions, saddle_point
from iclglass.replica.stages import BUILTIN, CLOSED, POLYNOMIAL, STAGES, TABLE, Stage
from iclglass.replica.system import System, system

__all__ = ["STAGES", "Derivation", "Stage", "derive"]


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
    def labels(self) -> LabelMoments:
        """Second moments of teacher, label and features at large D."""
        return label_moments(self.model)

    @cached_property
    def general(self) -> System:
        """Both sides, functional, observables and stability with unevaluated averages; of every model."""
        return system(self.model, thermal=True)

    @property
    def gaussian(self) -> bool:
        """Whether averages have a closed form: squared error, linear labels, Gaussian spins."""
        if self.model.labels != "linear":
            return False
        return self.action.loss_form is not None and self.action.spin_precision is not None

    @property
    def builtin(self) -> bool:
        """Whether the saddle point is that of the default model, for which there is more."""
        return self.gaussian and self.action == _derive_default().action

    @cached_property
    def free_energy(self) -> FreeEnergy:
        """The functional with its averages done and its conjugate fields eliminated."""
        return free_energy(self.action)

    @cached_property
    def system(self) -> SaddlePointSystem:
        """Saddle-point equations and observables without averages, proved to be those of `general`."""
        result = saddle_point(self.action, self.free_energy)
        differences = reductions(result, self.action, self.general)
        if any(difference != 0 for difference in differences):
            raise ValueError(f"the closed saddle point is not the general one: {differences}")
        return result

    @property
    def saddle_point(self) -> tuple[sp.Eq, ...]:
        """For 1/chi, m and q where averages have a closed form; else K, M, Q and m, q, chi with averages."""
        return self.system.equations if self.gaussian else self.general.equations

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
        return closed_replicon(self.action, self.system) if self.gaussian else self.general.replicon

    @cached_property
    def cavity(self) -> CavityEquations:
        """The system by another road, proved to be the same."""
        equations = cavity(self.model, self.labels)
        differences = cavity_differences(equations, self.general)
        if any(difference != 0 for difference in differences):
            raise ValueError(f"replica and cavity disagree: {differences}")
        return equations

    @cached_property
    def pool(self) -> PoolTheory:
        """Finite pools of tasks, spectrum abstract; its stationary point is proved."""
        return pool_theory(self.model)

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The chain for reading, from Hamiltonian to saddle-point equations and beyond; every proof is done.

        What only exists in closed form, or for the default model alone, is left out for others.
        """
        return tuple(self.stage(name) for name in STAGES if self._reason_against(name) is None)

    def _reason_against(self, name: str) -> str | None:
        if name in POLYNOMIAL and self.model.labels != "linear":
            return f"stage {name!r} needs labels that are linear in task and tokens: Wick contractions of polynomials"
        if name in CLOSED and not self.gaussian:
            return f"stage {name!r} needs squared error, linear labels and Gaussian spins: others have no closed form"
        if name in BUILTIN and not self.builtin:
            return f"stage {name!r} is proved for the default model alone"
        return None

    def stage(self, name: str) -> Stage:
        """The stage with this name, computed with no more than it needs.

        Raises
        ------
        ValueError
            No such stage, or none of this model; the message lists the names or says why.
        """
        if name not in STAGES:
            raise ValueError(f"no stage {name!r}; the stages are {', '.join(STAGES)}")
        if (reason := self._reason_against(name)) is not None:
            raise ValueError(reason)
        title, text, equations = TABLE[name]
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
        proved at once. Stages that its loss, penalty or labels do not have are left out.

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
