"""The one entry to every sampler of the Boltzmann measure of one data set."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.arguments import (
    MOST,
    check_callable,
    check_choice,
    check_count,
    check_flag,
    check_real,
    check_type,
)
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.instance.data import Instance
from iclglass.numerics.memory import check_memory
from iclglass.numerics.running.blas import one_blas_thread
from iclglass.numerics.running.resuming import generator_digest
from iclglass.validation.samplers import hmc, langevin
from iclglass.validation.samplers.chains import OBSERVABLES, Trace, Transition, run_chains
from iclglass.validation.samplers.exact import exact_draws
from iclglass.validation.samplers.heat_bath import heat_bath
from iclglass.validation.samplers.target import Spectrum, Target, make_target, spectrum

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["METHODS", "Samples", "sample"]

FloatArray = NDArray[np.float64]

_OPTIONS = {
    "exact": (),
    "heat-bath": ("warmup", "thin"),
    "langevin": ("warmup", "step", "thin"),
    "mala": ("warmup", "step", "thin"),
    "hmc": ("warmup", "step", "trajectory", "thin"),
}
METHODS = tuple(_OPTIONS)

_KEPT_BYTES = 1 << 28
"""Weights kept where nothing is said, 256 MB; beyond, the observables only."""
_MOST_BYTES = 1 << 33
"""Weights above which keeping them is refused, 8 GB."""
_ONE_THREAD = 1000
"""Spins up to which BLAS gets one thread: waiting for a busy second core cost these small products 100 times."""
_STATES = 8
"""Arrays of the size of all chains' weights, held at once: positions, gradients, proposals, and of passing use."""
_RELAXATIONS = 10
"""Warm-up in relaxation times of the slowest mode: the start is forgotten to exp(-10)."""
_MOST_WARMUP = 20_000
_MOST_THIN = 1000
_TRAJECTORIES = 100
"""Warm-up of Hamiltonian Monte Carlo: a trajectory of half a period at the most forgets the slowest mode."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Draws of several chains from exp(-beta H) of one data set.

    Attributes
    ----------
    weights : (chains, draws, D+1, D) array, optional
        The active spins; None where only the observables were kept.
    observables : mapping of str to (chains, draws) array
        energy = H, m = Tr W/D, q_self = |W|^2/D over the block, norm = |W|^2 over all active spins. Everything
        quadratic that the theory predicts follows from them.
    acceptance : (chains,) array
        Part of the steps taken; 1 for methods without an accept step.
    step, bound : float
        Of the dynamics, in SG's units of H, and its stable bound; NaN for "exact" and "heat-bath".
    trajectory : int
        Largest number of leapfrog steps, 0 for other methods than "hmc".
    warmup, thin : int
        Steps thrown away before the first draw, and from one draw to the next.
    parameters : mapping
        All that they follow from, plain values by the names of the arguments of `sample`; of the data set and the
        random numbers a digest.
    """

    method: str
    dimension: int
    ridge0: float
    beta: float
    weights: FloatArray | None
    observables: Mapping[str, FloatArray]
    acceptance: FloatArray
    step: float
    bound: float
    trajectory: int
    warmup: int
    thin: int
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def energies(self) -> FloatArray:
        """H of every draw, (chains, draws)."""
        return self.observables["energy"]

    @property
    def chains(self) -> int:
        """Number of chains."""
        return int(self.energies.shape[0])

    @property
    def draws(self) -> int:
        """Draws in each chain."""
        return int(self.energies.shape[1])

    @property
    def overlaps(self) -> FloatArray:
        """Overlaps q12 of the draws of one chain with those of the next, (chains - 1, draws); none without weights.

        Chains are independent, so each pair is one of independent replicas.
        """
        if self.weights is None:
            return np.empty((0, self.draws))
        block = self.weights[:, :, : self.dimension]
        products: FloatArray = np.einsum("cdij,cdij->cd", block[:-1], block[1:])
        return products / self.dimension

    def to_dataset(self) -> xr.Dataset:
        """Observables along chain and draw, acceptance, and, where weights were kept, these and their overlaps."""
        import xarray as xr

        variables: dict[str, Any] = {name: (("chain", "draw"), array) for name, array in self.observables.items()}
        variables["acceptance"] = ("chain", self.acceptance)
        if self.weights is not None:
            variables["weights"] = (("chain", "draw", "row", "column"), self.weights)
            variables["overlap"] = (("pair", "draw"), self.overlaps)
        given = {"dimension": self.dimension, "ridge0": self.ridge0, "beta": self.beta}
        return xr.Dataset(variables, given, {"method": self.method})


