r"""Nodes and weights of a normal field B on one body, placed where its answer is smooth.

The average of F over z ~ N(0, 1), B = mean + deviation z, is a sum over Gauss-Legendre panels. At T = 0 a panel lies
inside one segment of x(B), and its variable is x, in which B = A x + E'(x) is explicit: nothing is solved at a node.
On a kink the variable is z. At T > 0 the variable is z, with panels that shrink towards kinks and jumps down to the
width over which temperature rounds them. A check with more nodes a panel (``fineness``) measures the error.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.lowering.answers import items_of
from iclglass.numerics.lowering.one_body import Kink, OneBody, Segment
from iclglass.numerics.lowering.thermal import Moments, moments

__all__ = ["Nodes", "averaging_nodes", "jumping"]

Array = NDArray[np.float64]

_REACH = 8.5
"""Standard deviations that are integrated over: what is beyond weighs 2e-17."""
_FULL, _PANEL, _BENT = 40, 22, 10
"""Nodes on a straight panel over what may be the whole law, over half of it, and on each panel of a bent segment."""
_BENDS = 12
"""Panels of a bent segment."""
_MANY = 8
"""Kinks from which each is narrow beside the law."""
_GRADED = 14
_RATIO = 4.0
_COARSE = (0.2, 0.4, 0.6, 0.8)
"""Further ends of panels at T > 0, as shares of the law's range."""


@dataclass(frozen=True)
class Nodes:
    """Arrays (points, nodes): z, weight, and what one body does in the field B there.

    x : mean of the variable.  response : dx/dB at T = 0, (mean square fluctuation)/T at T > 0.  force : A x - B.
    energy : mean E(x).  free : free energy of the body, at T = 0 min E + A x^2/2 - B x.  nonzero : share of x != 0.
    """

    z: Array
    weight: Array
    B: Array
    x: Array
    response: Array
    force: Array
    energy: Array
    free: Array
    nonzero: Array


@cache
def _rule(count: int) -> tuple[Array, Array]:
    x, w = np.polynomial.legendre.leggauss(count)
    return (x + 1) / 2, w / 2


def _between(low: Array, high: Array, count: int) -> tuple[Array, Array]:
    """Nodes and weights of one panel, (points, count)."""
    x, w = _rule(count)
    width = (high - low)[:, None]
    return low[:, None] + width * x, width * w


def averaging_nodes(
    body: OneBody,
    A: Array,
    mean: Array,
    deviation: Array,
    temperature: Array,
    strengths: Mapping[str, Array],
    *,
    even: bool = False,
    tilt: Callable[[Array], Array] | None = None,
    edges: tuple[Array, ...] = (),
    fineness: float = 1.0,
    free: bool = True,
) -> Nodes:
    """Nodes for averages over B ~ N(mean, deviation^2), arrays over points.

    even : the average over z > 0 twice is that over all z, where body and law allow it.
    free : whether free energies are asked for; at T > 0 they are NaN where not.
    tilt : further factor of the density, a function of z.    edges : z at which it is not smooth on the scale of one.
    All points have T = 0, or all T > 0.
    """
    if not body.convex and not body.discrete and A.size > 1:
        # The envelope of each point has its own number of parts.
        rows = []
        for k in range(A.size):
            own = {name: array[k : k + 1] for name, array in strengths.items()}
            law = None if tilt is None else _tilt_of(tilt, k, A.size)
            A_k, mean_k, deviation_k, T_k = (each[k : k + 1] for each in (A, mean, deviation, temperature))
            ends = tuple(edge[k : k + 1] for edge in edges)
            rows.append(
                averaging_nodes(
                    body,
                    A_k,
                    mean_k,
                    deviation_k,
                    T_k,
                    own,
                    even=even,
                    tilt=law,
                    edges=ends,
                    fineness=fineness,
                    free=free,
                )
            )
        return _stacked(rows)
    half = even and body.even and not np.any(mean)
    lowest = np.zeros_like(A) if half else np.full_like(A, -_REACH)
    highest = np.full_like(A, _REACH)
    with np.errstate(all="ignore"):
        bottom, top = mean + deviation * lowest, mean + deviation * highest
        items = items_of(body, A, bottom, top, strengths)
        if np.all(temperature == 0):
            found = _cold(body, A, mean, deviation, strengths, items, edges, fineness, half)
        else:
            found = _warm(
                body, A, mean, deviation, temperature, strengths, items, (lowest, highest), edges, fineness, free
            )
        density = np.exp(-(found.z**2) / 2) / np.sqrt(2 * np.pi)
        if tilt is not None:
            density = density * tilt(found.z)
        weight = np.where(found.weight == 0, 0.0, found.weight * density) * (2.0 if half else 1.0)
    return Nodes(**{**found.__dict__, "weight": weight})


