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
solution and iteration converges to it from anywhere; its derivative, symmetric and positive in the metric of G, is also
the operator of the linear equation for V. Source: this project, notes/finite_size.md.

Averages over prompts are quadratures (`numerics.pool_averages`): for a given pool there is no noise. Averages over
pools are over the length of the task where there is one, else over independent pools, with a regression on numbers of
the pool whose mean is known exactly (`numerics.drawn_pools`). What is left of the noise is stated as an error.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.drawn_pools import POOL_LAWS, draw_pools, pool_controls
from iclglass.numerics.finite_observables import by_law, observables
from iclglass.numerics.last_row import LastRow
from iclglass.numerics.memory import chunks
from iclglass.numerics.pool_averages import PolynomialAverages, PoolPrompts, TiltedPrompts
from iclglass.numerics.running.blas import own_threads
from iclglass.numerics.sizes import divisor, from_unscaled, to_unscaled

__all__ = ["JUDGED", "average_over_pools", "mean_over_pools", "solve_pools"]

Array = NDArray[np.float64]
Progress = Callable[[int, int], None]

_ELEMENTS, _NODES = 1 << 19, 16
"""Numbers in one array: pools are solved together while they fit in cache. About as many nodes of psi, half of Z."""

_ITERATIONS = 300
_TOLERANCE = 1e-12
_MEMORY = 5
"""Steps that Anderson's mixing combines."""
_LINEAR_TOLERANCE, _ROUND_OFF = 1e-10, 1e-14
_SINGULAR = 1e13
"""Condition number of E[u u^T] from which on some direction has no features: equal tasks without label noise, where u.w
and v are proportional. Without ridge its response is infinite."""
_MISPLACED, _PLACINGS = 2.0, 4
"""Largest factor between the leverage that placed the nodes of the quadrature and that of the solution; attempts."""
JUDGED = ("m", "q", "e_icl", "e_idg", "e_train")
"""Quantities that error_bound holds for."""


def average_over_pools(
    flat: Mapping[str, Array],
    norm: str,
    layer: LastRow,
    progress: Progress | None = None,
    pool: Array | None = None,
    law: str = POOL_LAWS[0],
) -> dict[str, Array]:
    """All quantities at many points, averaged over pools; the same pools serve all points of equal D and K.

    flat : name -> (points,): dimension, prompts, context_length, test_context_length and task_count as whole numbers;
        label_noise, ridge, temperature; token_correlation, where tokens have one.
    progress : called with (points done, points in all).
    pool : (K, D), one given pool that all data sets share: nothing is drawn, and error_bound is NaN.
    law : of the pools that are drawn, one of `numerics.drawn_pools.POOL_LAWS`.

    Returns name -> (points,): the quantities of `numerics.solution.Solution`; error_bound, half of the widest relative
    95 % interval of m, q, e_icl, e_idg and e_train; for each quantity the standard error, ``NAME_standard_error``.
    """
    result: dict[str, Array] = {}
    done, total = 0, flat["dimension"].size
    for (size, count), members in by_law(flat, "dimension", "task_count"):
        pools, weight = draw_pools(int(size), int(count), law) if pool is None else (pool[None], np.ones(1))
        for member in members:
            point = {name: array[member] for name, array in flat.items()}
            # Where there is no solution the point stays NaN.
            with suppress(np.linalg.LinAlgError):
                found = solve_pools(pools, point, norm, layer)
                for name, value in _mean(found, pools, weight, law).items():
                    result.setdefault(name, np.full(flat["dimension"].shape, np.nan))[member] = value
            done += 1
            if progress is not None:
                progress(done, total)
    return result