def sample(
    instance: Instance,
    *,
    ridge0: float,
    beta: float,
    method: str = "exact",
    draws: int = 1000,
    chains: int = 4,
    warmup: int | None = None,
    step: float | None = None,
    trajectory: int | None = None,
    thin: int | None = None,
    keep_weights: bool | None = None,
    matrix_free: bool | None = None,
    rng: np.random.Generator,
    progress: Callable[[int, int], None] | None = None,
) -> Samples:
    """Draw weights from the Boltzmann measure exp(-beta H) of one data set (SG section II).

    Chains start from N(0, 1/(beta l)), l the smallest eigenvalue of A: wider than the measure in every direction, as
    R-hat wants it.

    Parameters
    ----------
    instance : Instance
    ridge0, beta : float
        SG's, unscaled: lambda0 = ridge/D in [0, 1e30) and beta = D^2/temperature in [1e-30, 1e30).
    method : str
        "exact": independent draws, the chains are only a way to count them. "heat-bath": spin after spin given the
        others, a draw is a sweep. "langevin": unadjusted Langevin steps, biased. "mala": the same with an accept step.
        "hmc": Hamiltonian Monte Carlo with jittered length. Each has a module in `validation.samplers`.
    draws, chains : int
        Draws of each chain, and chains; at least 1.
    warmup : int, optional
        Steps before the first draw, >= 0; by default ten relaxation times of the slowest mode; none for "exact".
    step : float, optional
        By default from the spectrum of A; refused from the stable bound on, 2/L for "langevin" and "mala", 2/sqrt(L)
        for "hmc", L the largest eigenvalue.
    trajectory : int, optional
        Largest number of leapfrog steps of "hmc", by default half a period of the slowest mode.
    thin : int, optional
        Steps from one draw to the next, by default 1, and half a relaxation time for the Langevin methods.
    keep_weights : bool, optional
        By default up to 256 MB of them, 8 chains draws D(D+1) bytes; else the observables only.
    matrix_free : bool, optional
        By default above 4000 spins. Memory is 8 n^2 bytes for A below, O(P D + chains n) above.
    rng : numpy.random.Generator
        Decides every number.
    progress : callable, optional
        Called with (steps done, steps in all).

    Returns
    -------
    Samples

    Raises
    ------
    ParameterError, ParameterTypeError
        A value out of range, or an option that the method does not take.
    ConvergenceError
        "exact" cannot solve its equations.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> data = Instance(rng.normal(size=(30, 4)), rng.normal(size=(30, 3)), rng.normal(size=30))
    >>> found = sample(data, ridge0=0.1, beta=2.0, method="hmc", draws=10, rng=rng)
    >>> found.weights.shape, found.energies.shape, found.step < found.bound
    ((4, 10, 4, 3), (4, 10), True)
    """
    method = check_choice("method", method, METHODS)
    draws = check_count("draws", draws, minimum=1, maximum=MOST)
    chains = check_count("chains", chains, minimum=1, maximum=MOST)
    check_type("rng", rng, np.random.Generator, "a numpy.random.Generator")
    given = {"warmup": warmup, "step": step, "trajectory": trajectory, "thin": thin}
    # An option that the method does not take would be ignored silently.
    if unused := [name for name, value in given.items() if value is not None and name not in _OPTIONS[method]]:
        raise ParameterError(f"method {method!r} takes no {' or '.join(unused)}; leave it out")
    never = "a trajectory of no steps never moves"
    warmup, trajectory, thin = (
        None if value is None else check_count(name, value, minimum=least, maximum=MOST, reason=reason)
        for name, value, least, reason in (
            ("warmup", warmup, 0, ""),
            ("trajectory", trajectory, 1, never),
            ("thin", thin, 1, ""),
        )
    )
    if step is not None:
        step = check_real("step", step, minimum=0.0, above=True)
    for name, flag in (("keep_weights", keep_weights), ("matrix_free", matrix_free)):
        if flag is not None:
            check_flag(name, flag)
    check_callable("progress", progress)
    options: dict[str, Any] = {"method": method, "draws": draws, "chains": chains, "warmup": warmup, "step": step}
    options |= {"trajectory": trajectory, "thin": thin, "keep_weights": keep_weights, "matrix_free": matrix_free}
    small = isinstance(instance, Instance) and instance.spins <= _ONE_THREAD
    with one_blas_thread() if small else nullcontext():
        target = make_target(instance, ridge0=ridge0, beta=beta, matrix_free=matrix_free)
        options |= {"ridge0": target.ridge0, "beta": target.beta, "instance": instance.digest}
        options["rng"] = generator_digest(rng)  # before it is used
        check_memory(
            8.0 * chains * (draws * len(OBSERVABLES) + _STATES * target.spins),
            what=f"{chains} chains of {draws} draws of {target.spins} spins",
            remedy="take fewer of them",
        )
        weight_shape = instance.features.weight_shape
        kept = _keeps(keep_weights, chains, draws, target.spins)
        trace = Trace(chains, draws, weight_shape, keep_weights=kept)
        acceptance, step_size, bound = np.ones(chains), math.nan, math.nan
        if method == "exact":
            _draw_exact(target, trace, chains, draws, rng, progress)
        else:
            edges = spectrum(target, rng)
            step_size, bound = _step(method, step, edges)
            if method == "hmc" and trajectory is None:
                trajectory = hmc.default_steps(edges, step_size)
            transition = _transition(method, target, step_size, trajectory or 0)
            warmup = _warmup(method, target, step_size, edges) if warmup is None else warmup
            thin = _thin(method, step_size, edges) if thin is None else thin
            start = rng.standard_normal((chains, target.spins)) / math.sqrt(target.beta * edges.low)
            steps = {"warmup": warmup, "draws": draws, "thin": thin}
            acceptance = run_chains(transition, start, trace, **steps, rng=rng, progress=progress)
    return Samples(
        method=method,
        dimension=instance.dimension,
        ridge0=target.ridge0,
        beta=target.beta,
        weights=None if trace.weights is None else trace.weights.reshape(chains, draws, *weight_shape),
        observables=trace.observables,
        acceptance=acceptance,
        step=step_size,
        bound=bound,
        trajectory=trajectory or 0,
        warmup=warmup or 0,
        thin=1 if thin is None else thin,
        parameters=options,
    )


