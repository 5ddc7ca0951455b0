r"""One prediction or one spin in a field: the variable x with energy E(x) + A x^2/2 - B x, at T = 0.

A spin has A = K and B its field; a prediction has A = 1/c, B = f_cav/c and E its loss. The minimiser x(B) rises with B
and consists of smooth segments, where B = A x + E'(x) is explicit in x; of kinks, where x rests at a joint of E while B
goes from A x + E'(x-) to A x + E'(x+); and of jumps, where two minimisers cost the same. `answers.items` lists them in
order; everything else of numerics/lowering reads that list. Source: this project, notes/models.md.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from iclglass.numerics.lowering.functions import numeric, stable
from iclglass.replica import symbols as S
from iclglass.replica.energies import Energy

__all__ = ["Kink", "OneBody", "Segment", "one_body"]

Array = NDArray[np.float64]
Strengths = Mapping[str, Array]

_MOST = 100
"""Steps to a root."""
_ROUGH = 1e-3
_EPSILON, _SMALLEST = float(np.finfo(float).eps), 1e-300
_MOST_LEVELS = 400


@dataclass(frozen=True)
class Segment:
    """x moves smoothly from ``low`` to ``high`` (arrays over points) on piece number ``piece``."""

    piece: int
    low: Array
    high: Array


@dataclass(frozen=True)
class Kink:
    """x rests at ``at`` while B goes from ``start`` to ``stop`` (arrays over points)."""

    at: Array
    start: Array
    stop: Array


@dataclass(frozen=True)
class Piece:
    """A smooth piece of E as NumPy functions of (x, y, strengths in order)."""

    low: Callable[..., Any]
    high: Callable[..., Any]
    energy: Callable[..., Any]
    slope: Callable[..., Any]
    curvature: Callable[..., Any]
    linear: bool
    """Whether E is quadratic here, so that x is linear in B."""


class OneBody:
    """What one variable with energy E does in a field.

    Parameters
    ----------
    energy : Energy
        Of `replica.energies`.
    """

    def __init__(self, energy: Energy) -> None:
        self.energy = energy
        x = energy.variable
        others = set(energy.expression.free_symbols)
        if energy.support in ("levels", "lattice"):
            others |= {S.spacing}
        self.symbols = tuple(sorted(others - {x}, key=str))
        """What E depends on beside x, in the order of the functions' arguments."""
        self.discrete = energy.support in ("levels", "lattice")
        self.convex = not self.discrete and energy.convex is True
        self.even = self._even()

    def _even(self) -> bool:
        x, energy = self.energy.variable, self.energy
        if energy.support == "half-line":
            return False
        reflected = energy.expression.subs(S.y, 0)
        return bool(sp.simplify(reflected - reflected.subs(x, -x)) == 0)

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """The smooth pieces of E in order."""
        x, found = self.energy.variable, []
        for piece in self.energy.pieces:
            expression = stable(piece.expression)
            slope = sp.diff(expression, x)
            curvature = sp.diff(slope, x)
            parts = {"low": piece.low, "high": piece.high, "energy": expression, "slope": slope, "curvature": curvature}
            functions = {name: self._function(part) for name, part in parts.items()}
            found.append(Piece(linear=not curvature.has(x), **functions))
        return tuple(found)

    @cached_property
    def straight(self) -> bool:
        """Whether x moves on straight lines only: E is quadratic on each piece."""
        return not self.discrete and all(piece.linear for piece in self.pieces)

    @cached_property
    def parabola(self) -> bool:
        """Whether E is one parabola on the whole line."""
        return self.straight and len(self.pieces) == 1 and self.energy.support == "real"

    def widest_gap(self, strengths: Strengths) -> Array:
        """From the lowest to the highest level; of a lattice the spacing.

        The sum over levels of exp((B x - A x^2/2)/T) has no zero where |Im B| is below pi T over this: its terms lie in
        one half of the complex plane, and a theta function has its zeros there exactly.
        """
        if self.energy.support == "lattice":
            return strengths["spacing"]
        arguments = self.arguments(strengths)
        return np.asarray(self._levels[-1](0.0, *arguments) - self._levels[0](0.0, *arguments))

    @cached_property
    def _levels(self) -> list[Callable[..., Any]]:
        return [self._function(level) for level in self.energy.levels or ()]

    def _function(self, expression: sp.Expr) -> Callable[..., Any]:
        return numeric((self.energy.variable, *self.symbols), expression)

    def arguments(self, strengths: Strengths) -> tuple[Array, ...]:
        """The values of `symbols`."""
        return tuple(strengths[symbol.name] for symbol in self.symbols)

    def levels(self, A: Array, bottom: Array, top: Array, strengths: Strengths) -> list[Array]:
        """The levels that x can take for fields between ``bottom`` and ``top``, in increasing order."""
        spacing = strengths["spacing"]
        if self.energy.support == "levels":
            arguments = self.arguments(strengths)
            return [np.broadcast_to(np.asarray(level(0.0, *arguments), float), A.shape) for level in self._levels]
        with np.errstate(invalid="ignore"):
            first, last = np.rint(bottom / (A * spacing)), np.rint(top / (A * spacing))
            count = np.nanmax(np.where(np.isfinite(last - first), last - first, np.nan), initial=0.0) + 1
        return [spacing * (first + number) for number in range(int(min(count, _MOST_LEVELS)))]

    def steps(self, A: Array, bottom: Array, top: Array, strengths: Strengths) -> list[Segment | Kink]:
        """The parts of x(B) where x is a level: it rests on each."""
        levels = self.levels(A, bottom, top, strengths)
        crossings = [A * (low + high) / 2 for low, high in pairwise(levels)]
        starts, stops = [np.full_like(A, -np.inf), *crossings], [*crossings, np.full_like(A, np.inf)]
        clipped = [(np.clip(start, bottom, top), np.clip(stop, bottom, top))
                   for start, stop in zip(starts, stops, strict=True)]  # fmt: skip
        return [Kink(level, *ends) for level, ends in zip(levels, clipped, strict=True)]

    def convex_items(self, A: Array, bottom: Array, top: Array, strengths: Strengths) -> list[Segment | Kink]:
        """The parts of x(B) where E is convex."""
        arguments = self.arguments(strengths)
        found: list[Segment | Kink] = []
        # B at the end of the piece before: x cannot go below the lowest end of a half-line.
        previous = np.full_like(A, -np.inf)
        for number, piece in enumerate(self.pieces):
            low, high = (np.broadcast_to(np.asarray(end(0.0, *arguments), dtype=float), A.shape)
                         for end in (piece.low, piece.high))  # fmt: skip
            start, stop = (self.field(number, end, A, arguments) for end in (low, high))
            found.append(Kink(low, np.clip(previous, bottom, top), np.clip(start, bottom, top)))
            # What lies beyond the window does not count, so that its ends need not be exact.
            rough = _ROUGH * (top - bottom)
            inner = [self.on_piece(number, edge, low, high, A, arguments, rough) for edge in (bottom, top)]
            first, last = (
                np.where(start >= edge, low, np.where(stop <= edge, high, x))
                for edge, x in zip((bottom, top), inner, strict=True)
            )
            found.append(Segment(number, first, last))
            previous = stop
        found.append(Kink(high, np.clip(previous, bottom, top), np.clip(np.full_like(A, np.inf), bottom, top)))
        return [item for item in found if not _empty(item)]

    def field(self, number: int, x: Array, A: Array, arguments: tuple[Array, ...]) -> Array:
        """B at which x is stationary on a piece: A x + E'(x)."""
        with np.errstate(all="ignore"):
            value = A * x + self.pieces[number].slope(x, *arguments)
        # A slope of infinity minus infinity at an infinite end: there A x wins, or E' of the same sign.
        return np.where(np.isinf(x), x, value)

    def on_piece(
        self,
        number: int,
        B: Array,
        low: Array,
        high: Array,
        A: Array,
        arguments: tuple[Array, ...],
        within: Array | float = 0.0,
    ) -> Array:
        """x at a field on one piece, or at a field ``within`` a distance: closed where E is quadratic, else a root."""
        piece = self.pieces[number]
        if piece.linear:
            zero = np.zeros_like(A)
            base, bend = piece.slope(zero, *arguments), piece.curvature(zero, *arguments)
            return np.clip((B - base) / (A + bend), low, high)
        return root_between(lambda x: self.field(number, x, A, arguments) - B, low, high, B / A, within)

    def stationary(self, A: Array, B: Array, strengths: Strengths) -> list[Array]:
        """Candidates for the minimiser in the field B where x is a level or E convex, arrays over points."""
        if self.discrete:
            return self.levels(A, B, B, strengths)
        arguments = self.arguments(strengths)
        ends = [tuple(np.broadcast_to(np.asarray(end(0.0, *arguments), dtype=float), A.shape)
                      for end in (piece.low, piece.high)) for piece in self.pieces]  # fmt: skip
        # The stationary point of the right piece, or the joint that x rests at.
        return [self.on_piece(number, B, low, high, A, arguments) for number, (low, high) in enumerate(ends)]

    def value(self, x: Array, arguments: tuple[Array, ...]) -> Array:
        """E(x), whatever piece x is on."""
        if self.discrete:
            return np.zeros_like(x)
        values = np.full(np.broadcast(x, *arguments).shape if arguments else np.shape(x), np.nan)
        for piece in self.pieces:
            low, high = piece.low(x, *arguments), piece.high(x, *arguments)
            with np.errstate(all="ignore"):
                values = np.where((x >= low) & (x <= high), piece.energy(x, *arguments), values)
        return values


