"""Effective samples a second: our samplers and emcee on one Hamiltonian; seconds a draw where A cannot be stored.

Times are processor times of one thread, so that other work on the machine hardly counts.
"""

import time
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from iclglass.validation.prompts import Prompts, draw_prompts
from iclglass.validation.samplers.diagnostics import worst_spin_ess
from iclglass.validation.samplers.sampling import sample
from iclglass.validation.samplers.target import make_target

__all__ = ["Rate", "effective_samples", "large_exact"]

_RIDGE0, _TEMPERATURE = 0.01, 0.1
_DRAWS = {"exact": 20_000, "heat-bath": 2000, "hmc": 2000, "mala": 500, "langevin": 500}


@dataclass(frozen=True)
class Rate:
    """Smallest effective sample size of any spin, and the processor seconds of one core, warm-up included."""

    name: str
    spins: int
    effective: float
    seconds: float

    @property
    def rate(self) -> float:
        """Effective samples of the worst spin, a second."""
        return self.effective / self.seconds


def _data(dimension: int, prompts: int) -> Prompts:
    return draw_prompts(dimension=dimension, context=5 * dimension, prompts=prompts, rng=np.random.default_rng(5))


def effective_samples(dimension: int) -> list[Rate]:
    """Every method on the data set of P = 2 D^2 prompts at beta = D^2/T, four chains."""
    data = _data(dimension, 2 * dimension**2)
    rates = []
    for method, draws in _DRAWS.items():
        start = time.process_time()
        with threadpool_limits(limits=1, user_api="blas"):
            found = sample(
                data,
                ridge0=_RIDGE0,
                beta=dimension**2 / _TEMPERATURE,
                method=method,
                draws=draws,
                keep_weights=True,
                rng=np.random.default_rng(6),
            )
        seconds = time.process_time() - start
        rates.append(Rate(method, data.spins, worst_spin_ess(found.weights), seconds))
    general = _emcee(data)
    return rates if general is None else [*rates, general]


def _emcee(data: Prompts, draws: int = 200, thin: int = 20) -> Rate | None:
    """emcee's affine-invariant ensemble of 2 n + 2 walkers, the fewest it takes; None if it is not installed.

    Walkers start from independent exact draws, which spares it any warm-up; log-densities are taken for half the
    walkers at once. Each walker counts as a chain; the draws that it was started with are not its own.
    """
    try:
        import emcee
    except ImportError:
        return None
    beta = data.dimension**2 / _TEMPERATURE
    target = make_target(data, ridge0=_RIDGE0, beta=beta)
    walkers = 2 * data.spins + 2
    start = sample(data, ridge0=_RIDGE0, beta=beta, draws=walkers, chains=1, rng=np.random.default_rng(7))

    def log_density(positions: np.ndarray) -> np.ndarray:
        return -beta * target.energy(positions, target.gradient(positions))

    sampler = emcee.EnsembleSampler(walkers, data.spins, log_density, vectorize=True)
    sampler.random_state = np.random.RandomState(8).get_state()
    begin = time.process_time()
    with threadpool_limits(limits=1, user_api="blas"):  # as for ours
        sampler.run_mcmc(start.weights.reshape(walkers, data.spins), draws, thin_by=thin)
    seconds = time.process_time() - begin
    gained = max(0.0, worst_spin_ess(sampler.get_chain().swapaxes(0, 1)) - walkers)
    return Rate(f"emcee, {walkers} walkers", data.spins, gained, seconds)


def large_exact(dimension: int = 100, prompts: int = 20_000, draws: int = 64) -> str:
    """Exact draws at n = D(D+1) = 10100 spins without any matrix: seconds a draw."""
    data = _data(dimension, prompts)
    start = time.process_time()
    with threadpool_limits(limits=1, user_api="blas"):
        found = sample(
            data,
            ridge0=_RIDGE0,
            beta=dimension**2 / _TEMPERATURE,
            draws=draws // 4,
            keep_weights=False,
            rng=np.random.default_rng(9),
        )
    seconds = time.process_time() - start
    return (
        f"exact, matrix free, {data.spins} spins, {prompts} prompts: {seconds / draws:.3f} s a draw "
        f"({draws} draws in {seconds:.1f} s, mean energy {found.energies.mean():.5f})"
    )
