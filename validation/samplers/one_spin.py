"""One spin given all others: exp(-[r(s) + K s^2/2 - h s]/T) over its support, drawn exactly where that can be done.

    Pieces     r quadratic on intervals: Gaussian, lasso, elastic net, Huber, half line; truncated Gaussians
    Levels     finitely many values: +-c, {-c, 0, c}; their probabilities
    Lattice    all multiples of a spacing: the ones within reach of the Gaussian
    Walk       any other r: one Metropolis step by a Gaussian whose width is that of the others' curvature

K > 0 is the curvature that the loss gives the spin and h the field on it, so that the spin's energy is that of the
one-body problem of the theory. Arrays of any shape, each entry a spin of its own with two uniform numbers of its own:
what is drawn for one does not depend on what stands beside it.

Where the loss is not quadratic there is no such K and h: `propose` then offers a spin, as likely there from here as
here from there, which the whole energy accepts or not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_ndtr, ndtri, ndtri_exp

from iclglass.numerics.errors import ParameterError

__all__ = ["Lattice", "Levels", "OneSpin", "Pieces", "Walk", "elastic_net"]

FloatArray = NDArray[np.float64]
Penalty = Callable[[FloatArray], FloatArray]

_REACH = 9.0
"""Standard deviations of the Gaussian within which multiples are counted: beyond, 1e-18 of the weight."""
_TINY = float(np.finfo(np.float64).tiny)


class OneSpin(Protocol):
    """A law of one spin."""

    def penalty(self, spin: FloatArray) -> FloatArray:
        """r(s), scaled as in the theory."""

    def start(self, uniform: FloatArray) -> FloatArray:
        """A spin without data, one for each uniform number: of order one, within the support."""

    def nearest(self, value: float) -> float:
        """The point of the support that is next to a value."""

    def draw(
        self, curvature: FloatArray, field: FloatArray, temperature: float, current: FloatArray, uniform: FloatArray
    ) -> FloatArray:
        """The spin drawn anew; uniform: (2, ...) numbers in (0, 1)."""

    def propose(self, current: FloatArray, step: FloatArray, uniform: FloatArray) -> FloatArray:
        """A symmetric proposal within the support; step: its standard deviation where the support is continuous."""


@dataclass(frozen=True, eq=False)
class Pieces:
    """r(s) = c0 + c1 s + c2 s^2 on each of several intervals that follow one another.

    pieces : (count, 5), each low, high, c0, c1, c2; the outer bounds may be infinite.

    >>> lasso = Pieces(elastic_net(l1=0.5, ridge=0.1))
    >>> lasso.penalty(np.array([-2.0, 1.0])).tolist()
    [1.2, 0.55]
    """

    pieces: FloatArray

    def penalty(self, spin: FloatArray) -> FloatArray:
        """r(s); infinite outside."""
        result = np.full(np.shape(spin), np.inf)
        for low, high, c0, c1, c2 in self.pieces:
            inside = (spin >= low) & (spin <= high)
            result[inside] = (c0 + (c1 + c2 * spin) * spin)[inside]
        return result

    def start(self, uniform: FloatArray) -> FloatArray:
        """A standard normal, folded into the support."""
        low, high = self.pieces[0, 0], self.pieces[-1, 1]
        normal: FloatArray = ndtri(uniform)
        return np.clip(np.abs(normal) if low >= 0 else normal, low, high)

    def nearest(self, value: float) -> float:
        """Within the bounds."""
        return float(np.clip(value, self.pieces[0, 0], self.pieces[-1, 1]))

    def draw(
        self, curvature: FloatArray, field: FloatArray, temperature: float, current: FloatArray, uniform: FloatArray
    ) -> FloatArray:
        """Choose a piece by its weight, then a truncated Gaussian within it: exact."""
        if len(self.pieces) == 1 and np.all(np.isinf(self.pieces[0, :2])):
            (c1, c2) = self.pieces[0, 3:]
            stiffness = curvature + 2 * c2
            gaussian: FloatArray = (field - c1) / stiffness + np.sqrt(temperature / stiffness) * ndtri(uniform[0])
            return gaussian
        low, high, c0, c1, c2 = (column[(...,) + (None,) * np.ndim(field)] for column in self.pieces.T)
        stiffness = curvature + 2 * c2
        if np.any(stiffness <= 0):
            raise ParameterError("a piece of the penalty bends down more than the loss bends up: use Walk")
        mean = (field - c1) / stiffness
        width = np.sqrt(temperature / stiffness)
        lower, upper = (low - mean) / width, (high - mean) / width
        flipped = lower + upper > 0  # into the lower tail, where logarithms of Phi keep their digits
        lower, upper = np.where(flipped, -upper, lower), np.where(flipped, -lower, upper)
        log_lower, log_upper = log_ndtr(lower), log_ndtr(upper)
        ratio = np.exp(log_lower - log_upper)
        log_weight = log_upper + np.log1p(-np.minimum(ratio, 1 - 1e-16)) + np.log(width)
        log_weight += (mean**2 * stiffness / 2 - c0) / temperature
        chosen, rest = _choose(log_weight, uniform[0])
        pick = _picker(chosen)
        ratio, log_upper = pick(ratio), pick(log_upper)
        standard = ndtri_exp(log_upper + np.log(np.maximum(rest + (1 - rest) * ratio, _TINY)))
        spin = pick(mean) + pick(width) * np.where(pick(flipped), -standard, standard)
        return np.clip(spin, self.pieces[chosen, 0], self.pieces[chosen, 1])

    def propose(self, current: FloatArray, step: FloatArray, uniform: FloatArray) -> FloatArray:
        """A Gaussian step, reflected at a bound."""
        return _reflected(current + step * ndtri(uniform), self.pieces[0, 0], self.pieces[-1, 1])


@dataclass(frozen=True, eq=False)
class Levels:
    """Finitely many values, in increasing order, and r at each of them.

    >>> Levels(np.array([-1.0, 1.0]), np.zeros(2)).start(np.array([0.2, 0.7])).tolist()
    [-1.0, 1.0]
    """

    levels: FloatArray
    penalties: FloatArray

    def penalty(self, spin: FloatArray) -> FloatArray:
        """r(s) at a level."""
        return self.penalties[np.searchsorted(self.levels, spin)]

    def start(self, uniform: FloatArray) -> FloatArray:
        """Every level alike."""
        return self.levels[np.minimum((uniform * self.levels.size).astype(np.intp), self.levels.size - 1)]

    def nearest(self, value: float) -> float:
        """A level."""
        return float(self.levels[np.argmin(np.abs(self.levels - value))])

    def draw(
        self, curvature: FloatArray, field: FloatArray, temperature: float, current: FloatArray, uniform: FloatArray
    ) -> FloatArray:
        """Exact."""
        shape = (-1,) + (1,) * field.ndim
        levels = self.levels.reshape(shape)
        weight = field - curvature * (levels / 2)
        weight *= levels
        weight -= self.penalties.reshape(shape)
        weight /= temperature
        if self.levels.size == 2:  # the commonest, in half of the time
            return np.where(uniform[0] < expit(weight[1] - weight[0]), self.levels[1], self.levels[0])
        weight -= weight.max(axis=0)
        cumulated = np.exp(weight, out=weight).cumsum(axis=0)
        chosen = (cumulated <= uniform[0] * cumulated[-1]).sum(axis=0)
        return self.levels[np.minimum(chosen, self.levels.size - 1)]

    def propose(self, current: FloatArray, step: FloatArray, uniform: FloatArray) -> FloatArray:
        """Any other level."""
        others = self.levels.size - 1
        ahead = 1 + np.minimum((uniform * others).astype(np.intp), others - 1)
        return self.levels[(np.searchsorted(self.levels, current) + ahead) % self.levels.size]


@dataclass(frozen=True, eq=False)
class Lattice:
    """All integer multiples of a spacing; r must not fall away from zero.

    >>> lattice = Lattice(0.5, lambda spin: 0.0 * spin)
    >>> lattice.draw(np.ones(1), np.array([1.2]), 1e-4, np.zeros(1), np.full((2, 1), 0.5)).tolist()
    [1.0]
    """

    spacing: float
    function: Penalty

    def penalty(self, spin: FloatArray) -> FloatArray:
        """r(s)."""
        return self.function(spin)

    def start(self, uniform: FloatArray) -> FloatArray:
        """The multiple next to a standard normal."""
        normal: FloatArray = ndtri(uniform)
        return self.spacing * np.round(normal / self.spacing)

    def nearest(self, value: float) -> float:
        """A multiple."""
        return float(self.spacing * np.round(value / self.spacing))

    def draw(
        self, curvature: FloatArray, field: FloatArray, temperature: float, current: FloatArray, uniform: FloatArray
    ) -> FloatArray:
        """Exact but for 1e-18: the values between zero and the Gaussian's mean, and nine widths more."""
        centre = field / curvature
        reach = _REACH * np.sqrt(temperature / np.min(curvature)) + self.spacing
        least, most = (
            int(np.floor(min(0.0, float(np.min(centre)) - reach) / self.spacing)),
            int(np.ceil(max(0.0, float(np.max(centre)) + reach) / self.spacing)),
        )
        levels = self.spacing * np.arange(least, most + 1, dtype=np.float64)
        return Levels(levels, self.function(levels)).draw(curvature, field, temperature, current, uniform)

    def propose(self, current: FloatArray, step: FloatArray, uniform: FloatArray) -> FloatArray:
        """One or two multiples to either side."""
        away = np.array([-2.0, -1.0, 1.0, 2.0])[(4 * uniform).astype(np.intp)]
        return self.spacing * (np.round(current / self.spacing) + away)


