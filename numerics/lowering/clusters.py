r"""Averages over one step of replica symmetry breaking: clusters of one spin, and the field that all clusters share.

A cluster weighs the field h + sqrt(v) z with exp(-y F), F the free energy of the spin in it. Its nodes are those of a
normal field of twice the width (`nodes.averaging_nodes`: panels end where the spin has kinks or jumps), so that weights
which favour strong fields are still inside; the density is put right by a factor. What comes out is smooth in the
common field h, over which equally spaced nodes sum.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.lowering.nodes import averaging_nodes
from iclglass.numerics.lowering.one_body import OneBody
from iclglass.numerics.lowering.rules import spaced

__all__ = ["Clusters", "clusters"]

Array = NDArray[np.float64]

_WIDER = 2.0
_STEP = 0.25
"""Distance of nodes of the common field, in units of the width over which clusters smooth it, or of its own."""
_LEAST = 0.02


@dataclass(frozen=True)
class Clusters:
    """Arrays (points, nodes of the common field): weights, and means in a cluster, by the names of the theory's nodes.

    response : by parts, so that it counts jumps.    response_square : infinite where there are any.
    """

    weight: Array
    values: Mapping[str, Array]


def clusters(
    body: OneBody,
    K: Array,
    common: Array,
    variance: Array,
    parisi: Array,
    temperature: Array,
    strengths: Mapping[str, Array],
    fineness: float = 1.0,
) -> Clusters:
    """Means in clusters at nodes of the common field.

    common, variance : Q0, and Q1 - Q0 > 0, of the fields.    parisi : y = x/T.
    All points have T = 0, or all T > 0.
    """
    half = body.even
    narrowest = float(np.nanmin(np.sqrt(variance / (variance + common)), initial=1.0))
    z, weight = spaced(max(_LEAST, _STEP * narrowest) / fineness, half=half)
    shape = (K.size, z.size)

    def each(array: Array) -> Array:
        return np.repeat(array, z.size)

    own = {name: each(array) for name, array in strengths.items()}
    mean = (np.sqrt(common)[:, None] * z).ravel()
    spread = each(np.sqrt(variance))
    inner = averaging_nodes(
        body, each(K), mean, _WIDER * spread, each(temperature), own, fineness=_WIDER * fineness, panels=True
    )
    within, y = _WIDER * inner.z, each(parisi)[:, None]
    log = -y * inner.free - (_WIDER**2 - 1) * inner.z**2 / 2
    log = np.where(inner.weight > 0, log, -np.inf)
    top = np.max(log, axis=1, keepdims=True)
    tilted = _WIDER * inner.weight * np.exp(log - top)
    total = tilted.sum(axis=1, keepdims=True)
    tilted = tilted / total

    def average(values: Array) -> Array:
        return np.asarray(np.sum(np.where(tilted > 0, tilted * values, 0.0), axis=1))

    spin, square = average(inner.x), average(inner.x**2)
    jumps = bool(np.all(temperature == 0)) and (body.discrete or not body.convex)
    # By parts in the field between clusters: jumps of the spin count.
    response = average(within * inner.x) / spread - y[:, 0] * square if jumps else average(inner.response)
    found = {
        "cluster_spin": spin,
        "cluster_square": square,
        "cluster_response": response,
        "cluster_response_square": np.full_like(spin, np.inf) if jumps else average(inner.response**2),
        "cluster_free": -(top + np.log(total))[:, 0] / y[:, 0],
        "cluster_mean_free": average(inner.free),
        "cluster_penalty": average(inner.energy),
        "cluster_nonzero": average(inner.nonzero),
    }
    return Clusters(np.broadcast_to(weight, shape), {name: array.reshape(shape) for name, array in found.items()})
