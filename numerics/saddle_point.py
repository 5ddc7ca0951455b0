r"""solve(...): the saddle point and all observables, over grids of parameters.

The default evaluates the generated closed form in blocks that fit the cache; the residual of the saddle-point
equations is then computed from the equations themselves, and from it and their Jacobian a bound on the relative error
of the order parameters. ``method="iteration"`` iterates the equations to their fixed point instead and evaluates the
observables as they were derived: slower, less exact near the interpolation threshold, and independent.
"""

from collections.abc import Callable
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics import generated_numpy
from iclglass.numerics.arguments import check_callable, check_choice, check_flag
from iclglass.numerics.errors import ConvergenceError, ParameterError
from iclglass.numerics.fixed_point import iterate
from iclglass.numerics.keywords import by_name
from iclglass.numerics.last_row import refuse_without_dimension
from iclglass.numerics.model_choice import is_builtin
from iclglass.numerics.parameters import Given, Parameters, collected
from iclglass.numerics.pool import pool_saddle_point
from iclglass.numerics.solution import DIAGNOSTICS, OBSERVABLES, SENTENCES, Solution
from iclglass.numerics.status import Status
from iclglass.numerics.task_spectrum import ISOTROPIC, TaskSpectrum

__all__ = ["solve", "solve_points"]

Array = NDArray[np.float64]

_BLOCK = 1 << 14
_ORDER = (
    "task_diversity",
    "context_length",
    "test_context_length",
    "label_noise",
    "ridge",
    "temperature",
    "distinct_tasks",
)
_RESIDUAL_TOLERANCE = 1e-10
# Rounding of one residual: a few operations on terms of order one.
_ROUNDING = 16 * float(np.finfo(np.float64).eps)


@by_name
def solve(
    parameters: Parameters | None = None, /, *, method: str = "closed-form", throw: bool = True, **given: Unpack[Given]
) -> Solution:
    r"""Solve the saddle-point equations; arrays broadcast, xarray.DataArrays by the names of their dimensions.

    Equation: with a = 1 + (1 + rho)/alpha,

        1/chi = lam + a/(1 + a chi/tau),  m = chi/(1 + a chi/tau),  q - m^2 = (a/tau) m^2 (1 + rho - 2m + a q)

    for one task per prompt (distinct_tasks = inf); with a pool of tasks, `numerics.pool`; with a dimension,
    `numerics.finite_size`; with another loss, labels, spins or penalty, `numerics.handshake`. Source: this project,
    notes/derivation.md, for the model of SG (arXiv:2408.02288); pools: LU (arXiv:2405.11751), extended here to
    temperature and to structured tasks.

    Parameters
    ----------
    parameters : Parameters, optional
        Or its fields as keywords: task_diversity and context_length, and those that differ from their defaults.
    method : {"closed-form", "iteration"}
        The closed form (with a pool: its one scalar equation by bracketed root), or the equations iterated (one
        isotropic task per prompt, ridge > 0).
    throw : bool
        A single point that does not converge raises ConvergenceError; a grid never does. A divergence of the theory
        itself (tau = 1, lam = 0) is an answer, not a failure: NaN with its status.
    **given
        Fields of `Parameters`.

    Returns
    -------
    Solution
        Arrays of the broadcast shape; DataArrays where a parameter was one.

    Raises
    ------
    ParameterError, ParameterTypeError
        Bad input; the message names value, range and remedy. DataArrays together with other arrays are refused.
    ConvergenceError
        A single point has not converged and ``throw`` is true.

    Examples
    --------
    >>> abs(float(solve(task_diversity=3, context_length=5, ridge=1).e_icl) - 9 / 22) < 1e-14
    True
    >>> solve(task_diversity=[0.5, 1, 2], context_length=1.0, ridge=0.1).e_icl.shape
    (3,)
    >>> Status(solve(task_diversity=1, context_length=1, ridge=0).status[()]).name
    'DIVERGES'
    """
    check_flag("throw", throw)
    point = collected(parameters, given)
    solution = solve_points(point, method=method)
    if throw and np.ndim(solution.status) == 0 and not solution.solved and solution.status != Status.DIVERGES:
        shown = ", ".join(f"{name} = {getattr(point, name)}" for name in ("task_diversity", "context_length", "ridge"))
        raise ConvergenceError(f"{shown}: {SENTENCES[Status(int(solution.status))]}")
    return solution


def solve_points(
    parameters: Parameters,
    *,
    method: str = "closed-form",
    progress: Callable[[int, int], None] | None = None,
) -> Solution:
    """`solve` for whole grids, never raising for a point that did not converge.

    ``progress`` is called with (points done, points in all) where that takes time: pools at finite dimension.
    """
    check_choice("method", method, tuple(_METHODS))
    check_callable("progress", progress)
    if not is_builtin(parameters):
        from iclglass.numerics.model_points import solve_model_points

        return solve_model_points(parameters, method=method)
    tasks = parameters.tasks
    if parameters.dimension is not None:
        if tasks is not ISOTROPIC or method != "closed-form":
            raise ParameterError(
                "the finite-size theory has isotropic tasks and one method: leave out tasks and method"
            )
        # Imported here: it brings quadrature nodes and scipy, which the theory at D -> infinity does not need.
        from iclglass.numerics.finite_size import solve_finite_points

        return solve_finite_points(parameters, progress=progress)
    refuse_without_dimension(parameters.layer)
    if method == "iteration" and np.any(parameters.ridge == 0):
        raise ParameterError("method = 'iteration' needs ridge > 0: use 'closed-form' for the ridgeless limit")
    if method == "iteration" and not (tasks is ISOTROPIC and np.all(np.isinf(parameters.distinct_tasks))):
        raise ParameterError("method = 'iteration' needs one isotropic task per prompt: use 'closed-form' for pools")
    scaled = parameters.scaled
    flat = [scaled[name].reshape(-1) for name in _ORDER]
    size = flat[0].size
    names = [*OBSERVABLES, *DIAGNOSTICS, "status"]
    result: dict[str, NDArray[Any]] = {
        name: np.empty(size, dtype=np.int8 if name == "status" else np.float64) for name in names
    }
    for start in range(0, size, _BLOCK):
        block = slice(start, start + _BLOCK)
        with np.errstate(all="ignore"):
            values = _solve_block(method, [array[block] for array in flat], tasks)
        for name in names:
            result[name][block] = values[name]
    # [()] turns a result without axes into a NumPy scalar, as NumPy's own functions do.
    arrays: dict[str, Any] = {name: array.reshape(parameters.shape)[()] for name, array in result.items()}
    return Solution(parameters, **arrays)


