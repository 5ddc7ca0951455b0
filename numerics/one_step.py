r"""One step of replica symmetry breaking over flat arrays of points: squared error and linear labels, any spins.

    prompts:  (m, q1, q0, chi) -> (K, M, Q1, Q0)        clusters of spins:  back,        complexity(y) = 0

The equations are those of `replica.theories.one_step`. Where the symmetric solution is stable it is the answer, with
q1 = q0. Elsewhere the map is iterated at a few y, until the complexity changes its sign; between them false position
comes near, and Newton's method solves for y and the order parameters together. Source: this project, notes/glass.md.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.lowering.broken import BrokenSystem, broken
from iclglass.numerics.status import UNSTABLE, Status
from iclglass.numerics.vector_root import GOOD, Step, error_bound, iterate, newton, relative
from iclglass.replica.model import Model

__all__ = ["solve_one_step"]

Array = NDArray[np.float64]

_ORDER = ("m", "q1", "q0", "chi")
_WHOLE = (*_ORDER, "parisi")
_POSITIVE = (1, 2, 3, 4)
_SCAN = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""y times the mean absolute energy of a spin in its field, sqrt(Q q)."""
_SEPARATE = 0.5
"""Share of v that q0 starts with."""
_WEAK = 1e-3
"""y at which fields are about those of the symmetric solution, in which order parameters start."""
_LARGEST_X = 0.999
_NARROWINGS = 6
_ONE = 1e-6
"""Relative distance of q1 and q0 below which they are one."""
_TOLERANCE = 1e-8
_FINE = 1.5
_BLOCK = 64


def solve_one_step(
    model: Model, symmetric: Mapping[str, NDArray[Any]], points: Mapping[str, Array]
) -> dict[str, NDArray[Any]]:
    """Solve the one-step saddle point of a model.

    Parameters
    ----------
    model : replica.model.Model
        Squared error and linear labels.
    symmetric : mapping
        The replica-symmetric solution at the same points, of `numerics.handshake.solve_model`.
    points : mapping
        tau, alpha, alpha_test, rho, T and strengths by the names of their symbols.

    Returns
    -------
    dict
        Arrays over points: those of the symmetric solution, and q1, q0, parisi, complexity. Where nothing breaks they
        are the symmetric ones, q1 = q0 = q, and parisi does not exist.
    """
    found = {name: np.array(array) for name, array in symmetric.items()}
    found |= {"q1": found["q"].copy(), "q0": found["q"].copy()}
    found |= {"parisi": np.full(found["q"].shape, np.nan), "complexity": np.where(np.isfinite(found["q"]), 0.0, np.nan)}
    unstable = found["replicon"] < UNSTABLE
    for thermal in (False, True):
        where = np.flatnonzero(unstable & ((points["T"] > 0) == thermal))
        for start in range(0, where.size, _BLOCK):
            block = where[start : start + _BLOCK]
            own = {name: array[block] for name, array in points.items()}
            start_from = {name: found[name][block] for name in ("m", "q", "chi")}
            with np.errstate(all="ignore"):
                solved = _solve_block(broken(model, thermal=thermal), own, start_from)
            for name, values in solved.items():
                found[name][block] = values
    return found


def _solve_block(
    system: BrokenSystem, points: dict[str, Array], symmetric: Mapping[str, Array]
) -> dict[str, NDArray[Any]]:
    values = _started(points, symmetric)
    weak = np.full(points["tau"].size, _WEAK)
    strength = system.field_strength({**points, **dict(zip(_ORDER, values, strict=True)), "parisi": weak})
    points = points | {"unit": 1 / np.sqrt(strength), "bend": np.ones_like(strength)}

    def step(values: Array, where: Mapping[str, Array], fineness: float = 1.0) -> Array:
        found = system.step({**where, **dict(zip(_ORDER, values, strict=True))}, fineness)
        return np.stack([found[name] for name in _ORDER])

    def whole(values: Array, where: Mapping[str, Array], fineness: float = 1.0) -> Array:
        found = system.step({**where, **dict(zip(_WHOLE, values, strict=True))}, fineness)
        # At the solution the slope of the free energy by y is 0, and y what it was.
        return np.stack(
            [*(found[name] for name in _ORDER), values[-1] * np.exp(_slope(found, values[-1], where) / where["bend"])]
        )

    def at(y: Array, values: Array, where: Mapping[str, Array], *, near: bool) -> tuple[Array, Array, Array]:
        """Order parameters at a y, the slope there, and whether clusters differ."""
        own = {**where, "parisi": y}
        solved, residual = (newton if near else iterate)(step, values, own, _POSITIVE[:-1])
        if near and (far := ~(residual <= GOOD)).any():
            # Close to the line two solutions are close together, and Newton's method alone may find neither.
            again = {name: array[far] for name, array in own.items()}
            solved[:, far], residual[far] = iterate(step, values[:, far], again, _POSITIVE[:-1])
        slope = _slope(system.step({**own, **dict(zip(_ORDER, solved, strict=True))}), y, where)
        return solved, slope, (residual <= GOOD) & (solved[1] - solved[2] > _ONE * solved[1])

    low, high, found = _bracketed(at, values, points)
    solution = np.full((len(_WHOLE), points["tau"].size), np.nan)
    if found.any():
        # In units of its own change the slope says how far off y is.
        points["bend"][found] = ((low[2] - high[2]) / np.log(high[0] / low[0]))[found]
        where = {name: array[found] for name, array in points.items()}
        ends = [tuple(part[..., found] for part in end) for end in (low, high)]
        near = _narrowed(at, ends[0], ends[1], where)
        solution[:, found], _ = newton(whole, near, where, _POSITIVE)
    return _certified(system, whole, solution, points)