def _keeps(keep: bool | None, chains: int, draws: int, spins: int) -> bool:
    needed = 8 * chains * draws * spins
    if keep is None:
        return needed <= _KEPT_BYTES
    if keep and needed > _MOST_BYTES:
        raise ParameterError(
            f"{chains} chains of {draws} draws of {spins} spins take {needed / 1e9:.1f} GB, above the limit of "
            f"{_MOST_BYTES / 1e9:.1f} GB: draw fewer, or keep_weights=False for the observables only"
        )
    return keep


def _step(method: str, step: float | None, edges: Spectrum) -> tuple[float, float]:
    """The step and its bound, NaN where the method has none; refused from the bound on, before any step is taken."""
    if method == "heat-bath":
        return math.nan, math.nan
    bound = hmc.stable_bound(edges) if method == "hmc" else langevin.stable_bound(edges)
    if step is None:
        defaults = {
            "hmc": hmc.default_step,
            "mala": langevin.default_adjusted_step,
            "langevin": langevin.default_unadjusted_step,
        }
        return defaults[method](edges), bound
    if step >= bound:
        formula = "2/sqrt(L)" if method == "hmc" else "2/L"
        raise ParameterError(
            f"step = {step:g} diverges: {method} on this data set is stable below {formula} = {bound:.6g}, with the "
            f"largest eigenvalue L = {edges.high:.6g}; leave step out, or use a smaller one"
        )
    return step, bound


def _transition(method: str, target: Target, step: float, trajectory: int) -> Transition:
    if method == "heat-bath":
        return heat_bath(target)
    if method == "langevin":
        return langevin.UnadjustedLangevin(target, step)
    return langevin.mala(target, step) if method == "mala" else hmc.Hamiltonian(target, step, trajectory)


def _warmup(method: str, target: Target, step: float, edges: Spectrum) -> int:
    """Ten relaxation times of the slowest mode, 20000 steps at the most."""
    if method == "hmc":
        return _TRAJECTORIES
    if method == "heat-bath":  # a sweep moves a mode by as much as a gradient step of the inverse of A's diagonal
        step = 1 / float(np.max(target.instance.features.in_double().diagonal() + target.ridge0))
    return min(_MOST_WARMUP, math.ceil(_RELAXATIONS / (step * edges.low)))


def _thin(method: str, step: float, edges: Spectrum) -> int:
    """Half a relaxation time of the slowest mode for Langevin steps, 1000 steps at the most."""
    if method not in ("langevin", "mala"):
        return 1
    return min(_MOST_THIN, math.ceil(0.5 / (step * edges.low)))


def _draw_exact(
    target: Target,
    trace: Trace,
    chains: int,
    draws: int,
    rng: np.random.Generator,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Independent draws dealt out to the chains one after another."""
    kept = np.empty((0, target.spins))
    done = 0
    for stack in exact_draws(target, chains * draws, rng):
        kept = np.concatenate([kept, stack])
        ready = kept.shape[0] // chains
        taken, kept = kept[: ready * chains], kept[ready * chains :]
        energies = target.energy(taken, target.gradient(taken))
        part = slice(done, done + ready)
        trace.record(part, taken.reshape(ready, chains, -1).swapaxes(0, 1), energies.reshape(ready, chains).T)
        done += ready
        if progress is not None:
            progress(done, draws)