def mean_over_pools(values: Mapping[str, Array], controls: Array) -> dict[str, float]:
    """Intercepts of the regression on the controls; their standard errors; and the widest relative 95 % interval.

    values : name -> (pools,), one number of each pool.
    controls : (pools, controls), numbers of mean zero.

    The error is that of HC3: a pool's residual over what is left of it when the pool is left out. With few tasks the
    quantities are no linear functions of the controls, and pools far out are fitted best.
    """
    result: dict[str, float] = {}
    widest = 0.0
    design = np.column_stack([np.ones(len(controls)), controls])
    freedom = len(controls) - design.shape[1]
    solution = np.linalg.pinv(design)
    kept = np.maximum(1 - np.einsum("pc,cp->p", design, solution), _ROUND_OFF)
    for name, array in values.items():
        error = np.nan
        if name == "residual":
            result[name] = float(array.max())
        elif not np.isfinite(array).all():
            result[name] = float(array[0]) if np.all(array == array[0]) else np.nan
        else:
            coefficients = solution @ array
            result[name] = float(coefficients[0])
            deviation = (array - design @ coefficients) / kept
            error = float(np.linalg.norm(solution[0] * deviation))
            if name in JUDGED and result[name] != 0:
                widest = max(widest, _student(freedom) * error / abs(result[name]))
        result[f"{name}_standard_error"] = error
    return result | {"error_bound": widest}


def _mean(values: Mapping[str, Array], pools: Array, weight: Array | None, law: str) -> dict[str, float]:
    """Over drawn pools; with weights, where nothing is drawn, and then no errors."""
    if weight is None:
        return mean_over_pools(values, pool_controls(pools, law))
    return {
        name: float(array.max()) if name == "residual" else float(array[0] if len(array) == 1 else weight @ array)
        for name, array in values.items()
    }


def _student(freedom: int) -> float:
    """Half-width of the 95 % interval in standard errors."""
    from scipy.special import stdtrit  # slow to import, and only pools need it

    return float(stdtrit(freedom, 0.975))