def jumping(nodes: Nodes) -> NDArray[np.bool_]:
    """Whether x jumps at T = 0, per point: x changes where its field does not, beyond what its slope explains."""
    order = np.argsort(np.where(nodes.weight > 0, nodes.B, np.inf), axis=1)
    sorted_ = (nodes.B, nodes.x, nodes.weight, nodes.response)
    B, x, weight, slope = (np.take_along_axis(each, order, axis=1) for each in sorted_)
    mirrored = np.all(B[:, :1] > 0) and np.all(np.isfinite(B[:, :1]))
    if mirrored:  # half of an odd answer: it goes through 0
        B, x, weight, slope = (np.concatenate([sign * each[:, :1], each], axis=1)
                               for sign, each in ((-1, B), (-1, x), (1, weight), (1, slope)))  # fmt: skip
    step, wide = np.diff(x, axis=1), np.diff(B, axis=1)
    steepest = np.maximum(slope[:, 1:], slope[:, :-1])
    seen = (weight[:, 1:] > 0) & (weight[:, :-1] > 0)
    with np.errstate(all="ignore"):
        return np.any(seen & (step > 3 * steepest * wide + 1e-9 * np.abs(x[:, 1:])), axis=1)


def _tilt_of(tilt: Callable[[Array], Array], row: int, rows: int) -> Callable[[Array], Array]:
    """The factor of one point's density, from that of all points."""
    return lambda z: tilt(np.broadcast_to(z, (rows, z.shape[1])))[row : row + 1]


def _stacked(rows: list[Nodes]) -> Nodes:
    """Nodes of single points as those of all, padded with nodes of weight 0."""
    longest = max(row.z.shape[1] for row in rows)
    names = Nodes.__annotations__

    def padded(array: Array) -> Array:
        return np.pad(array, ((0, 0), (0, longest - array.shape[1])))

    return Nodes(**{name: np.concatenate([padded(getattr(row, name)) for row in rows]) for name in names})


