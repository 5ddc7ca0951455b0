r"""The saddle point of any model: order parameters and fields that answer each other.

    prompts:  (m, q, chi) -> (K, M, Q)        spins:  (K, M, Q) -> (m, q, chi)

Both maps are a System's, derived in `replica.system` and lowered in `numerics.lowering`. They are iterated with damping
until they are near, then Newton's method with a Jacobian by differences takes over, elementwise over a grid. The
residual of the answer is taken with more nodes than it was found with, so that residual and error bound hold the
quadrature's error, too. Source: this project, notes/models.md; theory: the replica-symmetric solution.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from iclglass.numerics.lowering.compiled import CompiledSystem, compiled
from iclglass.numerics.status import UNSTABLE, Status
from iclglass.numerics.vector_root import GOOD, Step, error_bound, iterate, jacobian, newton, relative
from iclglass.replica.model import Model

__all__ = ["ORDER", "slopes", "solve_model"]

Array = NDArray[np.float64]

ORDER = ("m", "q", "chi")
_POSITIVE = (1, 2)
_TOLERANCE = 1e-9
_STARTS = ((0.5, 0.5, 0.5), (1e-3, 1e-3, 1e-2), (0.95, 1.0, 0.05), (0.5, 30.0, 10.0))
"""m, q, chi: between all, without knowledge, with it, and far out. A convex model needs the first only."""
_SAME = 1e-6
_FINE = 1.5
_BLOCK, _SMALL_BLOCK = 4096, 512
"""Points at once: nodes on all of them should stay in the processor's cache."""


def solve_model(
    model: Model,
    strengths: Mapping[str, ArrayLike],
    *,
    task_diversity: ArrayLike,
    context_length: ArrayLike,
    test_context_length: ArrayLike | None = None,
    label_noise: ArrayLike = 0.0,
    temperature: ArrayLike = 0.0,
    diagonal_dimension: int | None = None,
) -> dict[str, NDArray[Any]]:
    """Solve the replica-symmetric saddle point of a model over flat arrays of points.

    Parameters
    ----------
    model : replica.model.Model
        Loss, penalty, spins and labels.
    strengths : mapping
        Values of the model's free symbols by name: lam, l1, spacing, huber_threshold.
    task_diversity, context_length, test_context_length, label_noise, temperature : array_like
        tau, alpha, alpha of the test prompts, rho, T; broadcast to one axis.
    diagonal_dimension : int, optional
        The penalty of the diagonal spins is taken at this D instead of D -> infinity.

    Returns
    -------
    dict
        Arrays over points by name: order parameters, observables, residual, error_bound, status. A point that was not
        solved is NaN.

    Examples
    --------
    >>> from iclglass.replica.model import linear_attention
    >>> found = solve_model(linear_attention(), {"lam": 1.0}, task_diversity=3, context_length=5)
    >>> bool(abs(found["e_icl"][0] - 9 / 22) < 1e-12)
    True
    """
    given = {"tau": task_diversity, "alpha": context_length, "rho": label_noise, "T": temperature, **strengths}
    given["alpha_test"] = context_length if test_context_length is None else test_context_length
    names = list(given)
    arrays = np.broadcast_arrays(*(np.atleast_1d(np.asarray(given[name], dtype=np.float64)) for name in names))
    points = {name: np.array(array).ravel() for name, array in zip(names, arrays, strict=True)}
    size = points["tau"].size
    if diagonal_dimension is not None:
        points["D"] = np.full(size, float(diagonal_dimension))
    result: dict[str, NDArray[Any]] = {}
    for thermal in (False, True):
        where = np.flatnonzero((points["T"] > 0) == thermal)
        if not where.size:
            continue
        system = compiled(model, thermal=thermal)
        # Points of one temperature need about the same nodes.
        where = where[np.argsort(points["T"][where], kind="stable")]
        most = _BLOCK if system.few_nodes else _SMALL_BLOCK
        for start in range(0, where.size, most):
            block = where[start : start + most]
            # A point beyond floating point is NaN with a status, and no warning.
            with np.errstate(all="ignore"):
                solved = _solve_block(system, {name: array[block] for name, array in points.items()})
            for name, values in solved.items():
                if name not in result:
                    result[name] = np.full(size, np.nan) if name != "status" else np.zeros(size, dtype=np.int8)
                result[name][block] = values
    return result


