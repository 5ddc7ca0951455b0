r"""Nodes at T > 0, in z: exact where x is linear in B, equally spaced where it is analytic, else panels.

Panels shrink towards kinks and jumps down to the width over which temperature rounds them.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.lowering.one_body import Kink, OneBody, Segment
from iclglass.numerics.lowering.rules import REACH, Nodes, normal_density, panel, spaced, spacing
from iclglass.numerics.lowering.thermal import moments

__all__ = ["common", "graded"]

Array = NDArray[np.float64]

_FULL, _GRADED = 40, 14
"""Nodes on each of at most two panels, and of more."""
_BENDS = 12
"""Panels of a bent segment."""
_RATIO = 4.0
_COARSE = (0.2, 0.4, 0.6, 0.8)
"""Further ends of panels, as shares of the law's range."""
_MOST_SPACED = 150
"""Equally spaced nodes to one side, beyond which graded panels are fewer."""


def common(
    body: OneBody,
    A: Array,
    mean: Array,
    deviation: Array,
    temperature: Array,
    strengths: Mapping[str, Array],
    fineness: float,
    *,
    half: bool,
    energies: bool,
    panels: bool,
) -> Nodes | None:
    """Nodes that all points share; None where the answer of one of them is too steep, or not analytic."""
    degree = 2 if body.parabola and not panels else None
    if degree is not None:
        z, weight = (np.ones(1), np.ones(1)) if half else (np.array([-1.0, 1.0]), np.full(2, 0.5))
    elif body.parabola or body.discrete:
        pole = np.full_like(A, np.inf)
        if body.discrete:
            pole = np.pi * temperature / body.widest_gap(strengths) / deviation
        step = spacing(pole) / fineness
        if not step > REACH / _MOST_SPACED:
            return None
        z, weight = spaced(step, half=half)
    else:
        return None
    z, weight = (np.broadcast_to(each, (A.size, each.size)) for each in (z, weight))
    return _nodes(body, A, mean, deviation, temperature, strengths, z, weight, fineness, energies, degree)


def graded(
    body: OneBody,
    A: Array,
    mean: Array,
    deviation: Array,
    temperature: Array,
    strengths: Mapping[str, Array],
    items: list[Segment | Kink],
    edges: tuple[Array, ...],
    fineness: float,
    *,
    half: bool,
    energies: bool,
) -> Nodes:
    """Panels with ends at kinks, jumps and ``edges``."""
    lowest, highest = np.full_like(A, 0.0 if half else -REACH), np.full_like(A, REACH)
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
    parts = (panel(ordered[k], ordered[k + 1], count) for k in used)
    z, dz = (np.concatenate(each, axis=1) for each in zip(*parts, strict=True))
    weight = dz * normal_density(z) * (2.0 if half else 1.0)
    return _nodes(body, A, mean, deviation, temperature, strengths, z, weight, fineness, energies)


def _nodes(
    body: OneBody,
    A: Array,
    mean: Array,
    deviation: Array,
    temperature: Array,
    strengths: Mapping[str, Array],
    z: Array,
    weight: Array,
    fineness: float,
    energies: bool,
    degree: int | None = None,
) -> Nodes:
    B = mean[:, None] + deviation[:, None] * z
    found = moments(body, A, B, temperature, strengths, fineness, energies=energies)
    column = A[:, None]
    force, force_slope = column * found.mean - B, column * found.response - 1
    excess = found.free + B**2 / (2 * column)
    if body.parabola:
        # The same, of which little would be left where A is large.
        piece, arguments = body.pieces[0], tuple(each[:, None] for each in body.arguments(strengths))
        bend = piece.curvature(found.mean, *arguments)
        force = np.broadcast_to(-piece.slope(found.mean, *arguments), B.shape)
        force_slope = np.broadcast_to(-bend / (column + bend), B.shape)
        T = temperature[:, None]
        excess = piece.energy(found.mean, *arguments) + force**2 / (2 * column)
        excess = excess - T * np.log(2 * np.pi * T / (column + bend)) / 2
    pulls = (found.mean, found.response, force, force_slope)
    return Nodes(z, weight, B, *pulls, found.energy, found.free, excess, found.nonzero, degree)


def _grade(stops: list[Array], at: Array, width: Array) -> None:
    """Panel ends around a place, at distances that grow from ``width`` until the whole law is reached."""
    stops.append(at)
    with np.errstate(all="ignore"):
        most = np.nanmax(np.where(width > 0, 2 * REACH / width, np.nan), initial=1.0)
    for power in range(int(np.ceil(np.log(min(most, 1e12)) / np.log(_RATIO))) + 1):
        stops += [at - width * _RATIO**power, at + width * _RATIO**power]