def solve_pools(pools: Array, point: Mapping[str, float], norm: str, layer: LastRow) -> dict[str, Array]:
    """All quantities at one parameter point for every pool of ``pools``, (pools, K, D), name -> (pools,)."""
    number, count, size = pools.shape
    together = list(chunks(number, _ELEMENTS // (_NODES * count * (size + _NODES))))
    parts: list[dict[str, Array]] = []

    def solve(index: int, found: list[dict[str, Array]]) -> None:
        found.append(_solve_together(pools[together[index]], point, norm, layer))

    with np.errstate(all="ignore"), own_threads() as team:
        team.in_order(len(together), solve, lambda found: parts.append(found.pop()), list, team.size)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _solve_together(pools: Array, point: Mapping[str, float], norm: str, layer: LastRow) -> dict[str, Array]:
    size = pools.shape[2]
    spins, scale = size * layer.rows(size), layer.scale(size)
    # Without ridge and with fewer prompts than spins G diverges as 1/lambda0: solve for lambda0 G, as finite_own_tasks.
    flat_directions = point["ridge"] == 0 and point["prompts"] < spins
    ridge0 = 1.0 if flat_directions else to_unscaled(size, ridge=point["ridge"])["ridge0"]
    law, response, residual = _solved(pools, point, norm, scale, ridge0, 0.0 if flat_directions else 1.0)
    at, squares = law.tilted(response), law.untilted_squares
    if ridge0 == 0 and np.linalg.cond(squares).max() > _SINGULAR:
        raise np.linalg.LinAlgError("a direction has no features and no ridge")

    weights = at.response @ at.signal(law.om_x2) / size
    spread, replicon = _fluctuations(at, weights)
    form = weights @ np.swapaxes(weights, 1, 2) / size + spread
    # E[om^2 R], and R averaged over x
    e_train = (
        (at.label_mean(law.om2_x2) - 2 * (weights * at.signal(law.om2_x2)).sum(axis=(1, 2))) / size
        + (form * at.squares(law.om2_x2)).sum(axis=(1, 2))
        + law.label_noise * at.mean(law.om2)
    )
    e_idg = (
        law.variance.mean(axis=1)
        - 2 * (at.back(weights) * law.untilted_signal).sum(axis=(1, 2))
        + size * (at.back(form) * squares).sum(axis=(1, 2))
    )
    m = _trace(weights[:, :size]) / size
    q = (weights[:, :size] ** 2).sum(axis=(1, 2)) / size + _trace(spread[:, :size, :size])
    last_row = (weights[:, size:] ** 2).sum(axis=(1, 2)) + size * _trace(spread[:, size:, size:])
    g = np.stack([_trace(response[:, :size, :size]) / size, _trace(response[:, size:, size:])], axis=1)
    log_determinant = np.full(m.shape, -np.inf)
    if flat_directions:
        e_train, g = np.zeros_like(m), np.full_like(g, np.inf)
    elif point["temperature"] > 0:
        log_determinant = point["prompts"] * law.logarithm(response) - size * np.linalg.slogdet(response)[1]
    common = {name: np.full(m.shape, value) for name, value in point.items()}
    g = g[:, : 1 + layer.last_row]
    return {
        **observables(e_train, m, q, last_row, g, log_determinant, common, norm, scale),
        "replicon": replicon,
        "contrast": m * size / np.sqrt(layer.rows(size) * (size * q + last_row)),
        "residual": residual,
        "e_idg": e_idg,
    }


def _trace(matrices: Array) -> Array:
    trace: Array = np.einsum("bii->b", matrices)
    return trace


def _solved(
    pools: Array, point: Mapping[str, float], norm: str, scale: float, ridge0: float, unit: float
) -> tuple[PoolPrompts, Array, Array]:
    """The law of the prompts with its nodes in the right place, G and its residual; infinite if there is none."""
    size, context, prompts = pools.shape[2], int(point["context_length"]), float(point["prompts"])
    leverage = _leverage(point, size, ridge0, unit)
    for _ in range(_PLACINGS):
        law = PoolPrompts(
            pools,
            context=context,
            divisor=divisor(context, norm),
            label_noise=float(point["label_noise"]),
            last_scale=scale,
            prompts=prompts,
            unit=unit,
            leverage=leverage,
            length=float(point.get("token_correlation", 0.0)),
        )
        response, residual = _response(law, ridge0)
        found = float(np.einsum("bij,bji->b", response, law.untilted_squares).mean()) * size / prompts
        ratio = (unit + found) / (unit + leverage)
        if not np.isfinite(ratio) or 1 / _MISPLACED < ratio < _MISPLACED:
            return law, response, residual
        leverage = found
    return law, response, np.full_like(residual, np.inf)


def _leverage(point: Mapping[str, float], size: int, ridge0: float, unit: float) -> float:
    """x2 u.G u/P of a typical prompt, from the theory at D -> infinity: a/(tau c) = D lambda0 + a/(unit + c)."""
    tau, ridge = from_unscaled(size, prompts=point["prompts"], ridge0=ridge0).values()
    a = 1 + (1 + point["label_noise"]) * (size + 1) / point["context_length"]
    linear = tau * (ridge * unit + a) - a
    root = np.sqrt(linear**2 + 4 * ridge * tau * a * unit)
    if linear > 0:
        found = 2 * a * unit / (linear + root)
    else:
        found = (root - linear) / (2 * ridge * tau) if ridge > 0 else np.inf
    # At the threshold without ridge it is infinite or nothing there, and not here.
    return float(np.clip(found, 1 / size**2, 1e12))


def _response(law: PoolPrompts, ridge0: float) -> tuple[Array, Array]:
    """G and the relative residual of its equation in each pool, by iteration of G^{-1} with Anderson's mixing."""
    squares = law.untilted_squares
    identity = np.eye(law.side)

    def image(inverse: Array) -> Array:
        at = law.tilted(np.asarray(np.linalg.inv(inverse)))
        found = ridge0 * identity + at.back(at.squares(law.om_x2)) / law.size
        return (found + np.swapaxes(found, 1, 2)) / 2

    # Any positive start will do; this one has the right size of a typical c.
    inverse = ridge0 * identity + squares / (law.unit + law.leverage)
    points: list[Array] = []
    steps: list[Array] = []
    best, smallest = inverse, np.full(inverse.shape[0], np.inf)
    for _ in range(_ITERATIONS):
        step = image(inverse) - inverse
        residual = np.abs(step).max(axis=(1, 2)) / np.abs(inverse).max(axis=(1, 2))
        better = residual < smallest
        best = np.where(better[:, None, None], inverse, best)
        smallest = np.where(better, residual, smallest)
        if (smallest <= _TOLERANCE).all() or not np.isfinite(residual).any():
            break
        points, steps = [*points[-_MEMORY:], inverse], [*steps[-_MEMORY:], step]
        inverse = _mixed(points, steps)
    return np.asarray(np.linalg.inv(best)), np.asarray(smallest)


def _mixed(points: list[Array], steps: list[Array]) -> Array:
    """The next iterate: the combination of earlier ones whose step is least, plus that step; the plain image where
    this is not positive."""
    plain = points[-1] + steps[-1]
    if len(points) == 1:
        return plain
    pools = plain.shape[0]
    last = steps[-1].reshape(pools, -1)
    moved = np.stack([(steps[-1] - step).reshape(pools, -1) for step in steps[:-1]], axis=1)
    shifts = np.stack([plain - point - step for point, step in zip(points[:-1], steps[:-1], strict=True)], axis=1)
    gram = moved @ np.swapaxes(moved, 1, 2)
    scale = np.einsum("bii->bi", gram).max(axis=1)
    gram += 1e-14 * scale[:, None, None] * np.eye(gram.shape[1])
    right = (moved @ last[..., None])[..., 0]
    share = np.linalg.solve(np.where(scale[:, None, None] > 0, gram, np.eye(gram.shape[1])), right[..., None])[..., 0]
    found = plain - np.einsum("bs,bsij->bij", share, shifts)
    positive = np.linalg.eigvalsh(found).min(axis=1) > 0
    return np.where(positive[:, None, None], found, plain)


def _fluctuations(at: TiltedPrompts, weights: Array) -> tuple[Array, Array]:
    """V and the replicon, on the axes of ``at``.

    Conjugate gradients for (1 - X) v = kicks in the metric of G, where X is symmetric; their coefficients are those of
    Lanczos' method, whose least eigenvalue is the replicon, 1 less the largest of X: the kicks and its eigenvector are
    positive matrices, so they overlap.
    """
    law, transposed = at.law, np.swapaxes(weights, 1, 2)
    average = PolynomialAverages(at, law.om2_x4)
    metric = np.linalg.cholesky(at.response)
    across = np.swapaxes(metric, 1, 2)
    scale = law.prompts * law.size
    kicks = average(
        weights @ transposed / law.size, constant=law.square / law.size, linear=-2 * weights / law.size
    ) + law.label_noise * at.squares(law.om2_x2)

    right = across @ kicks @ metric / scale
    found, residual, direction = np.zeros_like(right), right, right
    square = start = _square(right)
    lengths, turns = [], []
    for _ in range(_ITERATIONS):
        image = direction - across @ average(metric @ direction @ across) @ metric / scale
        length = square / (direction * image).sum(axis=(1, 2))
        length = np.where(square > _ROUND_OFF**2 * start, length, 0.0)
        found = found + length[:, None, None] * direction
        residual = residual - length[:, None, None] * image
        before, square = square, _square(residual)
        turn = np.where(length > 0, square / before, 0.0)
        lengths.append(length)
        turns.append(turn)
        if not (square > _LINEAR_TOLERANCE**2 * start).any():
            break
        direction = residual + turn[:, None, None] * direction
    spread = metric @ found @ across
    return (spread + np.swapaxes(spread, 1, 2)) / 2, _least_eigenvalue(np.array(lengths), np.array(turns))


def _square(matrix: Array) -> Array:
    return (matrix**2).sum(axis=(1, 2))


def _least_eigenvalue(lengths: Array, turns: Array) -> Array:
    """Of Lanczos' tridiagonal matrix from the coefficients of conjugate gradients, (steps, pools) each."""
    found = np.full(lengths.shape[1], np.nan)
    for pool in range(found.size):
        length = lengths[lengths[:, pool] > 0, pool]
        if length.size and np.isfinite(length).all():
            turn = turns[: length.size - 1, pool]
            diagonal = 1 / length
            diagonal[1:] += turn / length[:-1]
            matrix = (
                np.diag(diagonal) + np.diag(np.sqrt(turn) / length[:-1], 1) + np.diag(np.sqrt(turn) / length[:-1], -1)
            )
            found[pool] = np.linalg.eigvalsh(matrix)[0]
    return found