def slopes(system: CompiledSystem, values: Array, points: Mapping[str, Array]) -> Array:
    """d step/d(m, q, chi) at values (3, points) of them, (points, 3, 3)."""
    step = _step_of(system)
    return jacobian(step, values, step(values, points, 1.0), points)


def _step_of(system: CompiledSystem) -> Step:
    def step(values: Array, where: Mapping[str, Array], fineness: float = 1.0) -> Array:
        found = system.step({**where, **dict(zip(ORDER, values, strict=True))}, fineness)
        return np.stack([found[name] for name in ORDER])

    return step


def _solve_block(system: CompiledSystem, points: dict[str, Array]) -> dict[str, NDArray[Any]]:
    """From one start, or from several the solution of least free energy and the number of different ones."""
    if system.unique or "nuclear" in points:
        return _solved_from(_STARTS[0], system, points)
    found = [_solved_from(start, system, points) for start in _STARTS]
    free = np.stack([np.where(np.isnan(each["free_energy"]), np.inf, each["free_energy"]) for each in found])
    best = np.argmin(free, axis=0)[None]
    taken = {name: np.take_along_axis(np.stack([each[name] for each in found]), best, 0)[0] for name in found[0]}
    return taken | {"solutions": _different([np.stack([each[name] for name in ORDER]) for each in found])}


def _different(solutions: list[Array]) -> Array:
    """How many solutions differ from all before them, per point; those that were not found are NaN."""
    count = np.zeros(solutions[0].shape[1])
    for number, values in enumerate(solutions):
        new = np.all(np.isfinite(values), axis=0)
        for known in solutions[:number]:
            new &= ~np.all(np.abs(values - known) <= _SAME * np.abs(known) + _SAME, axis=0)
        count += new
    return np.where(count > 0, count, np.nan)


def _solved_from(start: tuple[float, ...], system: CompiledSystem, points: dict[str, Array]) -> dict[str, NDArray[Any]]:
    step = _step_of(system)
    values, residual = iterate(step, np.repeat(np.array(start)[:, None], points["tau"].size, axis=1), points, _POSITIVE)
    fine, bound = _certified(step, values, points)
    # Where more nodes say something else, they are used.
    for fineness in (2.0, 4.0):
        rough = (residual <= GOOD) & ~(fine <= _TOLERANCE)
        if not rough.any():
            break
        where = {name: array[rough] for name, array in points.items()}

        def finer(values: Array, where: Mapping[str, Array], more: float = 1.0, base: float = fineness) -> Array:
            return step(values, where, base * more)

        values[:, rough], residual[rough] = newton(finer, values[:, rough], where, _POSITIVE)
        fine[rough], bound[rough] = _certified(finer, values[:, rough], where)
    order = dict(zip(ORDER, values, strict=True))
    fields = system.fields({**points, **order}, _FINE)
    found: dict[str, NDArray[Any]] = {**order, **system.observables({**points, **order, **fields}, _FINE)}
    found |= {"residual": fine, "error_bound": bound}
    found["status"] = _status(found, points, fine)
    failed = ~np.isin(found["status"], (Status.CONVERGED, Status.RS_UNSTABLE))
    for name, array in found.items():
        if name != "status":
            array[failed] = np.nan
    return found


def _certified(step: Step, values: Array, points: Mapping[str, Array]) -> tuple[Array, Array]:
    """Residual with more nodes, and the error bound that follows from it."""
    fine = step(values, points, _FINE)
    return relative(fine, values), error_bound(step, values, fine, points)


def _status(found: Mapping[str, Array], points: Mapping[str, Array], residual: Array) -> NDArray[np.int8]:
    status = np.full(residual.shape, Status.CONVERGED, dtype=np.int8)
    status[found["replicon"] < UNSTABLE] = Status.RS_UNSTABLE
    status[~(residual <= _TOLERANCE)] = Status.NOT_CONVERGED
    status[~np.all([np.isfinite(found[name]) for name in ORDER], axis=0)] = Status.NOT_FINITE
    return status
