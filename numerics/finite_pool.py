r"""Cavity theory at finite dimension for pools of tasks: K tasks, D dimensions, averaged over pools or for a given one.

Given the pool, A^{-1} has the mean G (x) 1, G a (D+1) x (D+1) matrix on the left index of the weights (queries are
isotropic), and the weights have the mean W, (D+1, D), and the covariance V (x) 1. With u one prompt's features,
(D+1,), x its query, w/sqrt(D) its task, c = |x|^2 u.G u/P, om = 1/(1 + c), and E over the prompts of this pool:

    G^{-1} = lambda0 + E[om |x|^2 u u^T]/D
    W      = G E[om |x|^2 u w^T]/D^(3/2)
    V      = G E[om^2 |x|^2 u u^T R] G/(P D),    R = |w/sqrt(D) - W^T u|^2 |x|^2/D + rho + |x|^2 u.V u

These are the equations of `numerics.finite_own_tasks` with the two numbers g_1, g_2 of isotropic tasks become a
matrix: the pool's tasks make the directions of the block unlike, and mix them with the last row. As there, the right
side of the first increases and is concave in G (now in the order of positive matrices), so there is one positive
solution and Newton's method descends to it; its derivative is also the operator of the linear equation for V, symmetric
and positive in the metric of G, so conjugate gradients solve both. Source: this project, notes/finite_size.md.

Averages over prompts are quasi-Monte Carlo (`numerics.pool_prompts`), over the query Gauss quadrature. Averages over
pools are over independent pools, with a regression on three numbers of the pool whose mean is known exactly:
Tr R/D, Tr R^2/D and |mean w|^2 with R = (1/K) sum w w^T. What is left of the noise is stated as a standard error.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.finite_observables import errors_on_new_tasks, thermodynamics
from iclglass.numerics.gamma_quadrature import scalar_nodes
from iclglass.numerics.pool_prompts import PoolPrompts, pool_prompts

__all__ = ["average_over_pools", "solve_pool"]

Array = NDArray[np.float64]
Progress = Callable[[int, int], None]

_PROMPTS_A_DIMENSION = 64
_FEWEST_PROMPTS = 2048
_POOLS_TIMES_DIMENSION = 1280
_FEWEST_POOLS = 12
_SCRAMBLES = 8
"""Sets of prompts for a given pool; their scatter is the error."""

_NEWTON_STEPS = 60
_NEWTON_TOLERANCE = 1e-12
_LINEAR_TOLERANCE = 1e-10
_FAR = 1e5
"""c of a typical prompt at a start that is far out."""
_SINGULAR = 1e13
"""Condition number of E[u u^T] from which on some direction has no features: equal tasks without label noise, where u.w
and v are proportional. Without ridge its response is infinite."""
_JUDGED = ("m", "q", "e_icl", "e_train")
"""Quantities whose standard error is reported."""


def average_over_pools(flat: Mapping[str, Array], norm: str, progress: Progress | None = None) -> dict[str, Array]:
    """All quantities at many points, averaged over pools; the same pools serve all points of equal D, K, N, rho.

    Args:
        flat: name -> (points,): dimension, prompts, context_length, test_context_length and task_count as whole
            numbers; label_noise, ridge, temperature.
        norm: "N" or "N+1".
        progress: called with (points done, points in all).

    Returns:
        name -> (points,): the quantities of `numerics.finite_size.FiniteSizeSolution`, with error_bound the largest
        relative standard error of m, q, e_icl and e_train over pools.
    """

    def drawn(size: int, count: int) -> list[tuple[Array, np.random.Generator]]:
        pools = max(_FEWEST_POOLS, round(_POOLS_TIMES_DIMENSION / size))
        streams = [np.random.default_rng([size, count, index]) for index in range(pools)]
        return [(rng.standard_normal((count, size)), rng) for rng in streams]

    return _by_law(flat, norm, drawn, progress)


def solve_pool(
    tasks: Array, flat: Mapping[str, Array], norm: str, progress: Progress | None = None
) -> dict[str, Array]:
    """All quantities at many points for one given pool, (K, D); arguments and result as in `average_over_pools`.

    The mean is over data sets that share the pool; the standard error is that of the average over prompts.
    """

    def repeated(size: int, count: int) -> list[tuple[Array, np.random.Generator]]:
        return [(tasks, np.random.default_rng([size, count, index])) for index in range(_SCRAMBLES)]

    return _by_law(flat, norm, repeated, progress)


def _by_law(
    flat: Mapping[str, Array],
    norm: str,
    draw: Callable[[int, int], list[tuple[Array, np.random.Generator]]],
    progress: Progress | None,
) -> dict[str, Array]:
    keys = ("dimension", "task_count", "context_length", "label_noise")
    laws, group = np.unique(np.stack([flat[key] for key in keys]), axis=1, return_inverse=True)
    result: dict[str, Array] = {}
    done, total = 0, flat["dimension"].size
    for index, (size, count, context, noise) in enumerate(laws.T):
        members = np.flatnonzero(group.reshape(-1) == index)
        pools = draw(int(size), int(count))
        prompts = [
            pool_prompts(
                tasks,
                context=int(context),
                divisor=int(context) + (norm == "N+1"),
                label_noise=float(noise),
                points=1 << (max(_FEWEST_PROMPTS, _PROMPTS_A_DIMENSION * int(size)) - 1).bit_length(),
                rng=rng,
            )
            for tasks, rng in pools
        ]
        controls = np.stack([_controls(tasks) for tasks, _ in pools])
        for member in members:
            point = {name: array[member] for name, array in flat.items()}
            values = _mean_over_pools(_solve_point(prompts, point, norm), controls)
            for name, value in values.items():
                result.setdefault(name, np.full(flat["dimension"].shape, np.nan))[member] = value
            done += 1
            if progress is not None:
                progress(done, total)
    return result


def _controls(tasks: Array) -> Array:
    """Tr R/D, Tr R^2/D and K |mean w|^2/D less their means over isotropic Gaussian pools: 1, 1 + (D+1)/K and 1."""
    count, size = tasks.shape
    matrix = tasks.T @ tasks / count
    mean = tasks.mean(axis=0)
    return np.array(
        [
            np.trace(matrix) / size - 1,
            np.sum(matrix**2) / size - 1 - (size + 1) / count,
            count * (mean @ mean) / size - 1,
        ]
    )


def _mean_over_pools(values: Mapping[str, Array], controls: Array) -> dict[str, float]:
    """Intercepts of the regression on the controls, where these vary; and the largest relative standard error."""
    pools = controls.shape[0]
    varies = bool(np.ptp(controls, axis=0).any())
    design = np.column_stack([np.ones(pools), controls]) if varies else np.ones((pools, 1))
    # The variance of the intercept counts the spread of the controls' own sample means.
    leverage = float(np.linalg.pinv(design.T @ design)[0, 0])
    result, error = {}, 0.0
    for name, array in values.items():
        if name == "residual":
            result[name] = float(array.max())
        elif not np.isfinite(array).all():
            result[name] = float(array[0]) if np.all(array == array[0]) else np.nan
        else:
            coefficients, *_ = np.linalg.lstsq(design, array, rcond=None)
            result[name] = float(coefficients[0])
            if name in _JUDGED and result[name] != 0:
                deviation = array - design @ coefficients
                variance = float(deviation @ deviation) / (pools - design.shape[1])
                error = max(error, np.sqrt(variance * leverage) / abs(result[name]))
    return result | {"error_bound": error}


_NUMBERS = (
    "m",
    "q",
    "last_row",
    "block_response",
    "last_response",
    "e_train",
    "e_idg",
    "log_determinant",
    "replicon",
    "residual",
)
"""What `_solve_one` finds for one pool."""


@dataclass(frozen=True, eq=False)
class _QueryAverages:
    """Averages over the query's square x2 = |x|^2 at each prompt: names tell the powers of om and of x2."""

    om_x2: Array
    om2: Array
    om2_x2: Array
    om2_x4: Array
    logarithm: Array