@cache
def one_body(energy: Energy) -> OneBody:
    """What one variable with this energy does in a field, made once for all models that have the energy."""
    return OneBody(energy)


def _empty(item: Segment | Kink) -> bool:
    if isinstance(item, Segment):
        return bool(np.all(item.low == item.high))
    return bool(np.all(item.start == item.stop))


def root_between(
    function: Callable[[Array], Array], low: Array, high: Array, guess: Array, within: Array | float = 0.0
) -> Array:
    """The root of a rising function between ends that may be infinite, elementwise.

    To rounding, or where the function is ``within`` a distance of 0.
    """
    finite = np.where(np.isfinite(guess), guess, 0.0)
    width = 1.0 + np.abs(finite)
    left, right = np.maximum(low, finite - width), np.minimum(high, finite + width)
    left, right = np.minimum(left, high), np.maximum(right, low)
    for _ in range(200):
        with np.errstate(all="ignore"):
            too_high = (function(left) > 0) & (left > low)
            too_low = (function(right) < 0) & (right < high)
        if not (too_high.any() or too_low.any()):
            break
        width = 2 * width
        left = np.where(too_high, np.maximum(low, left - width), left)
        right = np.where(too_low, np.minimum(high, right + width), right)
    return _between(function, left, right, within)


def _between(function: Callable[[Array], Array], low: Array, high: Array, within: Array | float) -> Array:
    """The root of a rising function in a bracket: inverse quadratic interpolation where it is safe, else bisection.

    Source: Chandrupatla, Adv. Eng. Software 28 (1997) 145.
    """
    with np.errstate(all="ignore"):
        a, b = low, high
        at_a, at_b = function(a), function(b)
        below, above = at_b <= 0, at_a >= 0  # no root inside: the nearest end
        c, at_c, share = a, at_a, np.full_like(a, 0.5)
        for _ in range(_MOST):
            x = a + share * (b - a)
            at_x = function(x)
            same = np.sign(at_x) == np.sign(at_a)
            c, at_c = np.where(same, a, b), np.where(same, at_a, at_b)
            b, at_b = np.where(same, b, a), np.where(same, at_b, at_a)
            a, at_a = x, at_x
            best = np.where(np.abs(at_a) < np.abs(at_b), a, b)
            least = (2 * _EPSILON * np.abs(best) + _SMALLEST) / np.abs(b - c)
            far = np.minimum(np.abs(at_a), np.abs(at_b)) > within
            if not np.any((least <= 0.5) & far & ~below & ~above):
                break
            xi, phi = (a - b) / (c - b), (at_a - at_b) / (at_c - at_b)
            inside = (phi**2 < xi) & ((1 - phi) ** 2 < 1 - xi)
            inverse = at_a / (at_b - at_a) * at_c / (at_b - at_c)
            inverse += (c - a) / (b - a) * at_a / (at_c - at_a) * at_b / (at_c - at_b)
            share = np.clip(np.where(inside, inverse, 0.5), least, 1 - least)
        best = np.where(np.abs(at_a) < np.abs(at_b), a, b)
        return np.where(below, high, np.where(above, low, best))
