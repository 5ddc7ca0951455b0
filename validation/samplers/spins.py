r"""Any spins under any loss at a temperature, spin by spin, for many data sets and chains at once.

A sweep visits every spin of every data set and chain once: `validation.samplers.visits` has the prompts' part of it,
`validation.samplers.one_spin` the spin's. In Python that is D (D+1) visits a sweep whatever the number of data sets and
chains beside each other: 32 data sets take hardly more time than one.

Every data set has its own generator, from which all its numbers come in the same order: it gives the same draws, up to
rounding, alone and in any company. Two chains start apart, one at random and one at the solution W_ii = 1 of long
contexts: where they do not meet, that is seen (`Draws.r_hat`, `Draws.gap`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.errors import ParameterError
from iclglass.numerics.instance.data import Instance
from iclglass.validation.samplers.one_spin import OneSpin
from iclglass.validation.samplers.visits import AnyLossVisits, SquaredErrorVisits

__all__ = ["RECORDED", "Draws", "Spins", "sample_spins"]

FloatArray = NDArray[np.float64]

RECORDED = ("energy", "loss", "m", "q_self", "density")
"""At every kept sweep: H, (1/P) sum l(y, f), Tr W/D, |W|^2/D over the block, share of non-zero weights off it."""

_REFRESH = 64
"""Sweeps after which J s or f is computed anew: rounding of the updates between does not add up."""


@dataclass(frozen=True, eq=False)
class Spins:
    """The laws of the three classes of spins."""

    diagonal: OneSpin
    off_diagonal: OneSpin
    last_row: OneSpin

    def of(self, rows: int, columns: int) -> list[OneSpin]:
        """Spin by spin, in the order of W.ravel()."""
        return [
            self.last_row if row == columns else self.diagonal if row == column else self.off_diagonal
            for row in range(rows)
            for column in range(columns)
        ]


@dataclass(frozen=True, eq=False)
class Draws:
    """What the chains visited after the warm-up.

    means : (data sets, chains, rows, D), mean weights W of each chain.
    observables : name of `RECORDED` -> (data sets, chains, sweeps).
    overlap : (data sets, sweeps), (1/D) W_a.W_b over the block, of the first two chains at the same time: its mean is
        that of two replicas, q = (1/D) |<W>|^2, without the bias that finitely many draws give a square.
    weights : (data sets, chains, kept, rows, D), some of the draws.
    """

    means: FloatArray
    observables: dict[str, FloatArray]
    overlap: FloatArray
    weights: FloatArray

    def mean(self, name: str) -> FloatArray:
        """Of an observable over chains and sweeps, (data sets,)."""
        return self.observables[name].mean(axis=(1, 2))

    def r_hat(self, name: str) -> FloatArray:
        """Rank-normalised split R-hat of each data set, (data sets,)."""
        from iclglass.validation.samplers.diagnostics import r_hat

        return np.array([r_hat(values) for values in self.observables[name]])

    def gap(self, name: str) -> float:
        """First chains' mean minus second chains', over all data sets, in standard errors of that difference.

        The chains start apart: beyond 3 or so they have not met. It sees what no data set shows on its own.
        """
        means = self.observables[name].mean(axis=2)
        difference = means[:, 0] - means[:, 1]
        if difference.size < 2:
            raise ParameterError("the gap between chains needs at least two data sets")
        return float(difference.mean() / (difference.std(ddof=1) / np.sqrt(difference.size)))


def sample_spins(
    data: Sequence[Instance],
    spins: Spins,
    *,
    temperature: float,
    sweeps: int,
    warmup: int,
    rngs: Sequence[np.random.Generator],
    chains: int = 2,
    keep: int = 0,
    loss: Callable[[FloatArray, FloatArray], FloatArray] | None = None,
) -> Draws:
    """Markov chains for data sets of one shape.

    Parameters
    ----------
    data : sequence of Instance
        With one number of spins.
    spins : Spins
    temperature : float
        T = D^2/beta > 0.
    sweeps, warmup : int
        Recorded after the warm-up, and before.
    rngs : sequence of numpy.random.Generator
        One for each data set.
    chains : int
        For each data set; every other one starts at W_ii = 1, the first at random.
    keep : int
        Draws kept in whole of each chain, evenly spaced.
    loss : callable, optional
        l(y, f) of arrays; by default (y - f)^2/2, of which every spin is drawn from its law given the others.

    Returns
    -------
    Draws

    Examples
    --------
    >>> from iclglass.validation.prompts import draw_prompts
    >>> from iclglass.validation.samplers.one_spin import Levels, Pieces, elastic_net
    >>> data = draw_prompts(dimension=4, context=20, prompts=32, rng=np.random.default_rng(1))
    >>> ridge = Pieces(elastic_net(ridge=0.1))
    >>> binary = Spins(ridge, Levels(np.array([-1.0, 1.0]), np.zeros(2)), ridge)
    >>> found = sample_spins(
    ...     [data], binary, temperature=1.0, sweeps=50, warmup=10, rngs=[np.random.default_rng(2)]
    ... )
    >>> found.means.shape, found.observables["m"].shape
    ((1, 2, 5, 4), (1, 2, 50))
    """
    if not temperature > 0:
        raise ParameterError(f"temperature must be positive, got {temperature:g}")
    if len({each.query.shape + each.context.shape for each in data}) != 1:
        raise ParameterError("data sets that are sampled together must have one shape")
    rows, columns = data[0].features.weight_shape
    laws = spins.of(rows, columns)
    state = _starts(laws, rngs, chains, columns)
    visits = SquaredErrorVisits(data, temperature) if loss is None else AnyLossVisits(data, temperature, loss)
    record = _Record(state.shape, (rows, columns), sweeps, keep, laws)
    for sweep in range(-warmup, sweeps):
        uniform = _uniform(rngs, (2, chains, len(laws)))
        if sweep % _REFRESH == 0 or sweep == -warmup:
            visits.start(state)
        for spin, law in enumerate(laws):
            visits.visit(spin, law, state, uniform[:, :, :, spin], adapt=sweep < 0)
        if sweep >= 0:
            record.add(sweep, state, visits.loss(state))
    return record.finished()


class _Record:
    """Draws while they come."""

    def __init__(
        self,
        shape: tuple[int, ...],
        weight_shape: tuple[int, int],
        sweeps: int,
        keep: int,
        laws: Sequence[OneSpin],
    ) -> None:
        self.values = {name: np.empty((*shape[:2], sweeps)) for name in RECORDED}
        self.overlap = np.full((shape[0], sweeps), np.nan)
        self.total = np.zeros(shape)
        self.kept: list[FloatArray] = []
        self.keep_at = set(np.linspace(0, sweeps - 1, keep + 1)[1:].astype(int).tolist())
        self.sweeps, self.weight_shape = sweeps, weight_shape
        self.classes = [
            (law, [index for index, other in enumerate(laws) if other is law]) for law in dict.fromkeys(laws)
        ]
        columns = weight_shape[1]
        block = columns * columns
        off = np.ones(block, dtype=np.bool_)
        off[:: columns + 1] = False
        self.block, self.off_diagonal = slice(0, block), np.flatnonzero(off)

    def add(self, sweep: int, state: FloatArray, loss: FloatArray) -> None:
        """One sweep: state (data sets, chains, n), loss (data sets, chains)."""
        size = self.weight_shape[1]
        block = state[:, :, self.block]
        penalty = sum(np.sum(law.penalty(state[:, :, part]), axis=2) for law, part in self.classes)
        found = {
            "energy": loss + penalty / size**2,
            "loss": loss,
            "m": block[:, :, :: size + 1].sum(axis=2) / size**1.5,
            "q_self": np.einsum("scn,scn->sc", block, block) / size**2,
            "density": np.mean(state[:, :, self.off_diagonal] != 0, axis=2),
        }
        for name, values in found.items():
            self.values[name][:, :, sweep] = values
        if state.shape[1] > 1:
            self.overlap[:, sweep] = np.einsum("sn,sn->s", block[:, 0], block[:, 1]) / size**2
        self.total += state
        if sweep in self.keep_at:
            self.kept.append(state / np.sqrt(size))

    def finished(self) -> Draws:
        shape = (*self.total.shape[:2], *self.weight_shape)
        means = self.total / (self.sweeps * np.sqrt(self.weight_shape[1]))
        kept = [each.reshape(shape) for each in self.kept]
        weights = np.stack(kept, axis=2) if kept else np.empty((*shape[:2], 0, *self.weight_shape))
        return Draws(means.reshape(shape), self.values, self.overlap, weights)


def _starts(laws: Sequence[OneSpin], rngs: Sequence[np.random.Generator], chains: int, dimension: int) -> FloatArray:
    """(data sets, chains, n): every spin at random; in every other chain the diagonal at W_ii = 1."""
    uniform = _uniform(rngs, (1, chains, len(laws)))[0]
    state = np.stack([law.start(uniform[:, :, spin]) for spin, law in enumerate(laws)], axis=2)
    for spin in range(0, dimension * dimension, dimension + 1):
        state[:, 1::2, spin] = laws[spin].nearest(np.sqrt(dimension))
    return state


def _uniform(rngs: Sequence[np.random.Generator], shape: tuple[int, int, int]) -> FloatArray:
    """Numbers in (0, 1), (kinds, data sets, chains, n), each data set's from its own generator."""
    numbers = np.stack([rng.random(shape) for rng in rngs], axis=1)
    result: FloatArray = np.maximum(numbers, np.finfo(np.float64).tiny)
    return result
