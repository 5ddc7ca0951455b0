r"""Energies that are not convex: where the minimiser x(B) of E(x) + A x^2/2 - B x rests, moves and jumps.

x(B) runs over the points where E + A x^2/2 touches its lower convex envelope; a straight part of the envelope is a jump
between two minimisers of the same energy. The envelope is found on a grid, point by point, and the ends of every
straight part are then made exact by Newton's method for the common tangent.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.lowering.one_body import Kink, OneBody, Segment

__all__ = ["envelope", "inflections", "minima"]

Array = NDArray[np.float64]

_GRID = 4001
_PARTS = 24
_FLAT = 1e-12


class _Well:
    """E + A x^2/2 of one point on a grid that holds every joint of its pieces."""

    def __init__(self, body: OneBody, A: Array, fields: tuple[float, ...], arguments: tuple[Array, ...]) -> None:
        self.body, self.A, self.arguments = body, A, arguments
        zero = np.zeros(1)
        self.ends = [tuple(float(np.broadcast_to(np.asarray(end(zero, *arguments), dtype=float), (1,))[0])
                           for end in (piece.low, piece.high)) for piece in body.pieces]  # fmt: skip
        self.joints = sorted({end for pair in self.ends for end in pair if np.isfinite(end)})
        reach = 4 * (max(map(abs, fields)) / float(A[0]) + 1) + max(map(abs, self.joints), default=0.0)
        for _ in range(60):
            x = self._grid(reach)
            cost = self.cost(x)
            places = [int(np.argmin(cost - B * x)) for B in fields]
            if all(0 < place < x.size - 1 or x[place] == self.ends[0][0] for place in places):
                break
            reach *= 2
        self.x, self.values = x, cost

    def _grid(self, reach: float) -> Array:
        u = np.linspace(-1, 1, _GRID)
        x = np.sinh(7 * u) / np.sinh(7.0) * reach
        x = np.unique(np.concatenate([x, np.linspace(-reach, reach, _GRID // 2), self.joints]))
        return x[x >= self.ends[0][0]]

    def cost(self, x: Array) -> Array:
        arguments = self.arguments
        value = self.body.value(x, arguments) + self.A * x**2 / 2
        return np.where(np.isfinite(value), value, np.inf)

    def piece(self, x: float, *, left: bool) -> int:
        """The piece that x is on, or its left or right neighbour at a joint."""
        for number, (low, high) in enumerate(self.ends):
            if (low < x <= high) if left else (low <= x < high):
                return number
        return 0 if left else len(self.ends) - 1

    def slope(self, x: float, *, left: bool) -> float:
        number = self.piece(x, left=left)
        return float(self.body.field(number, np.array([x]), self.A, self.arguments)[0])

    def bend(self, x: float, *, left: bool) -> float:
        curvature: Any = self.body.pieces[self.piece(x, left=left)].curvature(np.array([x]), *self.arguments)
        return float(np.ravel(curvature)[0]) + float(self.A[0])

    def at_joint(self, x: float) -> bool:
        return x in self.joints

    def tangent(self, a: float, b: float) -> tuple[float, float, float]:
        """The ends of a straight part of the envelope, and its slope."""
        fixed_a, fixed_b = self.at_joint(a), self.at_joint(b)
        for _ in range(60):
            e_a, e_b = (float(value) for value in self.cost(np.array([a, b])))
            chord = (e_b - e_a) / (b - a)
            # Each end that can move goes to where its slope is the chord's.
            move_a = 0.0 if fixed_a else (chord - self.slope(a, left=True)) / max(self.bend(a, left=True), 1e-300)
            move_b = 0.0 if fixed_b else (chord - self.slope(b, left=False)) / max(self.bend(b, left=False), 1e-300)
            gap = b - a
            move_a, move_b = np.clip(move_a, -gap / 4, gap / 4), np.clip(move_b, -gap / 4, gap / 4)
            a, b = a + move_a, b + move_b
            if abs(move_a) + abs(move_b) <= 1e-15 * (abs(a) + abs(b) + gap):
                break
        e_a, e_b = (float(value) for value in self.cost(np.array([a, b])))
        return float(a), float(b), (e_b - e_a) / (b - a)


def _hull(x: Array, y: Array) -> list[int]:
    """Indices of the lower convex hull (Andrew's monotone chain)."""
    kept: list[int] = []
    for number in range(x.size):
        if not np.isfinite(y[number]):
            continue
        while len(kept) > 1:
            i, j = kept[-2], kept[-1]
            if (y[j] - y[i]) * (x[number] - x[i]) < (y[number] - y[i]) * (x[j] - x[i]):
                break
            kept.pop()
        kept.append(number)
    return kept


def envelope(
    body: OneBody, A: Array, bottom: Array, top: Array, strengths: Mapping[str, Array]
) -> list[Segment | Kink]:
    """The parts of x(B) for one point (arrays of one entry), in order, clipped to bottom <= B <= top."""
    if A.size != 1:
        raise ValueError(f"the envelope is taken point by point, got {A.size} points")
    arguments = body.arguments(strengths)
    low_B, high_B = float(bottom[0]), float(top[0])
    if not (float(A[0]) > 0 and np.isfinite(low_B) and np.isfinite(high_B)):
        return [Kink(np.full(1, np.nan), bottom, top)]
    well = _Well(body, A, (low_B, high_B), arguments)
    kept = _hull(well.x, well.values)
    runs: list[tuple[float, float, float]] = []  # x where it begins and ends, B of the jump that ends it
    begin = float(well.x[kept[0]])
    scale = max(1.0, float(np.max(np.abs(well.values[kept]))))
    for i, j in pairwise(kept):
        if j == i + 1:
            continue
        between = slice(i + 1, j)
        chord = well.values[i] + (well.values[j] - well.values[i]) * (well.x[between] - well.x[i]) / (
            well.x[j] - well.x[i]
        )
        if np.max(well.values[between] - chord) < _FLAT * scale:
            continue
        end, following, B = well.tangent(float(well.x[i]), float(well.x[j]))
        runs.append((begin, end, B))
        begin = following
    runs.append((begin, float(well.x[kept[-1]]), np.inf))
    found: list[Segment | Kink] = []
    previous = -np.inf
    for start, stop, jump in runs:
        cuts = [start, *(joint for joint in well.joints if start < joint < stop), stop]
        for low, high in pairwise(cuts) if len(cuts) > 1 and start < stop else ():
            number = well.piece((low + high) / 2, left=True)
            first = well.slope(low, left=False) if well.at_joint(low) else previous
            _append_kink(found, low, max(previous, -np.inf), first, low_B, high_B)
            _append_segment(found, well, number, (low, high), (low_B, high_B), strengths)
            previous = well.slope(high, left=True)
        _append_kink(found, stop, previous, jump, low_B, high_B)
        previous = jump
    # Where slopes are infinite there may be no part to follow: the point has no number.
    return found or [Kink(np.full(1, np.nan), bottom, top)]


def _append_kink(found: list[Segment | Kink], x: float, start: float, stop: float, bottom: float, top: float) -> None:
    start, stop = max(start, bottom), min(stop, top)
    if stop > start:
        found.append(Kink(np.array([x]), np.array([start]), np.array([stop])))


def _append_segment(
    found: list[Segment | Kink],
    well: _Well,
    number: int,
    ends: tuple[float, float],
    window: tuple[float, float],
    strengths: Mapping[str, Array],
) -> None:
    low, high = (np.array([end]) for end in ends)
    arguments = well.body.arguments(strengths)
    slopes = [float(well.body.field(number, end, well.A, arguments)[0]) for end in (low, high)]
    clipped = []
    for edge in window:
        if slopes[0] >= edge:
            clipped.append(low)
        elif slopes[1] <= edge:
            clipped.append(high)
        else:
            clipped.append(well.body.on_piece(number, np.array([edge]), low, high, well.A, arguments))
    if clipped[1][0] > clipped[0][0]:
        found.append(Segment(number, *clipped))


def minima(body: OneBody, A: Array, B: Array, strengths: Mapping[str, Array]) -> list[Array]:
    """The minimiser at a field, point by point: candidates that hold the best one."""
    arguments = body.arguments(strengths)
    best = np.full_like(A, np.nan)
    for number in range(A.size):
        own, field = tuple(each[number : number + 1] for each in arguments), float(B[number])
        if not (A[number] > 0 and np.isfinite(field)):
            continue
        well = _Well(body, A[number : number + 1], (field,), own)
        place = int(np.argmin(well.values - field * well.x))
        x = float(well.x[place])
        if not well.at_joint(x):
            low, high = (np.array([well.x[max(place - 1, 0)]]), np.array([well.x[min(place + 1, well.x.size - 1)]]))
            x = float(
                body.on_piece(well.piece(x, left=True), np.array([field]), low, high, A[number : number + 1], own)[0]
            )
        best[number] = x
    return [best]


def inflections(
    body: OneBody, number: int, low: Array, high: Array, A: Array, B: Array, arguments: tuple[Array, ...]
) -> list[tuple[Array, Array]]:
    """A piece cut into parts that are narrow where its weight can have several peaks."""
    reach = np.max(4 * (np.abs(B) / A + 1))
    cuts = [
        low,
        *(np.clip(np.full_like(low, edge), low, high) for edge in np.linspace(-reach, reach, _PARTS + 1)),
        high,
    ]
    return [(left, right) for left, right in pairwise(cuts) if np.any(left < right)]