@dataclass(frozen=True, eq=False)
class _Setting:
    """One parameter point: what the equations need besides the prompts."""

    size: int
    prompts: float
    ridge0: float
    unit: float
    label_noise: float


def _query_averages(form: Array, setting: _Setting) -> _QueryAverages:
    """form: u.G u for each prompt."""
    nodes, weights = scalar_nodes(setting.size, 0)
    leverage = form[:, None] * (nodes / setting.prompts)
    om = 1 / (setting.unit + leverage)
    om2 = om**2
    return _QueryAverages(
        om_x2=om @ (weights * nodes),
        om2=om2 @ weights,
        om2_x2=om2 @ (weights * nodes),
        om2_x4=om2 @ (weights * nodes**2),
        logarithm=(np.log1p(leverage) - leverage * om) @ weights,
    )


def _solve_point(samples: list[PoolPrompts], point: Mapping[str, float], norm: str) -> dict[str, Array]:
    """All quantities at one parameter point for every pool, name -> (pools,)."""
    size, prompts = int(point["dimension"]), float(point["prompts"])
    # Without ridge and with fewer prompts than spins G diverges as 1/lambda0: solve for lambda0 G, as finite_own_tasks.
    flat_directions = point["ridge"] == 0 and prompts < size * (size + 1)
    setting = _Setting(
        size=size,
        prompts=prompts,
        ridge0=1.0 if flat_directions else point["ridge"] / size,
        unit=0.0 if flat_directions else 1.0,
        label_noise=point["label_noise"],
    )
    columns = [_solve_or_fail(sample, setting) for sample in samples]
    raw = {name: np.array([column[name] for column in columns]) for name in columns[0]}
    m, q, last_row, e_train = raw["m"], raw["q"], raw["last_row"], raw["e_train"]
    g = np.stack([raw["block_response"], raw["last_response"]], axis=1)
    log_determinant = raw["log_determinant"]
    if flat_directions:
        e_train, g, log_determinant = np.zeros_like(m), np.full_like(g, np.inf), np.full_like(m, -np.inf)
    common = {name: np.full(m.shape, value) for name, value in point.items()}
    values = errors_on_new_tasks(m, q, last_row, g, common, norm)
    temperature, chi = common["temperature"], g[:, 0] / size
    return {
        "m": m,
        "q": q,
        "q_self": np.where(temperature == 0, q, q + temperature * chi),
        "chi": chi,
        "replicon": raw["replicon"],
        "last_row": last_row,
        "contrast": m * size / np.sqrt((size + 1) * (size * q + last_row)),
        "residual": raw["residual"],
        "e_train": e_train,
        **values,
        "e_idg": raw["e_idg"],
        **thermodynamics(e_train, q + last_row / size, log_determinant, common),
    }


