"""Draws against the exact law: energy, its variance, m, |W|^2, every spin's mean and variance, as z-scores.

Each comparison is (estimate - exact)/MCSE, the Monte Carlo standard error by `arviz_stats`, which knows how correlated
the draws are. Variances of spins are compared by their cube roots, which are nearly normal where the means of squares
are skewed (Wilson and Hilferty 1931). The family of all comparisons, 2 n + 5 where the weights were kept, raises a
false alarm with probability `false_alarm` at the most (Bonferroni), as far as means over draws are normal; measured at
a nominal 10 %: 9 % of 300 exact runs, 12 % of 300 of Hamiltonian Monte Carlo. Of the spins' comparisons the worst is
shown. What passes says the smallest bias it would have seen with probability 0.9.
"""

import math
from dataclasses import dataclass

import numpy as np

from iclglass.numerics.arguments import FloatArray, check_real
from iclglass.validation.samplers.diagnostics import standard_errors
from iclglass.validation.samplers.law import WeightLaw
from iclglass.validation.samplers.sampling import Samples
from iclglass.validation.statistics import bonferroni_threshold, smallest_detectable_bias, z_score

__all__ = ["EQUIPARTITION", "FALSE_ALARM", "Check", "check_law", "comparison", "judged"]

FALSE_ALARM = 0.01
"""Probability, at most, that a correct sampler fails."""

EQUIPARTITION = "energy above ground state"


@dataclass(frozen=True)
class Check:
    """One comparison: z = (estimate - exact)/mcse, against the threshold of its family.

    smallest_bias : the bias that the check would have seen with probability 0.9, in the units of the estimate.
    """

    name: str
    estimate: float
    exact: float
    mcse: float
    z: float
    threshold: float
    smallest_bias: float

    @property
    def passed(self) -> bool:
        """Whether |z| is within the threshold; never for NaN."""
        return abs(self.z) <= self.threshold


def check_law(samples: Samples, law: WeightLaw, *, false_alarm: float = FALSE_ALARM) -> tuple[Check, ...]:
    """Every moment that the law and the samples both have; the first is equipartition, <H - E0> = n/(2 beta).

    >>> from iclglass.numerics.instance.data import Instance
    >>> from iclglass.validation.samplers.law import boltzmann_law
    >>> from iclglass.validation.samplers.sampling import sample
    >>> rng = np.random.default_rng(1)
    >>> data = Instance(rng.normal(size=(30, 4)), rng.normal(size=(30, 3)), rng.normal(size=30))
    >>> rows = check_law(sample(data, ridge0=0.1, beta=2.0, rng=rng), boltzmann_law(data, ridge0=0.1, beta=2.0))
    >>> len(rows), all(row.passed for row in rows)
    (7, True)
    """
    false_alarm = check_real("false_alarm", false_alarm, minimum=0.0, above=True, maximum=1.0)
    expected = law.expectations()
    energies = samples.energies
    series: dict[str, tuple[FloatArray, float]] = {
        EQUIPARTITION: (energies - law.ground_energy, law.energy - law.ground_energy),
        "energy variance": ((energies - law.energy) ** 2, law.energy_variance),
    }
    for name in ("m", "q_self", "norm"):
        if name in expected:
            series[name] = (samples.observables[name], expected[name])
    spins = law.mean.size if samples.weights is not None and law.variance is not None else 0
    threshold = bonferroni_threshold(false_alarm, len(series) + 2 * spins)
    rows = [comparison(name, values, exact, threshold) for name, (values, exact) in series.items()]
    if samples.weights is not None and law.variance is not None:
        rows.append(_worst("mean", samples.weights, law.mean, threshold))
        rows.append(_worst("variance", (samples.weights - law.mean) ** 2, law.variance, threshold))
    return tuple(rows)


def comparison(name: str, values: FloatArray, exact: float, threshold: float) -> Check:
    """The mean of a series (chains, draws) against its exact value."""
    return judged(name, float(np.mean(values)), exact, float(standard_errors(values)), threshold)


def _worst(what: str, values: FloatArray, exact: FloatArray, threshold: float) -> Check:
    """The spin of largest |z|; values (chains, draws, D+1, D). A NaN is the worst of all."""
    errors, estimates = standard_errors(values), values.mean(axis=(0, 1))
    with np.errstate(divide="ignore", invalid="ignore"):  # a spin that never moves has no error bar
        z = _cube_roots(estimates, exact, errors) if what == "variance" else (estimates - exact) / errors
    at = np.unravel_index(int(np.argmax(np.where(np.isnan(z), math.inf, np.abs(z)))), z.shape)
    name = f"{what} of spin ({at[0] + 1},{at[1] + 1}), worst of {z.size}"
    return judged(name, float(estimates[at]), float(exact[at]), float(errors[at]), threshold, z=float(z[at]))


def _cube_roots(estimates: FloatArray, exact: FloatArray, errors: FloatArray) -> FloatArray:
    """z of variances: the cube root of chi2_k/k is normal, mean 1 - 2/(9 k), variance 2/(9 k); 2/k = relative^2."""
    relative = errors / estimates
    roots = np.cbrt(estimates / exact)
    result: FloatArray = (roots - 1 + relative**2 / 9) / (roots * relative / 3)
    return result


def judged(
    name: str,
    estimate: float,
    exact: float,
    mcse: float,
    threshold: float,
    *,
    dof: float = math.inf,
    z: float | None = None,
) -> Check:
    """One estimate against its exact value; dof: of its standard error.    z: where it is not the plain score."""
    finite = math.isfinite(estimate) and math.isfinite(mcse)
    if z is None:
        z = z_score(estimate - exact, mcse) if finite else math.nan
    bias = smallest_detectable_bias(mcse, threshold, dof) if finite else math.nan
    return Check(name, estimate, exact, mcse, z, threshold, bias)
