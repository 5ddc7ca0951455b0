r"""Moments of one variable x with Boltzmann weight exp(-[E(x) + A x^2/2 - B x]/T), at every node.

Levels are summed. Where E is quadratic on the whole line the weight is Gaussian. Otherwise each smooth piece is
integrated on panels around the place of its largest weight, from the width of the weight there up to where it is below
rounding; the panels' width grows by a constant factor, so that a narrow peak and long tails are both resolved.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.lowering.envelope import inflections
from iclglass.numerics.lowering.one_body import OneBody

__all__ = ["Moments", "moments"]

Array = NDArray[np.float64]

_TAIL = 9.0
_COUNT = 10
_RATIO = 2.0


@dataclass(frozen=True)
class Moments:
    """Arrays (points, nodes): mean x, var x/T, mean E, -T ln of the partition function, share of x != 0."""

    mean: Array
    response: Array
    energy: Array
    free: Array
    nonzero: Array


def moments(
    body: OneBody,
    A: Array,
    B: Array,
    temperature: Array,
    strengths: Mapping[str, Array],
    fineness: float = 1.0,
    *,
    energies: bool = True,
) -> Moments:
    """Moments at the fields B (points, nodes); A, T and strengths are over points."""
    if body.discrete:
        return _summed(body, A, B, temperature, strengths, energies=energies)
    if body.parabola:
        return _gaussian(body, A, B, temperature, strengths, energies=energies)
    return _integrated(body, A, B, temperature, strengths, fineness)


def _summed(
    body: OneBody, A: Array, B: Array, temperature: Array, strengths: Mapping[str, Array], *, energies: bool
) -> Moments:
    T, column = temperature[:, None], A[:, None]
    if body.energy.support == "lattice":
        spacing = strengths["spacing"]
        reach = np.ceil(np.sqrt(2 * 40 * np.max(temperature / (A * spacing**2)))) + 1
        center = np.rint(B / (column * spacing[:, None]))
        levels = [spacing[:, None] * (center + shift) for shift in np.arange(-reach, reach + 1)]
    else:
        levels = [level[:, None] for level in body.levels(A, B[:, 0], B[:, -1], strengths)]
    if len(levels) == 2:
        return _two_levels(levels[0], levels[1], column, B, T, energies=energies)
    exponents = [(B * x - column * x**2 / 2) / T for x in levels]
    largest = exponents[0]
    for each in exponents[1:]:
        largest = np.maximum(largest, each)
    total, first, zero = np.zeros_like(B), np.zeros_like(B), np.zeros_like(B)
    weights = [np.exp(each - largest) for each in exponents]
    for x, weight in zip(levels, weights, strict=True):
        total += weight
        first += weight * x
        zero += np.where(x == 0, weight, 0.0)
    mean = first / total
    variance = np.zeros_like(B)
    for x, weight in zip(levels, weights, strict=True):
        variance += weight * (x - mean) ** 2
    least = -T * (largest + np.log(total))
    return Moments(mean, variance / total / T, np.zeros_like(B), least, 1 - zero / total)


def _two_levels(low: Array, high: Array, column: Array, B: Array, T: Array, *, energies: bool) -> Moments:
    """The sum over two levels, with one exponential."""
    from scipy.special import expit

    gap = high - low
    above = gap * (B - column * (low + high) / 2) / T
    share = expit(above)
    mean, response = low + gap * share, gap**2 / T * share * (1 - share)
    if not energies:
        nothing = np.broadcast_to(np.nan, B.shape)
        return Moments(mean, response, nothing, nothing, nothing)
    zero = np.where(low == 0, 1 - share, 0.0) + np.where(high == 0, share, 0.0)
    least = -(B * low - column * low**2 / 2) - T * np.logaddexp(0.0, above)
    return Moments(mean, response, np.zeros_like(B), least, 1 - zero)


def _gaussian(
    body: OneBody, A: Array, B: Array, temperature: Array, strengths: Mapping[str, Array], *, energies: bool
) -> Moments:
    arguments, piece = tuple(each[:, None] for each in body.arguments(strengths)), body.pieces[0]
    zero = np.zeros_like(B)
    base, bend = piece.slope(zero, *arguments), piece.curvature(zero, *arguments)
    stiffness = A[:, None] + bend
    x, T = (B - base) / stiffness, temperature[:, None]
    ones = np.ones_like(B)
    if not energies:
        nothing = np.broadcast_to(np.nan, B.shape)
        return Moments(x, ones / stiffness, nothing, nothing, ones)
    energy = piece.energy(x, *arguments)
    least = energy + A[:, None] * x**2 / 2 - B * x - T * np.log(2 * np.pi * T / stiffness) / 2
    return Moments(x, ones / stiffness, energy + bend * T / stiffness / 2 * ones, least, ones)


@cache
def _panels(most: float, count: int) -> tuple[Array, Array, float]:
    """Nodes, weights and end of panels [0, 1/2], [1/2, 1], [1, 2], [2, 4] ... in units of a width, up to ``most``."""
    x, w = np.polynomial.legendre.leggauss(count)
    powers = int(np.ceil(np.log(max(most, 2.0)) / np.log(_RATIO)))
    ends = [0.0, 0.5, *(float(_RATIO**power) for power in range(powers + 1))]
    nodes = [low + (high - low) * (x + 1) / 2 for low, high in pairwise(ends)]
    weights = [(high - low) * w / 2 for low, high in pairwise(ends)]
    return np.concatenate(nodes), np.concatenate(weights), ends[-1]


def _integrated(
    body: OneBody, A: Array, B: Array, temperature: Array, strengths: Mapping[str, Array], fineness: float
) -> Moments:
    shape, spread = B.shape, np.ones_like(B)
    flat_A, flat_B, T = ((each * spread).ravel() for each in (A[:, None], B, temperature[:, None]))
    arguments = tuple((each[:, None] * spread).ravel() for each in body.arguments(strengths))
    reach = _TAIL * np.sqrt(T / flat_A)
    peaks, lows, highs, widths = [], [], [], []
    for number, piece in enumerate(body.pieces):
        low, high = (np.broadcast_to(np.asarray(end(flat_B, *arguments), dtype=float), flat_B.shape)
                     for end in (piece.low, piece.high))  # fmt: skip
        for left, right in _monotone_parts(body, number, low, high, flat_A, flat_B, T, arguments):
            peak = body.on_piece(number, flat_B, left, right, flat_A, arguments)
            with np.errstate(all="ignore"):
                slope = np.abs(body.field(number, peak, flat_A, arguments) - flat_B)
                stiffness = np.maximum(flat_A + piece.curvature(peak, *arguments), flat_A * 1e-3)
                width = 1 / np.sqrt(stiffness / T + (slope / T) ** 2)
            peaks.append(peak)
            lows.append(left)
            highs.append(right)
            widths.append((width, piece))
    values, least = [], np.full_like(flat_B, np.inf)
    for peak, low, high, (width, piece) in zip(peaks, lows, highs, widths, strict=True):
        most = float(np.nanmax(reach / width, initial=2.0))
        nodes, weights, last = _panels(2.0 ** np.ceil(np.log2(min(most, 1e9))), round(fineness * _COUNT))
        for sign, end in ((-1.0, low), (1.0, high)):
            # Nodes beyond the end of a piece weigh nothing; the last panel is shortened instead of cut.
            room = np.where(np.isfinite(end), np.abs(end - peak), np.inf)[:, None]
            step, weight = _shortened(nodes, weights, width[:, None] * last, width[:, None], room)
            x = peak[:, None] + sign * step
            columns = tuple(each[:, None] for each in arguments)
            energy = np.broadcast_to(piece.energy(x, *columns), x.shape)
            cost = energy + flat_A[:, None] * x**2 / 2 - flat_B[:, None] * x
            least = np.minimum(least, np.min(np.where(weight > 0, cost, np.inf), axis=1))
            values.append((x, weight, energy, cost))
    total, first, second, loss = (np.zeros_like(flat_B) for _ in range(4))
    base = least[:, None]
    center = peaks[0][:, None] if len(peaks) == 1 else _average(values, base, T)[:, None]
    for x, weight, energy, cost in values:
        density = np.where(weight > 0, weight * np.exp(-np.where(weight > 0, cost - base, 0.0) / T[:, None]), 0.0)
        total = total + density.sum(axis=1)
        first = first + (density * (x - center)).sum(axis=1)
        second = second + (density * (x - center) ** 2).sum(axis=1)
        loss = loss + (density * energy).sum(axis=1)
    shift = first / total
    return Moments(
        mean=(center[:, 0] + shift).reshape(shape),
        response=((second / total - shift**2) / T).reshape(shape),
        energy=(loss / total).reshape(shape),
        free=(least - T * np.log(total)).reshape(shape),
        nonzero=np.ones(shape),
    )


def _average(values: Sequence[tuple[Array, ...]], base: Array, T: Array) -> Array:
    total, first = np.zeros_like(T), np.zeros_like(T)
    for x, weight, _, cost in values:
        density = np.where(weight > 0, weight * np.exp(-np.where(weight > 0, cost - base, 0.0) / T[:, None]), 0.0)
        total = total + density.sum(axis=1)
        first = first + (density * x).sum(axis=1)
    return np.asarray(first / total)


def _shortened(nodes: Array, weights: Array, whole: Array, width: Array, room: Array) -> tuple[Array, Array]:
    """Steps and weights of the panels in units of ``width``, squeezed so that they end where there is no more room."""
    factor = np.where(np.isfinite(room), np.minimum(1.0, room / whole), 1.0)
    return width * factor * nodes, width * factor * weights


def _monotone_parts(
    body: OneBody, number: int, low: Array, high: Array, A: Array, B: Array, T: Array, arguments: tuple[Array, ...]
) -> list[tuple[Array, Array]]:
    """The piece itself where E is convex; else parts of it with one peak of the weight each."""
    if body.convex:
        return [(low, high)]
    return inflections(body, number, low, high, A, B, arguments)
