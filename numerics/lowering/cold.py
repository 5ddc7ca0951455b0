r"""Nodes at T = 0, placed by the parts of x(B).

Where every part is a straight line, two nodes a part are exact. Otherwise panels: the variable of one inside a segment
is x, in which B = A x + E'(x) is explicit, so that nothing is solved at a node; on a kink it is B.
"""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.lowering.one_body import Kink, OneBody, Segment
from iclglass.numerics.lowering.rules import Nodes, normal_density, panel, truncated

__all__ = ["exact", "panels"]

Array = NDArray[np.float64]

_FULL, _PANEL, _BENT = 40, 22, 10
"""Nodes on a straight panel over what may be the whole law, over half of it, and on each panel of a bent segment."""
_BENDS = 12
"""Panels of a bent segment."""
_MANY = 8
"""Kinks from which each is narrow beside the law."""


def exact(
    body: OneBody,
    A: Array,
    mean: Array,
    deviation: Array,
    strengths: Mapping[str, Array],
    items: list[Segment | Kink],
    *,
    half: bool,
    energies: bool,
) -> Nodes:
    """Two nodes on each part, where x is linear in B."""
    arguments = body.arguments(strengths)
    bounds: list[tuple[Array, Array]] = []
    lines: list[tuple[Array, Array, Array]] = []
    zero = np.zeros_like(A)
    for item in items:
        if isinstance(item, Kink):
            bounds.append((item.start, item.stop))
            lines.append((item.at, zero + np.inf, zero))
        else:
            piece = body.pieces[item.piece]
            base, bend = piece.slope(zero, *arguments), piece.curvature(zero, *arguments)
            low, high = (body.field(item.piece, end, A, arguments) for end in (item.low, item.high))
            bounds.append((low, high))
            lines.append((zero, zero + bend, zero + base))
    starts, stops = (np.stack(each, axis=1) for each in zip(*bounds, strict=True))
    rests, bends, bases = (np.stack(each, axis=1)[:, :, None] for each in zip(*lines, strict=True))
    ends = ((each - mean[:, None]) / deviation[:, None] for each in (starts, stops))
    z, weight = truncated(*ends)
    if half:
        weight = 2 * weight
    B = mean[:, None, None] + deviation[:, None, None] * z
    column = A[:, None, None]
    x = rests + (B - bases) / (column + bends)
    force = np.where(np.isinf(bends), column * rests - B, -bases - bends * x)
    energy = np.stack([
        _energy(body, item, x[:, number], arguments) for number, item in enumerate(items)
    ], axis=1) if energies else None  # fmt: skip
    z, weight, B, x, force, bend = (
        each.reshape(len(A), -1) for each in (z, weight, B, x, force, np.broadcast_to(bends, B.shape))
    )
    moves = np.array([isinstance(item, Segment) for item in items])[:, None]
    nonzero = np.broadcast_to(moves | (rests != 0), (*starts.shape, 2))
    return _nodes(A, z, weight, B, x, force, bend, energy, nonzero, degree=2)


def _energy(body: OneBody, item: Segment | Kink, x: Array, arguments: tuple[Array, ...]) -> Array:
    columns = tuple(each[:, None] for each in arguments)
    if isinstance(item, Kink):
        return np.broadcast_to(body.value(item.at[:, None], columns), x.shape)
    return np.broadcast_to(body.pieces[item.piece].energy(x, *columns), x.shape)


def _nodes(
    A: Array,
    z: Array,
    weight: Array,
    B: Array,
    x: Array,
    force: Array,
    bend: Array,
    energy: Array | None,
    nonzero: Array,
    degree: int | None = None,
) -> Nodes:
    """With what follows from x and E''(x), infinite at a kink; energies are NaN where nobody asks for them."""
    column = A[:, None]
    # Not as A dx/dB - 1, of which little is left where A is large.
    force_slope = np.where(np.isinf(bend), -1.0, -bend / (column + bend))
    if energy is None:
        energy = free = excess = np.broadcast_to(np.nan, x.shape)
    else:
        energy = energy.reshape(x.shape)
        free, excess = energy + column * x**2 / 2 - B * x, energy + force**2 / (2 * column)
    nonzero = 1.0 * nonzero.reshape(x.shape)
    return Nodes(z, weight, B, x, 1 / (column + bend), force, force_slope, energy, free, excess, nonzero, degree)


def panels(
    body: OneBody,
    A: Array,
    mean: Array,
    deviation: Array,
    strengths: Mapping[str, Array],
    items: list[Segment | Kink],
    edges: tuple[Array, ...],
    fineness: float,
    *,
    half: bool,
    energies: bool,
) -> Nodes:
    """Panels on each part."""
    column, arguments = A[:, None], tuple(each[:, None] for each in body.arguments(strengths))
    flat = body.arguments(strengths)
    fields = [mean + deviation * edge for edge in edges]
    parts: list[tuple[Array, ...]] = []

    def also(item: Segment | Kink, x: Array) -> tuple[Array, ...]:
        return (_energy(body, item, x, flat),) if energies else ()

    for item in items:
        if isinstance(item, Kink):
            stops = _sorted([item.start, *(np.clip(field, item.start, item.stop) for field in fields), item.stop])
            for start, stop in pairwise(stops):
                count = _BENT if len(items) > _MANY else _PANEL if half else _FULL
                B, dB = panel(start, stop, round(fineness * count))
                x = np.broadcast_to(item.at[:, None], B.shape)
                parts.append((B, dB, x, column * x - B, np.full_like(B, np.inf), *also(item, x)))
            continue
        piece = body.pieces[item.piece]
        inner = [body.on_piece(item.piece, field, item.low, item.high, A, flat) for field in fields]
        stops = _sorted([item.low, *inner, item.high])
        for start, stop in pairwise(stops):
            number = 1 if piece.linear else max(4, -(-_BENDS // (len(stops) - 1)))
            count = round(fineness * (_BENT if not piece.linear else _PANEL if half else _FULL))
            for part in range(number):
                low, high = (start + (stop - start) * share / number for share in (part, part + 1))
                x, dx = panel(low, high, count)
                slope = np.broadcast_to(piece.slope(x, *arguments), x.shape)
                bend = np.broadcast_to(piece.curvature(x, *arguments), x.shape)
                parts.append((column * x + slope, dx * (column + bend), x, -slope, bend, *also(item, x)))
    B, dB, x, force, bend, *energy = (np.concatenate(each, axis=1) for each in zip(*parts, strict=True))
    spread = deviation[:, None]
    z = (B - mean[:, None]) / spread
    weight = dB / spread * normal_density(z) * (2.0 if half else 1.0)
    return _nodes(A, z, weight, B, x, force, bend, energy[0] if energy else None, x != 0)


def _sorted(stops: list[Array]) -> list[Array]:
    return stops if len(stops) == 2 else list(np.sort(np.stack(stops), axis=0))