def _solve_or_fail(sample: PoolPrompts, setting: _Setting) -> dict[str, float]:
    """`_solve_one`, NaN where there is no solution."""
    try:
        return _solve_one(sample, setting)
    except np.linalg.LinAlgError:
        return dict.fromkeys(_NUMBERS, np.nan)


def _solve_one(sample: PoolPrompts, setting: _Setting) -> dict[str, float]:
    """The equations of the module for one pool."""
    size, prompts, features = setting.size, setting.prompts, sample.features
    response, residual = _response(features, setting)
    average = _query_averages(_form(features, response), setting)
    points = features.shape[0]
    weights = response @ ((features.T * average.om_x2) @ sample.task) / (points * size)

    miss = sample.task - features @ weights
    miss_square = np.einsum("pd,pd->p", miss, miss) / size
    metric = np.linalg.cholesky(response)
    white = features @ metric
    kicks = _weighted_square(white, miss_square * average.om2_x4 + setting.label_noise * average.om2_x2)
    operator = _Fluctuations(white, average.om2_x4 / (prompts * size))
    spread = metric @ operator.solve(kicks / (prompts * size), _LINEAR_TOLERANCE) @ metric.T
    spread_form = _form(features, spread)

    block = slice(0, size)
    return {
        "m": float(np.trace(weights[block])) / size,
        "q": float(np.sum(weights[block] ** 2) / size + np.trace(spread[block, block])),
        "last_row": float(np.sum(weights[size] ** 2) + size * spread[size, size]),
        "block_response": float(np.trace(response[block, block])) / size,
        "last_response": float(response[size, size]),
        "e_train": float(np.mean((miss_square + spread_form) * average.om2_x2 + setting.label_noise * average.om2)),
        "e_idg": float(np.mean(size * (miss_square + spread_form))) + setting.label_noise,
        "log_determinant": float(prompts * np.mean(average.logarithm) - 2 * size * np.sum(np.log(np.diagonal(metric)))),
        "replicon": 1 - operator.largest_eigenvalue(),
        "residual": residual,
    }