@dataclass(frozen=True, eq=False)
class Walk:
    """Any r on [low, high], one Metropolis step a visit; detailed balance holds, the draw is not independent.

    >>> walk = Walk(np.abs, low=0.0)
    >>> walk.draw(np.ones(1), np.zeros(1), 1.0, np.array([0.1]), np.array([[0.01], [0.5]])).tolist()
    [0.1]
    """

    function: Penalty
    low: float = -np.inf
    high: float = np.inf

    def penalty(self, spin: FloatArray) -> FloatArray:
        """r(s)."""
        return self.function(spin)

    def start(self, uniform: FloatArray) -> FloatArray:
        """A standard normal, folded into the support."""
        normal: FloatArray = ndtri(uniform)
        return np.clip(np.abs(normal) if self.low >= 0 else normal, self.low, self.high)

    def nearest(self, value: float) -> float:
        """Within the bounds."""
        return float(np.clip(value, self.low, self.high))

    def draw(
        self, curvature: FloatArray, field: FloatArray, temperature: float, current: FloatArray, uniform: FloatArray
    ) -> FloatArray:
        """2.4 standard deviations of the Gaussian part at a time, accepted by the whole energy."""
        proposed = self.propose(current, 2.4 * np.sqrt(temperature / curvature), uniform[0])
        change = self.function(proposed) - self.function(current)
        change += (proposed - current) * (curvature * (proposed + current) / 2 - field)
        return np.where(-change >= temperature * np.log(uniform[1]), proposed, current)

    def propose(self, current: FloatArray, step: FloatArray, uniform: FloatArray) -> FloatArray:
        """A Gaussian step, reflected at a bound."""
        return _reflected(current + step * ndtri(uniform), self.low, self.high)