def _solve_block(method: str, parameters: list[Array], tasks: TaskSpectrum) -> dict[str, NDArray[Any]]:
    tau, _, _, _, lam, _, kappa = parameters
    pooled = np.isfinite(kappa) if tasks is ISOTROPIC else np.ones(kappa.shape, dtype=bool)
    if pooled.all():
        values = pool_saddle_point(*parameters, spectrum=tasks)
    else:
        values = _METHODS[method](*parameters[:-1])
        if pooled.any():
            pools = pool_saddle_point(*(array[pooled] for array in parameters), spectrum=tasks)
            for name, array in values.items():
                array[pooled] = pools[name]

    residual = values["residual"]
    status = np.full(tau.shape, Status.CONVERGED, dtype=np.int8)
    finite = np.isfinite(values["e_icl"]) & np.isfinite(residual) & (values["chi"] > 0) & (values["q"] > 0)
    status[~(residual <= _RESIDUAL_TOLERANCE)] = Status.NOT_CONVERGED
    status[~finite] = Status.NOT_FINITE
    status[(tau == 1) & (lam == 0)] = Status.DIVERGES
    failed = status != Status.CONVERGED
    if failed.any():
        for array in values.values():
            array[failed] = np.nan
    return {**values, "status": status}


def _named(function: str, outputs: tuple[Any, ...], shape: tuple[int, ...]) -> dict[str, Array]:
    """Outputs by name; constants come back scalar and are broadcast."""
    names = generated_numpy.OUTPUTS[function]
    return {
        name: value if np.shape(value) == shape else np.array(np.broadcast_to(value, shape))
        for name, value in zip(names, outputs, strict=True)
    }


def _closed_form(*parameters: Array) -> dict[str, Array]:
    shape = parameters[0].shape
    values = _named("closed_form", generated_numpy.closed_form(*parameters), shape)
    z = values.pop("z")
    thermal = generated_numpy.thermal(
        values["inverse_chi"], z, values["q"], values["e_icl"], values["e_train"], *parameters
    )
    return _certified({**values, **_named("thermal", thermal, shape)}, parameters)


def _iterated(*parameters: Array) -> dict[str, Array]:
    """The equations iterated from the ridge-only solution, observables as derived."""
    tau, alpha, _, rho, lam, _ = parameters

    def step(values: Array) -> Array:
        return np.stack(generated_numpy.fixed_point_map(*values, *parameters))

    # The susceptibility without screening, and no overlap: the iteration then rises monotonically.
    chi = 1 / (lam + 1 + (1 + rho) / alpha)
    chi, m, q = iterate(step, np.stack([chi, chi, chi**2]), tolerance=1e-14).values
    outputs = generated_numpy.observables(chi, m, q, *parameters)
    values = _named("observables", outputs, tau.shape)
    return _certified({**values, "m": m, "q": q, "chi": chi, "inverse_chi": 1 / chi, "lam_chi": lam * chi}, parameters)


_METHODS: dict[str, Callable[..., dict[str, Array]]] = {"closed-form": _closed_form, "iteration": _iterated}


def _certified(values: dict[str, Array], parameters: tuple[Array, ...]) -> dict[str, Array]:
    """Add the residual of the saddle-point equations, and the error bound |J^-1| |residual| (J is triangular)."""
    inverse_chi, lam_chi = values.pop("inverse_chi"), values.pop("lam_chi")
    outputs = generated_numpy.residuals(inverse_chi, lam_chi, values["m"], values["q"], *parameters)
    r = dict(zip(generated_numpy.OUTPUTS["residuals"], outputs, strict=True))
    lam = parameters[4]
    product = np.where(r["product"] == 0, 0.0, np.abs(r["product"]) / (lam + inverse_chi * lam_chi))
    by_chi, by_m, by_q = (np.abs(r[f"equation_{name}"]) for name in ("chi", "m", "q"))
    residual = np.maximum(np.maximum(product, by_chi), np.maximum(by_m, by_q))
    chi_error = (by_chi + product + _ROUNDING) / np.abs(r["d_chi_d_chi"])
    m_error = (by_m + _ROUNDING + np.abs(r["d_m_d_chi"]) * chi_error) / np.abs(r["d_m_d_m"])
    q_error = (by_q + _ROUNDING + np.abs(r["d_q_d_m"]) * m_error) / np.abs(r["d_q_d_q"])
    return {**values, "residual": residual, "error_bound": np.maximum(np.maximum(chi_error, m_error), q_error)}