def _form(features: Array, matrix: Array) -> Array:
    """u.M u for each prompt."""
    product: Array = np.einsum("pa,pa->p", features @ matrix, features)
    return product


def _weighted_square(features: Array, weight: Array | float) -> Array:
    """E[weight u u^T]."""
    product: Array = (features.T * weight) @ features
    return product / features.shape[0]


@dataclass(frozen=True, eq=False)
class _Fluctuations:
    """X -> E[gain u u^T (u.X u)], symmetric and positive on symmetric matrices; u in coordinates where G = 1."""

    features: Array
    gain: Array

    def apply(self, matrix: Array) -> Array:
        return _weighted_square(self.features, self.gain * _form(self.features, matrix))

    def solve(self, right: Array, tolerance: float) -> Array:
        """(1 - operator)^{-1} right."""
        from scipy.sparse.linalg import LinearOperator, cg  # slow to import, and only pools need it

        shape = right.shape
        matrix = LinearOperator(
            shape=(right.size, right.size),
            dtype=np.float64,
            matvec=lambda vector: np.ravel(vector) - self.apply(np.reshape(vector, shape)).ravel(),
        )
        solution, _ = cg(matrix, right.ravel(), rtol=tolerance, atol=0.0, maxiter=1000)
        found = np.reshape(solution, shape)
        return (found + found.T) / 2

    def largest_eigenvalue(self) -> float:
        """By the Lanczos method from the unit matrix: the leading eigenvector is a positive matrix."""
        from scipy.sparse.linalg import LinearOperator, eigsh

        side = self.features.shape[1]
        matrix = LinearOperator(
            shape=(side**2, side**2),
            dtype=np.float64,
            matvec=lambda vector: self.apply(np.reshape(vector, (side, side))).ravel(),
        )
        found = eigsh(matrix, k=1, which="LA", v0=np.eye(side).ravel(), tol=1e-6, return_eigenvectors=False)
        return float(found[0])


def _response(features: Array, setting: _Setting) -> tuple[Array, float]:
    """G and the relative residual of its equation, by Newton's method from above."""
    identity = np.eye(features.shape[1])
    response = _start(features, setting)
    best, smallest = response, np.inf
    for _ in range(_NEWTON_STEPS):
        average = _query_averages(_form(features, response), setting)
        image = np.linalg.inv(setting.ridge0 * identity + _weighted_square(features, average.om_x2) / setting.size)
        image = (image + image.T) / 2
        residual = float(np.abs(response - image).max() / np.abs(image).max())
        if not residual < smallest and smallest <= 1e-10:
            break
        if residual < smallest or not np.isfinite(smallest):
            best, smallest = response, residual
        if residual <= _NEWTON_TOLERANCE:
            break
        metric = np.linalg.cholesky(image)
        inverse = np.linalg.inv(metric)
        operator = _Fluctuations(features @ metric, average.om2_x4 / (setting.prompts * setting.size))
        # A distant start cancels to the leading digits in one step.
        tolerance = 0.1 / _FAR**2 if residual > 0.1 else residual / 10
        step = operator.solve(inverse @ (image - response) @ inverse.T, tolerance)
        response = response + metric @ step @ metric.T
        # Steps are symmetric: what is not of a distant start would stay.
        response = (response + response.T) / 2
    return best, smallest


def _start(features: Array, setting: _Setting) -> Array:
    """A matrix above the solution: 1/lambda0, or, if that is further, far out on the ray of the asymptotic direction.

    Far out the map is homogeneous of degree one; on the ray of its fixed direction its slope is n/P, below one for more
    prompts than spins.
    """
    side = features.shape[1]
    singular = np.linalg.cond(_weighted_square(features, 1.0)) > _SINGULAR
    if singular and setting.ridge0 == 0:
        raise np.linalg.LinAlgError("a direction has no features and no ridge")
    if setting.prompts > setting.size * side and not singular:
        ray = np.eye(side)
        for _ in range(30):
            ray = np.asarray(np.linalg.inv(_weighted_square(features, 1 / _form(features, ray))))
            ray /= np.trace(ray)
        far = ray * (_FAR * setting.prompts / (setting.size * float(np.mean(_form(features, ray)))))
        if setting.ridge0 * float(np.trace(far)) < side:
            return np.asarray(far)
    return np.eye(side) / setting.ridge0