def elastic_net(*, l1: float = 0.0, ridge: float = 0.0, positive: bool = False) -> FloatArray:
    """The pieces of l1 |s| + ridge s^2/2, of the real line or of the half line."""
    right = [0.0, np.inf, 0.0, l1, ridge / 2]
    if positive:
        return np.array([right])
    if l1 == 0:
        return np.array([[-np.inf, np.inf, 0.0, 0.0, ridge / 2]])
    return np.array([[-np.inf, 0.0, 0.0, -l1, ridge / 2], right])


def _reflected(spin: FloatArray, low: float, high: float) -> FloatArray:
    """Back into the support; far steps past the other bound too are put onto it, where r may be infinite."""
    if np.isfinite(low):
        spin = low + np.abs(spin - low)
    if np.isfinite(high):
        spin = np.maximum(high - np.abs(high - spin), low)
    return spin


def _choose(log_weight: FloatArray, uniform: FloatArray) -> tuple[NDArray[np.intp], FloatArray]:
    """Index along the first axis with probability proportional to exp(log_weight), and what is left of the number."""
    weight = np.exp(log_weight - np.max(log_weight, axis=0))
    cumulated = np.cumsum(weight, axis=0)
    target = uniform * cumulated[-1]
    chosen = np.minimum(np.sum(cumulated <= target, axis=0), len(weight) - 1)
    pick = _picker(chosen)
    own = np.maximum(pick(weight), _TINY)
    rest = (target - pick(cumulated) + own) / own
    return chosen, np.clip(rest, 0.0, 1.0)


def _picker(chosen: NDArray[np.intp]) -> Callable[[FloatArray], FloatArray]:
    """The chosen entries along the first axis; trailing axes of size one are spread."""

    def pick(values: FloatArray) -> FloatArray:
        spread = np.broadcast_to(values, (values.shape[0], *chosen.shape))
        return np.take_along_axis(spread, chosen[None], axis=0)[0]

    return pick
