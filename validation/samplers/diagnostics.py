"""Do the chains agree, and how many independent draws are they worth? R-hat, ESS, MCSE by `arviz_stats`.

Rank-normalised split R-hat, bulk and tail effective sample size and the Monte Carlo standard error of the mean (Vehtari
et al. 2021). They see chains that have not met; they do not see a mode that no chain moves: `checks` does.
"""

import math
from dataclasses import dataclass

import numpy as np

from iclglass.numerics.arguments import FloatArray, check_type
from iclglass.numerics.errors import ParameterError
from iclglass.validation.samplers.sampling import Samples

__all__ = ["MAXIMUM_R_HAT", "Diagnostic", "diagnose", "r_hat", "standard_errors", "worst_spin_ess"]

MAXIMUM_R_HAT = 1.01
"""Above it the chains have not converged (Vehtari et al. 2021)."""

_LEAST_DRAWS = 4
"""Below it split chains have one draw each and R-hat does not exist."""


@dataclass(frozen=True)
class Diagnostic:
    """One quantity: its mean over all draws, the error of that mean, and what the chains say of themselves."""

    name: str
    mean: float
    mcse: float
    r_hat: float
    ess_bulk: float
    ess_tail: float


# Chains that do not move have no variance: their R-hat is infinite or NaN, and says so.
@np.errstate(divide="ignore", invalid="ignore")
def diagnose(samples: Samples) -> tuple[Diagnostic, ...]:
    """One row each for the energy, m, |W|^2 and, where weights were kept, the spin of largest R-hat.

    Parameters
    ----------
    samples : Samples
        At least two chains of four draws: R-hat compares chains, each with its own half.

    Returns
    -------
    tuple of Diagnostic

    Raises
    ------
    ParameterError, ParameterTypeError
        Fewer chains or draws; no samples.

    Examples
    --------
    >>> from iclglass.numerics.instance.data import Instance
    >>> from iclglass.validation.samplers.sampling import sample
    >>> rng = np.random.default_rng(1)
    >>> data = Instance(rng.normal(size=(30, 4)), rng.normal(size=(30, 3)), rng.normal(size=30))
    >>> rows = diagnose(sample(data, ridge0=0.1, beta=2.0, draws=200, rng=rng))
    >>> [row.name.split()[0] for row in rows], max(row.r_hat for row in rows) < 1.05
    (['energy', 'm', 'norm', 'spin'], True)
    """
    _refuse_few(samples)
    rows = [_diagnostic(name, samples.observables[name]) for name in ("energy", "m", "norm")]
    if samples.weights is not None:
        from arviz_stats.base import array_stats

        r_hat = np.asarray(array_stats.rhat(samples.weights, chain_axis=0, draw_axis=1))
        row, column = np.unravel_index(int(np.argmax(r_hat)), r_hat.shape)
        name = f"spin ({row + 1},{column + 1}), worst of {r_hat.size}"
        rows.append(_diagnostic(name, samples.weights[:, :, row, column]))
    return tuple(rows)


@np.errstate(divide="ignore", invalid="ignore")
def standard_errors(values: FloatArray) -> FloatArray:
    """Monte Carlo standard errors of the means over chains and draws, the first two axes of the values."""
    from arviz_stats.base import array_stats

    return np.asarray(array_stats.mcse(values, chain_axis=0, draw_axis=1), dtype=np.float64)


@np.errstate(divide="ignore", invalid="ignore")
def r_hat(values: FloatArray) -> float:
    """Rank-normalised split R-hat of an observable, (chains, draws); NaN for fewer than two chains or four draws.

    >>> rng = np.random.default_rng(1)
    >>> values = rng.normal(size=(2, 500))
    >>> r_hat(values) < 1.05, r_hat(values + [[0.0], [1.0]]) > 1.1
    (True, True)
    """
    from arviz_stats.base import array_stats

    if values.shape[0] < 2 or values.shape[1] < _LEAST_DRAWS:
        return math.nan
    return float(array_stats.rhat(values))


def worst_spin_ess(weights: FloatArray) -> float:
    """Smallest bulk effective sample size of any spin; weights (chains, draws, ...)."""
    from arviz_stats.base import array_stats

    return float(np.min(array_stats.ess(weights, chain_axis=0, draw_axis=1)))


def _diagnostic(name: str, values: FloatArray) -> Diagnostic:
    from arviz_stats.base import array_stats

    return Diagnostic(
        name=name,
        mean=float(np.mean(values)),
        mcse=float(standard_errors(values)),
        r_hat=r_hat(values),
        ess_bulk=float(array_stats.ess(values)),
        ess_tail=float(array_stats.ess(values, method="tail", prob=(0.05, 0.95))),
    )


def _refuse_few(samples: Samples) -> None:
    check_type("samples", samples, Samples, "Samples, as sample(...) returns them")
    if samples.chains < 2:
        raise ParameterError(f"R-hat compares chains: at least 2 of them, got {samples.chains}")
    if samples.draws < _LEAST_DRAWS:
        raise ParameterError(f"R-hat needs at least {_LEAST_DRAWS} draws in each chain, got {samples.draws}")
