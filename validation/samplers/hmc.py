"""Hamiltonian Monte Carlo: leapfrog trajectories of jittered length, each accepted or refused as a whole.

Momenta p ~ N(0, 1/beta) and the weight exp(-beta (H + |p|^2/2)): a mode of A with eigenvalue l oscillates with
frequency sqrt(l), whatever beta is, and the leapfrog is stable for steps below 2/sqrt(L), L the largest eigenvalue.

Length. A trajectory as long as a mode's period returns that mode to where it was, and the mode never mixes, which
neither R-hat nor the effective sample size of the energy shows. So the number of steps is drawn anew each time, uniform
on 1..steps. Over the length t uniform on (0, pi/sqrt(l)) the mode's autocorrelation, the mean of cos(sqrt(l) t), is 0.

Step. On a mode the leapfrog is wrong in the energy by beta <dH> = sin^2(angle) s^2/(32 (1 - s/4)), s = l step^2
(Blanes, Casas, Sanz-Serna 2014); the sum over modes with sin^2 -> 1/2, mu = step^4 Tr A^2/64 for small s, gives the
acceptance erfc(sqrt(mu)/2), chosen to be 0.8.
"""

import math
from dataclasses import dataclass

import numpy as np

from iclglass.numerics.arguments import FloatArray
from iclglass.validation.samplers import chains
from iclglass.validation.samplers.chains import Gradients, State
from iclglass.validation.samplers.target import Spectrum, Target

__all__ = ["Hamiltonian", "default_step", "default_steps", "leapfrog", "stable_bound"]

_ENERGY_ERROR = 0.128
"""mu of acceptance 0.8: erfc(sqrt(mu)/2) = 0.8."""
_MOST_OF_BOUND = 0.5
"""Largest default step as a part of the stable bound."""
_MAX_STEPS = 500
"""Leapfrog steps of a trajectory at the most; a spectrum that wants more shows in R-hat."""


@dataclass(frozen=True, eq=False)
class Hamiltonian(Gradients):
    """The transition: `steps` leapfrog steps of size `step`, or with jitter a number uniform on 1..steps."""

    step: float
    steps: int
    jitter: bool = True

    def advance(self, state: State, rng: np.random.Generator) -> State:
        """One trajectory of every chain; all have the same number of steps."""
        beta = self.target.beta
        momenta = rng.standard_normal(state.positions.shape) / math.sqrt(beta)
        count = int(rng.integers(1, self.steps + 1)) if self.jitter else self.steps
        positions, final, gradients = leapfrog(self.target, state.positions, momenta, state.carried, self.step, count)
        energies = self.target.energy(positions, gradients)
        change = energies - state.energies + _kinetic(final) - _kinetic(momenta)
        new = State(positions, gradients, energies, np.ones_like(energies))
        return chains.choose(chains.accepted(change, beta, rng), new, state)


def leapfrog(
    target: Target, positions: FloatArray, momenta: FloatArray, gradients: FloatArray, step: float, count: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Positions, momenta and gradients, all (chains, n), after `count` steps of the leapfrog."""
    momenta = momenta - step / 2 * gradients
    for index in range(count):
        positions = positions + step * momenta
        gradients = target.gradient(positions)
        momenta = momenta - (step / 2 if index == count - 1 else step) * gradients
    return positions, momenta, gradients


def stable_bound(spectrum: Spectrum) -> float:
    """2/sqrt(L): from there on the leapfrog diverges."""
    return 2 / math.sqrt(spectrum.high)


def default_step(spectrum: Spectrum) -> float:
    """Acceptance 0.8, and half the stable bound at the most."""
    step = (64 * _ENERGY_ERROR / spectrum.second) ** 0.25
    return min(step, _MOST_OF_BOUND * stable_bound(spectrum))


def default_steps(spectrum: Spectrum, step: float) -> int:
    """Half a period of the slowest mode, 500 steps at the most."""
    # Bounded first: for the smallest steps the quotient is infinite, which has no whole number.
    return math.ceil(min(_MAX_STEPS, math.pi / step / math.sqrt(spectrum.low)))


def _kinetic(momenta: FloatArray) -> FloatArray:
    squares: FloatArray = np.einsum("cn,cn->c", momenta, momenta)
    return squares / 2
