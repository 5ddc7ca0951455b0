"""Langevin dynamics in steps: unadjusted, with a bias known in closed form, and adjusted by an accept step.

Unadjusted:  sigma' = sigma - step grad H + sqrt(2 step/beta) xi.  With H quadratic the deviation from the mean obeys
    delta' = (1 - step A) delta + sqrt(2 step/beta) xi, so the stationary covariance C commutes with A and solves

        C = (1 - step A)^2 C + 2 step/beta      =>      C = (A (1 - step A/2))^{-1}/beta

    for steps below 2/L, L the largest eigenvalue; from there on it diverges. Means are exact, a mode of eigenvalue l is
    too wide by 1/(1 - step l/2), and <H - E0> = (1/2 beta) sum 1/(1 - step l/2) instead of n/(2 beta).

Adjusted (MALA): the same proposal, accepted with the Metropolis-Hastings probability. It is one leapfrog step of size
    sqrt(2 step) with fresh momenta, and implemented as such; the bounds agree, 2/sqrt(L) there is 2/L here. One step
    turns a mode by a small angle, sin^2 -> s = 2 step l in the energy error of `validation.samplers.hmc`: mu = step^3
    Tr A^3/4, and 0.632 gives the acceptance 0.574 that is best in many dimensions (Roberts and Rosenthal 1998).
"""

import math
from dataclasses import dataclass

import numpy as np

from iclglass.validation.samplers.chains import Gradients, State
from iclglass.validation.samplers.hmc import Hamiltonian
from iclglass.validation.samplers.target import Spectrum, Target

__all__ = ["UnadjustedLangevin", "default_adjusted_step", "default_unadjusted_step", "mala", "stable_bound"]

_ENERGY_ERROR = 0.632
"""mu of acceptance 0.574: erfc(sqrt(mu)/2) = 0.574."""
_UNADJUSTED = 0.1
"""Default step as a part of the stable bound: the stiffest mode is too wide by 1/0.9, the others by less."""


@dataclass(frozen=True, eq=False)
class UnadjustedLangevin(Gradients):
    """Euler steps without an accept step: biased, see the module."""

    step: float

    def advance(self, state: State, rng: np.random.Generator) -> State:
        """One step of every chain."""
        noise = rng.standard_normal(state.positions.shape)
        kick = math.sqrt(2 * self.step / self.target.beta)
        return self.start(state.positions - self.step * state.carried + kick * noise)


def mala(target: Target, step: float) -> Hamiltonian:
    """The adjusted transition."""
    return Hamiltonian(target, math.sqrt(2 * step), 1, jitter=False)


def stable_bound(spectrum: Spectrum) -> float:
    """2/L: from there on the drift overshoots by more than it corrects."""
    return 2 / spectrum.high


def default_unadjusted_step(spectrum: Spectrum) -> float:
    """A tenth of the stable bound."""
    return _UNADJUSTED * stable_bound(spectrum)


def default_adjusted_step(spectrum: Spectrum) -> float:
    """Acceptance 0.574, and half the stable bound at the most."""
    return min((4 * _ENERGY_ERROR / spectrum.third) ** (1 / 3), stable_bound(spectrum) / 2)