def _cold(
    body: OneBody,
    A: Array,
    mean: Array,
    deviation: Array,
    strengths: Mapping[str, Array],
    items: list[Segment | Kink],
    edges: tuple[Array, ...],
    fineness: float,
    half: bool,
) -> Nodes:
    column, arguments = A[:, None], tuple(each[:, None] for each in body.arguments(strengths))
    fields = [mean + deviation * edge for edge in edges]
    parts: list[tuple[Array, ...]] = []
    if body.discrete:
        parts.append(_on_levels(column, [item for item in items if isinstance(item, Kink)], half, fineness))
    for item in items if not body.discrete else ():
        if isinstance(item, Kink):
            stops = _sorted([item.start, *(np.clip(field, item.start, item.stop) for field in fields), item.stop])
            for start, stop in pairwise(stops):
                count = _BENT if len(items) > _MANY else _PANEL if half else _FULL
                B, dB = _between(start, stop, round(fineness * count))
                x = np.broadcast_to(item.at[:, None], B.shape)
                energy = np.broadcast_to(body.value(item.at[:, None], arguments), B.shape)
                parts.append((B, dB, x, np.zeros_like(B), column * x - B, energy, 1.0 * (x != 0)))
            continue
        piece = body.pieces[item.piece]
        flat = tuple(each[:, 0] for each in arguments)
        inner = [body.on_piece(item.piece, field, item.low, item.high, A, flat) for field in fields]
        stops = _sorted([item.low, *inner, item.high])
        for start, stop in pairwise(stops):
            panels = 1 if piece.linear else max(4, -(-_BENDS // (len(stops) - 1)))
            count = round(fineness * (_BENT if not piece.linear else _PANEL if half else _FULL))
            for number in range(panels):
                low, high = (start + (stop - start) * share / panels for share in (number, number + 1))
                x, dx = _between(low, high, count)
                slope = np.broadcast_to(piece.slope(x, *arguments), x.shape)
                bend = np.broadcast_to(piece.curvature(x, *arguments), x.shape)
                stiffness = column + bend
                energy = np.broadcast_to(piece.energy(x, *arguments), x.shape)
                parts.append((column * x + slope, dx * stiffness, x, 1 / stiffness, -slope, energy, np.ones_like(x)))
    B, dB, x, response, force, energy, nonzero = (np.concatenate(each, axis=1) for each in zip(*parts, strict=True))
    free = energy + column * x**2 / 2 - B * x
    spread = deviation[:, None]
    return Nodes((B - mean[:, None]) / spread, dB / spread, B, x, response, force, energy, free, nonzero)


def _on_levels(column: Array, items: list[Kink], half: bool, fineness: float) -> tuple[Array, ...]:
    """The panels of all levels at once: there may be hundreds."""
    count = round(fineness * (_BENT if len(items) > _MANY else _PANEL if half or len(items) > 1 else _FULL))
    columns = zip(*((item.at, item.start, item.stop) for item in items), strict=True)
    levels, starts, stops = (np.stack(each, axis=1) for each in columns)
    u, w = _rule(count)
    wide = (stops - starts)[:, :, None]
    rows = len(column)
    B, dB = (starts[:, :, None] + wide * u).reshape(rows, -1), (wide * w).reshape(rows, -1)
    x = np.repeat(levels, count, axis=1)
    zero = np.zeros_like(B)
    return B, dB, x, zero, column * x - B, zero, 1.0 * (x != 0)


def _warm(
    body: OneBody,
    A: Array,
    mean: Array,
    deviation: Array,
    temperature: Array,
    strengths: Mapping[str, Array],
    items: list[Segment | Kink],
    window: tuple[Array, Array],
    edges: tuple[Array, ...],
    fineness: float,
    free: bool,
) -> Nodes:
    lowest, highest = window
    arguments = body.arguments(strengths)
    stops = [lowest, highest, *edges]

    def add(field: Array) -> None:
        stops.append((field - mean) / deviation)

    previous: Array | None = None
    for item in items:
        start = item.low if isinstance(item, Segment) else item.at
        if previous is not None and body.discrete and isinstance(item, Kink):
            # A jump is rounded over a width of T over its size.
            _grade(stops, (item.start - mean) / deviation, temperature / (start - previous) / deviation)
        width = np.sqrt(temperature * A) / deviation
        if isinstance(item, Segment) and previous is not None and not body.discrete:
            # Pieces that meet without a kink still bend there.
            _grade(stops, (body.field(item.piece, item.low, A, arguments) - mean) / deviation, width)
        if isinstance(item, Kink) and not body.discrete:
            for field in (item.start, item.stop):
                _grade(stops, (field - mean) / deviation, width)
        if isinstance(item, Segment) and not body.pieces[item.piece].linear:
            for number in range(_BENDS + 1):
                x = item.low + (item.high - item.low) * number / _BENDS
                add(body.field(item.piece, x, A, arguments))
        previous = item.high if isinstance(item, Segment) else item.at
    if len(stops) > 2:
        stops += [lowest + share * (highest - lowest) for share in _COARSE]
    ordered = np.sort(np.clip(np.stack(stops), lowest, highest), axis=0)
    used = [number for number in range(len(ordered) - 1) if np.any(ordered[number] < ordered[number + 1])]
    count = round(fineness * (_FULL if len(used) <= 2 else _GRADED))
    z, dz = (np.concatenate(each, axis=1)
             for each in zip(*(_between(ordered[k], ordered[k + 1], count) for k in used), strict=True))  # fmt: skip
    B = mean[:, None] + deviation[:, None] * z
    found: Moments = moments(body, A, B, temperature, strengths, fineness, free=free)
    force = A[:, None] * found.mean - B
    return Nodes(z, dz, B, found.mean, found.response, force, found.energy, found.free, found.nonzero)


def _grade(stops: list[Array], at: Array, width: Array) -> None:
    """Panel ends around a place, at distances that grow from ``width`` until the whole law is reached."""
    stops.append(at)
    with np.errstate(all="ignore"):
        most = np.nanmax(np.where(width > 0, 2 * _REACH / width, np.nan), initial=1.0)
    for power in range(int(np.ceil(np.log(min(most, 1e12)) / np.log(_RATIO))) + 1):
        stops += [at - width * _RATIO**power, at + width * _RATIO**power]


def _sorted(stops: list[Array]) -> list[Array]:
    return stops if len(stops) == 2 else list(np.sort(np.stack(stops), axis=0))
