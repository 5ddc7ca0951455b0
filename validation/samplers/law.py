"""What a sampler's draws are compared with: the exact Gaussian of one data set, or of the unadjusted Langevin scheme.

Through the eigenvectors of A, (A, V, l): a road of its own beside the Cholesky factor that exact draws are made by.
Both laws have the mean A^{-1} h; the mode l has the variance 1/(beta l), or 1/(beta l (1 - step l/2)) for Langevin
steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.errors import ParameterError
from iclglass.numerics.instance.data import Instance
from iclglass.numerics.instance.predictions import alignment, overlap
from iclglass.numerics.instance.spin_glass import energy
from iclglass.validation.samplers.target import DENSE_SPINS, make_target

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["WeightLaw", "boltzmann_law", "langevin_law"]

FloatArray = NDArray[np.float64]

_TOLERANCE = 1e-10
"""Relative residual of the mean of a large data set: its energy is then right to the square of that."""


@dataclass(frozen=True, eq=False)
class WeightLaw:
    """Moments of one Gaussian over the spins.

    mean : (D+1, D).    variance : (D+1, D), None above 4000 spins.
    ground_energy : H of the mean.    energy, energy_variance : mean and variance of H.
    degrees : 2 beta (H - E0) has a chi-squared law with this many, n, for the Boltzmann measure; None for another law.
    """

    beta: float
    mean: FloatArray
    variance: FloatArray | None
    ground_energy: float
    energy: float
    energy_variance: float
    degrees: int | None

    def expectations(self) -> dict[str, float]:
        """Exact means of the recorded observables that the law gives."""
        result = {"energy": self.energy, "m": alignment(self.mean)}
        if self.variance is not None:
            block = float(np.sum(self.variance[: self.mean.shape[1]])) / self.mean.shape[1]
            result["q_self"] = overlap(self.mean) + block
            result["norm"] = float(np.sum(self.mean**2) + np.sum(self.variance))
        return result

    def to_dataset(self) -> xr.Dataset:
        """The mean of H and, for the Boltzmann measure, its density: H - E0 has a gamma law, n/2 and 1/beta."""
        import xarray as xr
        from scipy import stats

        found = xr.Dataset({"mean_energy": self.energy})
        if self.degrees is None:
            return found
        exact = stats.gamma(self.degrees / 2, loc=self.ground_energy, scale=1 / self.beta)
        grid = np.linspace(float(exact.ppf(1e-5)), float(exact.ppf(1 - 1e-5)), 300)
        return found.assign_coords(energy=grid).assign(energy_density=("energy", exact.pdf(grid)))


def boltzmann_law(instance: Instance, *, ridge0: float, beta: float) -> WeightLaw:
    """exp(-beta H): equipartition gives <H - E0> = n/(2 beta) and the variance n/(2 beta^2).

    >>> rng = np.random.default_rng(1)
    >>> data = Instance(rng.normal(size=(30, 4)), rng.normal(size=(30, 3)), rng.normal(size=30))
    >>> law = boltzmann_law(data, ridge0=0.1, beta=2.0)
    >>> round(law.energy - law.ground_energy, 12)
    3.0
    """
    if instance.spins <= DENSE_SPINS:
        return _dense_law(instance, ridge0, beta, None)
    target = make_target(instance, ridge0=ridge0, beta=beta, matrix_free=True)
    fields = target.fields.reshape(1, *instance.features.weight_shape)
    mean, spins = target.solved(fields, _TOLERANCE)[0], instance.spins
    ground = energy(instance, mean, ridge0)
    return WeightLaw(beta, mean, None, ground, ground + spins / (2 * beta), spins / (2 * beta**2), spins)


def langevin_law(instance: Instance, *, ridge0: float, beta: float, step: float) -> WeightLaw:
    """The stationary law of unadjusted Langevin steps, see `validation.samplers.langevin`; up to 4000 spins.

    Raises ParameterError for a step from 2/L on: there is no stationary law.

    >>> rng = np.random.default_rng(1)
    >>> data = Instance(rng.normal(size=(30, 4)), rng.normal(size=(30, 3)), rng.normal(size=30))
    >>> exact, biased = boltzmann_law(data, ridge0=0.1, beta=2.0), langevin_law(data, ridge0=0.1, beta=2.0, step=0.1)
    >>> bool(np.all(biased.variance > exact.variance))
    True
    """
    if instance.spins > DENSE_SPINS:
        raise ParameterError(f"the law needs A in memory: at most {DENSE_SPINS} spins, got {instance.spins}")
    return _dense_law(instance, ridge0, beta, step)


def _dense_law(instance: Instance, ridge0: float, beta: float, step: float | None) -> WeightLaw:
    target = make_target(instance, ridge0=ridge0, beta=beta, matrix_free=False)
    eigenvalues, vectors = np.linalg.eigh(target.product(np.eye(target.spins)))
    shrink = np.ones_like(eigenvalues) if step is None else 1 - step * eigenvalues / 2
    if np.any(shrink <= 0):
        raise ParameterError(f"step = {step:g} has no stationary law: it must be below 2/L = {2 / eigenvalues[-1]:.6g}")
    shape = instance.features.weight_shape
    mean = (vectors @ ((vectors.T @ target.fields) / eigenvalues)).reshape(shape)
    variances = 1 / (beta * eigenvalues * shrink)
    heats = 1 / (beta * shrink)  # twice the mean energy of each mode
    ground = energy(instance, mean, target.ridge0)
    return WeightLaw(
        beta=beta,
        mean=mean,
        variance=(vectors**2 @ variances).reshape(shape),
        ground_energy=ground,
        energy=ground + float(np.sum(heats)) / 2,
        energy_variance=float(np.sum(heats**2)) / 2,
        degrees=instance.spins if step is None else None,
    )
