r"""solve(...): the saddle point and all observables, over grids of parameters.

The default evaluates the generated closed form in blocks that fit the cache; the residual of the saddle-point
equations is then computed from the equations themselves, and from it and their Jacobian a bound on the relative error
of the order parameters. ``method="iteration"`` iterates the equations to their fixed point instead and evaluates the
observables as they were derived: slower, less exact near the interpolation threshold, and independent.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from iclglass.numerics import generated_numpy
from iclglass.numerics.arguments import check_callable, check_choice, check_flag
from iclglass.numerics.errors import ConvergenceError, ParameterError, ParameterTypeError
from iclglass.numerics.fixed_point import Status, iterate
from iclglass.numerics.last_row import UNIT_TOKENS, LastRow, refuse_without_dimension
from iclglass.numerics.parameters import broadcast, by_name
from iclglass.numerics.pool import pool_saddle_point
from iclglass.numerics.sizes import NORMS
from iclglass.numerics.solution import Solution
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
    *,
    task_diversity: ArrayLike,
    context_length: ArrayLike,
    distinct_tasks: ArrayLike = np.inf,
    label_noise: ArrayLike = 0.0,
    ridge: ArrayLike = 0.1,
    temperature: ArrayLike = 0.0,
    test_context_length: ArrayLike | None = None,
    tasks: TaskSpectrum = ISOTROPIC,
    dimension: ArrayLike | None = None,
    norm: str = "N",
    last_feature: str = "unit-tokens",
    last_row: bool = True,
    method: str = "closed-form",
    throw: bool = True,
) -> Solution:
    r"""Solve the saddle-point equations; arrays broadcast, xarray.DataArrays by the names of their dimensions.

    Equation: with a = 1 + (1 + rho)/alpha,

        1/chi = lam + a/(1 + a chi/tau),  m = chi/(1 + a chi/tau),  q - m^2 = (a/tau) m^2 (1 + rho - 2m + a q)

    for one task per prompt (distinct_tasks = inf); with a pool of tasks, `numerics.pool`. Source: this project,
    notes/derivation.md, for the model of SG (arXiv:2408.02288); pools: LU (arXiv:2405.11751), extended here to
    temperature and to structured tasks.

    Args:
        task_diversity: tau = P/D^2 > 0.
        context_length: alpha = N/D > 0.
        distinct_tasks: kappa = K/D > 0, tasks in the pool that prompts draw from; inf: every prompt has its own.
        label_noise: rho >= 0.
        ridge: lam = D lambda0 >= 0; 0 is the ridgeless limit, exact on both sides of tau = 1.
        temperature: T = D^2/beta >= 0; 0 is the ground state.
        test_context_length: N/D of the test prompts, for e_icl; default as in pretraining.
        tasks: covariance spectrum of the tasks, in pretraining and test; default isotropic, variance 1.
        dimension: token dimension D for the theory at finite D (`numerics.finite_size`; the result then also holds the
            integers P, N and K used; with a pool of tasks error_bound is half of a 95 % interval, from averaging
            over pools); default none, D -> infinity.
        norm: divisor of the attention sum at finite D, "N" or "N+1".
        last_feature: size of the mean squared label at finite D, "unit-tokens" (SG) or "scaled-tokens" (LU: 1/sqrt(D)
            smaller).
        last_row: False: no weights multiply the mean squared label, W is D x D. At finite D only.
        method: "closed-form" (with a pool: its one scalar equation by bracketed root), or "iteration" to iterate the
            equations (one isotropic task per prompt, ridge > 0).
        throw: a single point that does not converge raises ConvergenceError; a grid never does. A divergence of
            the theory itself (tau = 1, lam = 0) is an answer, not a failure: NaN with its status.

    Returns:
        `Solution`, arrays of the broadcast shape; DataArrays where a parameter was one.

    Raises:
        ParameterError, ParameterTypeError: bad input; the message names value, range and remedy. Masked arrays with
            masked entries, pandas objects, and DataArrays together with other arrays are refused.
        ConvergenceError: a single point has not converged and ``throw`` is true.

    Examples:
        >>> abs(float(solve(task_diversity=3, context_length=5, ridge=1).e_icl) - 9 / 22) < 1e-14
        True
        >>> solve(task_diversity=[0.5, 1, 2], context_length=1.0, ridge=0.1).e_icl.shape
        (3,)
        >>> Status(solve(task_diversity=1, context_length=1, ridge=0).status[()]).name
        'DIVERGES'
    """
    check_choice("method", method, tuple(_METHODS))
    check_flag("throw", throw)
    solution = solve_points(
        {
            "task_diversity": task_diversity,
            "context_length": context_length,
            "distinct_tasks": distinct_tasks,
            "label_noise": label_noise,
            "ridge": ridge,
            "temperature": temperature,
            "test_context_length": test_context_length,
        },
        tasks=tasks,
        dimension=dimension,
        norm=norm,
        layer=LastRow(last_feature, last_row),
        method=method,
    )
    if throw and np.ndim(solution.status) == 0 and solution.status not in (Status.CONVERGED, Status.DIVERGES):
        raise ConvergenceError(
            f"task_diversity = {task_diversity!r}, context_length = {context_length!r}, ridge = {ridge!r}: "
            f"{Status(int(solution.status)).sentence}"
        )
    return solution


def solve_points(
    given: Mapping[str, ArrayLike | None],
    *,
    tasks: TaskSpectrum = ISOTROPIC,
    dimension: ArrayLike | None = None,
    norm: str = "N",
    layer: LastRow = UNIT_TOKENS,
    method: str = "closed-form",
    progress: Callable[[int, int], None] | None = None,
) -> Solution:
    """`solve` with its parameters as a mapping, never raising for a point that did not converge.

    ``progress`` is called with (points done, points in all) where that takes time: pools at finite dimension.
    """
    check_choice("norm", norm, NORMS)
    check_callable("progress", progress)
    if not isinstance(tasks, TaskSpectrum):
        raise ParameterTypeError(
            f"tasks must be a TaskSpectrum, as TaskSpectrum.from_eigenvalues makes it, got {type(tasks).__name__}"
        )
    if dimension is not None:
        if tasks is not ISOTROPIC or method != "closed-form":
            raise ParameterError(
                "the finite-size theory has isotropic tasks and one method: leave out tasks and method"
            )
        # Imported here: it brings quadrature nodes and scipy, which the theory at D -> infinity does not need.
        from iclglass.numerics.finite_size import solve_finite_points

        return solve_finite_points(given, dimension=dimension, norm=norm, layer=layer, progress=progress)
    refuse_without_dimension(layer)
    parameters = broadcast(given)
    shape = parameters["task_diversity"].shape
    flat = [parameters[name].reshape(-1) for name in _ORDER]
    if method == "iteration" and np.any(parameters["ridge"] == 0):
        raise ParameterError("method = 'iteration' needs ridge > 0: use 'closed-form' for the ridgeless limit")
    if method == "iteration" and not (tasks is ISOTROPIC and np.all(np.isinf(parameters["distinct_tasks"]))):
        raise ParameterError("method = 'iteration' needs one isotropic task per prompt: use 'closed-form' for pools")
    size = flat[0].size
    names = [field.name for field in fields(Solution)]
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
    arrays: dict[str, Any] = {name: array.reshape(shape)[()] for name, array in result.items()}
    return Solution(**arrays)


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
