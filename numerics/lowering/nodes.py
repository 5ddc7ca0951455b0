"""Nodes and weights of a normal field B on one body, placed where its answer is smooth.

The average of F over z ~ N(0, 1), B = mean + deviation z, is a sum over nodes; which ones depends on the body
(`rules`, `cold`, `warm`). A check with more nodes a panel (``fineness``) measures the error; sums of polynomials of low
degree that are exact have none.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.lowering.answers import items_of
from iclglass.numerics.lowering.cold import exact
from iclglass.numerics.lowering.cold import panels as spread
from iclglass.numerics.lowering.one_body import Kink, OneBody, Segment
from iclglass.numerics.lowering.rules import REACH, Nodes
from iclglass.numerics.lowering.warm import common, graded

__all__ = ["averaging_nodes", "jumping"]

Array = NDArray[np.float64]

_FAR = 37.0
"""Standard deviations at which the density is close to underflow."""


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
    energies: bool = True,
    panels: bool = True,
) -> Nodes:
    """Nodes for averages over B ~ N(mean, deviation^2), arrays over points.

    even : the average over z > 0 twice is that over all z, where body and law allow it.
    energies : whether energies are asked for; they may be NaN where not.
    panels : nodes for any smooth integrand; without, they may be few that are right up to `Nodes.degree` only.
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
                    energies=energies,
                    panels=panels,
                )
            )
        return _stacked(rows)
    half = even and body.even and not np.any(mean)
    plain = tilt is None and not edges
    with np.errstate(all="ignore"):
        if not np.all(temperature == 0):
            given = (body, A, mean, deviation, temperature, strengths)
            found = common(*given, fineness, half=half, energies=energies, panels=panels) if plain else None
            if found is None:
                items = _items(body, A, mean, deviation, strengths, REACH, half)
                found = graded(*given, items, edges, fineness, half=half, energies=energies)
        elif plain and not panels and (body.discrete or body.straight):
            # What has few parts is followed to where the density underflows.
            items = _items(body, A, mean, deviation, strengths, _FAR if body.convex else REACH, half)
            found = exact(body, A, mean, deviation, strengths, items, half=half, energies=energies)
        else:
            items = _items(body, A, mean, deviation, strengths, REACH, half)
            found = spread(body, A, mean, deviation, strengths, items, edges, fineness, half=half, energies=energies)
        if tilt is not None:
            found = replace(found, weight=found.weight * tilt(found.z))
    return found


def _items(
    body: OneBody, A: Array, mean: Array, deviation: Array, strengths: Mapping[str, Array], reach: float, half: bool
) -> list[Segment | Kink]:
    bottom = mean + deviation * (0.0 if half else -reach)
    return items_of(body, A, bottom, mean + deviation * reach, strengths)


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
    names = [name for name in Nodes.__annotations__ if name != "degree"]

    def padded(array: Array) -> Array:
        return np.pad(array, ((0, 0), (0, longest - array.shape[1])))

    together = {name: np.concatenate([padded(getattr(row, name)) for row in rows]) for name in names}
    return Nodes(**together, degree=rows[0].degree)