def _bracketed(at: Any, values: Array, points: Mapping[str, Array]) -> tuple[Any, Any, NDArray[np.bool_]]:
    """Two neighbours among a few y, with order parameters and slopes, between which the slope changes its sign."""
    size = points["tau"].size
    ends = [(np.full(size, np.nan), np.full(values.shape, np.nan), np.full(size, np.nan)) for _ in range(2)]
    found, seen = np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
    with np.errstate(divide="ignore"):
        most = np.where(points["T"] > 0, _LARGEST_X / points["T"], np.inf)
    for scale in _SCAN:
        places = np.flatnonzero(~found)
        if not places.size:
            break
        where = {name: array[places] for name, array in points.items()}
        y = np.minimum(scale * where["unit"], most[places])
        solved, slope, broken_ = at(y, values[:, places], where, near=False)
        crossed = broken_ & seen[places] & (slope < 0)
        before = broken_ & (slope >= 0)
        for chosen, (ys, orders, slopes) in ((before, ends[0]), (crossed, ends[1])):
            ys[places[chosen]], slopes[places[chosen]] = y[chosen], slope[chosen]
            orders[:, places[chosen]] = solved[:, chosen]
        seen[places[before]] = True
        found[places[crossed]] = True
        values[:, places[broken_]] = solved[:, broken_]
    return ends[0], ends[1], found


def _narrowed(at: Any, low: Any, high: Any, where: Mapping[str, Array]) -> Array:
    """Order parameters and y at which the slope is nearly 0: false position, of which no end stays for long."""
    low, high = ([np.array(part) for part in end] for end in (low, high))
    for _ in range(_NARROWINGS):
        share = low[2] / (low[2] - high[2])
        y = low[0] + np.clip(share, 0.02, 0.98) * (high[0] - low[0])
        solved, slope, good = at(y, low[1] + share * (high[1] - low[1]), where, near=True)
        for keep, other, part in ((low, high, good & (slope >= 0)), (high, low, good & (slope < 0))):
            keep[0][part], keep[2][part] = y[part], slope[part]
            keep[1][:, part] = solved[:, part]
            other[2][part] = other[2][part] / 2
    nearer = np.abs(low[2]) <= np.abs(high[2])
    return np.concatenate([np.where(nearer, low[1], high[1]), np.where(nearer, low[0], high[0])[None]])


def _certified(
    system: BrokenSystem, whole: Step, solution: Array, points: Mapping[str, Array]
) -> dict[str, NDArray[Any]]:
    """All that the system defines at a solution, with its residual and error bound from more nodes."""
    fine = whole(solution, points, _FINE)
    residual = relative(fine, solution)
    found = system.observables({**points, **dict(zip(_WHOLE, solution, strict=True))}, _FINE)
    found |= {"residual": residual, "error_bound": error_bound(whole, solution, fine, points)}
    status = np.full(residual.shape, Status.CONVERGED, dtype=np.int8)
    status[found["replicon"] < UNSTABLE] = Status.RS_UNSTABLE
    failed = ~(residual <= _TOLERANCE)
    status[failed] = Status.NOT_CONVERGED
    for array in found.values():
        array[failed] = np.nan
    return found | {"status": status}


def _slope(found: Mapping[str, Array], y: Array, where: Mapping[str, Array]) -> Array:
    """Of the free energy by y, without a unit. (The complexity vanishes with y, too.)"""
    return np.asarray(found["complexity"] / y**2 * where["unit"] ** 2)


def _started(points: Mapping[str, Array], symmetric: Mapping[str, Array]) -> Array:
    m, q, chi = (symmetric[name] for name in ("m", "q", "chi"))
    own = {**points, "m": m, "q1": q, "q0": m**2 + _SEPARATE * (q - m**2), "chi": chi}
    return np.stack([own[name] for name in _ORDER])
