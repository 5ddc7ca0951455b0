r"""Cavity theory at finite dimension: every prompt has its own task, the size of its features fluctuates.

Two groups of spins, the D x D block (1) and the last row (2), with n_1 = D^2 and n_2 = D spins. f_1 = |u|^2 |x|^2 and
f_2 = v^2 |x|^2 are the squared norms of one prompt's features on them, E is over one prompt
(`numerics.gamma_quadrature`), lambda0 = lam/D. With c = (g_1 f_1 + g_2 f_2)/P, om = 1/(1 + c), a = 1, 2:

    1/g_a = lambda0 + E[om f_a]/n_a                                        (response: g_a is the mean of A^{-1})
    m     = g_1 E[om |x|^2 u.w/sqrt(D)]/D^2                                (mean weights: m I, and 0 in the last row)
    v_a   = g_a^2/(n_a P) E[om^2 f_a R],   R = |w/sqrt(D) - m u|^2 |x|^2/D + rho + f_1 v_1 + f_2 v_2

R is the squared error on a prompt left out. All follow from one functional, the mean of ln Z
(this project, notes/finite_size.md; SG and LU treat D -> infinity only).

Existence, uniqueness and how it is solved. Write the first line as g = T(g). (1 + c)/f_a is affine in g and positive;
the inverse of a mean of inverses of such functions is concave; so T is increasing and concave, and T(0) > 0: there is
one positive solution, and Newton's method on g - T(g) descends to it monotonically from any g >= T(g), such as
g = 1/lambda0. T'(g) is also the matrix of the linear equations for v, and its largest eigenvalue is below 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from numerics import generated_numpy
from numerics.arguments import check_choice
from numerics.errors import ParameterError, ParameterTypeError
from numerics.fixed_point import Status
from numerics.gamma_quadrature import PromptNodes, prompt_nodes
from numerics.parameters import broadcast
from numerics.saddle_point import Solution

__all__ = ["MINIMUM_DIMENSION", "FiniteSizeSolution", "solve_finite", "solve_finite_points", "whole_dimensions"]

Array = NDArray[np.float64]

MINIMUM_DIMENSION = 4
"""Below it the neglected terms, of relative order 1/D^2, are as large as the 1/D terms kept."""

_BLOCK = 1 << 21
"""Points times quadrature nodes held at once."""
_RESIDUAL_TOLERANCE = 1e-10
_ITERATIONS = 200


@dataclass(frozen=True, eq=False)
class FiniteSizeSolution(Solution):
    """The finite-size theory at every point of a grid.

    All arrays have the broadcast shape of the parameters and of the dimension; names and scaling are those of
    `numerics.saddle_point.Solution`, and of `validation.observables` for what only exists at finite D (the measure of
    ln Z; the contrast ratio over the (D+1) x (D+1) matrix). A point that failed is NaN, its status says why. chi is
    infinite for lam = 0 and fewer prompts than spins.

    Attributes:
        m, q, q_self, chi: order parameters; q and chi are of the D x D block.
        e_icl, e_icl_gibbs, e_idg, e_train: squared errors. e_idg is e_icl at the pretraining context length: without
            a pool of tasks every prompt has a new task.
        contrast: m D/sqrt((D + 1)(D q + D v_2)) (SG Fig. 4a), a ratio of means.
        free_energy, energy, entropy: per D^2, in units of the scaled temperature.
        replicon: 1 - largest eigenvalue of the response of (v_1, v_2) to itself; the replicon at D -> infinity.
        last_row: |W_last|^2 = D v_2.
        residual: largest relative residual of the equations for g_1 and g_2.
        error_bound: not known here, NaN.
        status: codes of `numerics.fixed_point.Status`.
        prompts, context, dimension: the integers P = round(tau D^2), N = round(alpha D) and D used.
    """

    last_row: Array
    prompts: NDArray[np.int64]
    context: NDArray[np.int64]
    dimension: NDArray[np.int64]


def solve_finite(
    *,
    dimension: ArrayLike,
    task_diversity: ArrayLike,
    context_length: ArrayLike,
    label_noise: ArrayLike = 0.0,
    ridge: ArrayLike = 0.1,
    temperature: ArrayLike = 0.0,
    test_context_length: ArrayLike | None = None,
    norm: str = "N",
) -> FiniteSizeSolution:
    r"""Means over data sets at finite dimension D; arrays broadcast, the dimension included.

    Equations: those of the module. Source: this project, notes/finite_size.md. At D -> infinity they become those of
    `numerics.saddle_point.solve`, with corrections in powers of 1/D.

    Args:
        dimension: D, whole, >= 4.
        task_diversity: tau > 0; P = round(tau D^2) prompts.
        context_length: alpha > 0; N = round(alpha D) labelled tokens.
        label_noise: rho >= 0.
        ridge: lam = D lambda0 >= 0. 0 is the ridgeless limit; it diverges for P = D(D + 1), as many prompts as spins,
            and for fewer prompts than spins with N <= 2 tokens (a context can then be arbitrarily uninformative, and
            fitting its label exactly takes weights of infinite variance).
        temperature: T = D^2/beta >= 0.
        test_context_length: N/D of the test prompts, for e_icl and e_icl_gibbs; default as in pretraining.
        norm: divisor of the attention sum, "N" or "N+1".

    Returns:
        `FiniteSizeSolution`, arrays of the broadcast shape.

    Raises:
        ParameterError, ParameterTypeError: bad input; the message names value, range and remedy.

    Examples:
        >>> found = solve_finite(dimension=[10, 40], task_diversity=2.0, context_length=2.0, ridge=0.1)
        >>> found.prompts, found.context, np.round(found.e_icl, 2)
        (array([ 200, 3200]), array([20, 80]), array([0.71, 0.6 ]))
    """
    given = {
        "task_diversity": task_diversity,
        "context_length": context_length,
        "label_noise": label_noise,
        "ridge": ridge,
        "temperature": temperature,
        "test_context_length": test_context_length,
    }
    return solve_finite_points(given, dimension=dimension, norm=norm)


def solve_finite_points(
    given: Mapping[str, ArrayLike | None], *, dimension: ArrayLike, norm: str = "N"
) -> FiniteSizeSolution:
    """`solve_finite` with its parameters as a mapping."""
    check_choice("norm", norm, ("N", "N+1"))
    parameters = broadcast(given)
    if not np.all(np.isinf(parameters["distinct_tasks"])):
        raise ParameterError(
            "the finite-size theory has one task per prompt: leave out distinct_tasks, or dimension for the theory of "
            "pools at D -> infinity"
        )
    sizes = whole_dimensions(dimension)
    try:
        shape = np.broadcast_shapes(sizes.shape, parameters["ridge"].shape)
    except ValueError as error:
        raise ParameterError(
            f"dimension {sizes.shape} does not broadcast with the parameters' shape {parameters['ridge'].shape}"
        ) from error
    sizes = np.broadcast_to(sizes, shape).reshape(-1)
    flat = {name: np.broadcast_to(array, shape).reshape(-1) for name, array in parameters.items()}
    flat["prompts"] = _count("task_diversity", "P = round(tau D^2)", flat["task_diversity"] * sizes**2)
    for name in ("context_length", "test_context_length"):
        flat[name] = _count(name, "N = round(alpha D)", flat[name] * sizes)
    flat["dimension"] = sizes.astype(np.float64)

    result = {name: np.full(sizes.shape, np.nan) for name in _REAL}
    # Points of one law of the prompts share the nodes.
    laws, group = np.unique(
        np.stack([flat["dimension"], flat["context_length"], flat["label_noise"]]), axis=1, return_inverse=True
    )
    for index, (size, context, noise) in enumerate(laws.T):
        nodes = prompt_nodes(int(size), int(context), int(context) + (norm == "N+1"), float(noise))
        members = np.flatnonzero(group.reshape(-1) == index)
        step = max(1, _BLOCK // nodes.weight.size)
        for start in range(0, members.size, step):
            part = members[start : start + step]
            with np.errstate(all="ignore"):
                values = _solve_law(nodes, {name: array[part] for name, array in flat.items()}, norm)
            for name in _REAL:
                result[name][part] = values[name]

    arrays: dict[str, Any] = dict(result)
    arrays["status"] = _judge(result, flat)
    arrays["prompts"], arrays["context"] = flat["prompts"].astype(np.int64), flat["context_length"].astype(np.int64)
    arrays["dimension"] = sizes.copy()
    arrays["error_bound"] = np.full(sizes.shape, np.nan)
    return FiniteSizeSolution(**{name: array.reshape(shape)[()] for name, array in arrays.items()})


_REAL = tuple(
    field.name
    for field in fields(FiniteSizeSolution)
    if field.name not in ("status", "prompts", "context", "dimension", "error_bound")
)


def whole_dimensions(dimension: ArrayLike) -> NDArray[np.int64]:
    """Dimensions as whole numbers >= 4.

    Raises:
        ParameterError, ParameterTypeError: not whole, too small, not numbers.
    """
    array = np.asarray(dimension)
    if array.dtype.kind not in "iuf":
        raise ParameterTypeError(f"dimension = {dimension!r} must be a whole number or an array of whole numbers")
    bad = ~((array == np.rint(array)) & (array >= MINIMUM_DIMENSION) & (array < 2**31))
    if bad.any():
        raise ParameterError(
            f"dimension = {array[bad].flat[0]} must be a whole number >= {MINIMUM_DIMENSION}: the finite-size theory "
            "neglects terms of relative order 1/D^2, which are not small below; simulate, or take a larger dimension"
        )
    return array.astype(np.int64)


def _count(name: str, formula: str, value: Array) -> Array:
    count = np.rint(value)
    if (count < 1).any():
        raise ParameterError(f"{name} gives {formula} = 0 at some dimension: take it, or the dimension, larger")
    return count


def _judge(values: Mapping[str, Array], flat: Mapping[str, Array]) -> NDArray[np.int8]:
    """Status codes; blanks what failed."""
    spins = flat["dimension"] * (flat["dimension"] + 1)
    ridgeless = flat["ridge"] == 0
    status = np.full(spins.shape, Status.CONVERGED, dtype=np.int8)
    status[~(values["residual"] <= _RESIDUAL_TOLERANCE)] = Status.NOT_CONVERGED
    status[~(np.isfinite(values["e_icl"]) & (values["q"] > 0) & (values["replicon"] > 0))] = Status.NOT_FINITE
    few = (flat["prompts"] < spins) & (flat["context_length"] <= 2)
    status[ridgeless & ((flat["prompts"] == spins) | few)] = Status.DIVERGES
    failed = status != Status.CONVERGED
    for array in values.values():
        array[failed] = np.nan
    return status


def _solve_law(nodes: PromptNodes, flat: Mapping[str, Array], norm: str) -> dict[str, Array]:
    """All quantities at points that share the law of one prompt."""
    size, prompts, ridge0 = flat["dimension"][0], flat["prompts"], flat["ridge"] / flat["dimension"]
    spins = np.array([size**2, size])
    # Without ridge and with fewer prompts than spins g and c diverge as 1/lambda0: solve for lambda0 g, with
    # om/lambda0 = 1/(lambda0 c).
    flat_directions = (flat["ridge"] == 0) & (prompts < spins.sum())
    unit = np.where(flat_directions, 0.0, 1.0)
    effective = np.where(flat_directions, 1.0, ridge0)
    features = np.stack([nodes.block, nodes.last])
    response, residual = _response(nodes.weight, features, spins, prompts, effective, unit)

    om = 1 / (unit[:, None] + (response / prompts[:, None]) @ features)
    first = om @ (nodes.weight * np.stack([nodes.block, nodes.last, nodes.signal])).T
    m = response[:, 0] * first[:, 2] / size**2
    squares = om**2
    leverage_square = (squares @ (nodes.weight * _pairs(features)).T).reshape(-1, 2, 2)
    # label - 2 m signal + m^2 block: the part of R that is not due to fluctuations of the weights, and the same
    # without features in front for the train error.
    fixed = np.stack([nodes.label, -2 / size * nodes.signal, nodes.block / size])
    weighted = np.concatenate([fixed, (features[:, None] * fixed).reshape(6, -1)])
    powers = np.stack([np.ones_like(m), m, m**2], axis=1)
    bare = np.einsum("pfk,pk->pf", (squares @ (nodes.weight * weighted).T).reshape(-1, 3, 3), powers)
    scale = response**2 / (spins * prompts[:, None])
    coupling = scale[:, :, None] * leverage_square
    v = _solve_two(np.eye(2) - coupling, scale * bare[:, 1:])
    trace, difference = coupling[:, 0, 0] + coupling[:, 1, 1], coupling[:, 0, 0] - coupling[:, 1, 1]
    perron = trace / 2 + np.sqrt(difference**2 / 4 + coupling[:, 0, 1] * coupling[:, 1, 0])

    spread = (squares @ (nodes.weight * features).T) * v
    e_train = np.where(flat_directions, 0.0, bare[:, 0] + spread.sum(axis=1))
    g = np.where(flat_directions[:, None], np.inf, response)
    leverage = (response / prompts[:, None]) @ features
    logarithm = (np.log1p(leverage) - leverage * om) @ nodes.weight
    log_determinant = prompts * logarithm - np.log(response) @ spins
    q, last_row = m**2 + size * v[:, 0], size * v[:, 1]
    return {
        "m": m,
        "q": q,
        "chi": g[:, 0] / size,
        "replicon": 1 - perron,
        "last_row": last_row,
        "contrast": m * size / np.sqrt((size + 1) * (size * q + last_row)),
        "residual": residual,
        "e_train": e_train,
        **_errors(m, q, last_row, g, flat, norm),
        **_thermodynamics(e_train, q + last_row / size, np.where(flat_directions, -np.inf, log_determinant), flat),
        "q_self": np.where(flat["temperature"] == 0, q, q + flat["temperature"] * g[:, 0] / size),
    }


def _pairs(features: Array) -> Array:
    return np.stack([features[0] ** 2, features[0] * features[1], features[1] * features[0], features[1] ** 2])


def _response(
    weight: Array, features: Array, spins: Array, prompts: Array, ridge0: Array, unit: Array
) -> tuple[Array, Array]:
    """g of shape (points, 2) by monotone Newton, and its relative residual; om = 1/(unit + c)."""
    first, second = (weight * features).T, (weight * _pairs(features)).T
    # Far out T is homogeneous of degree 1; on the ray of its fixed direction its slope is n/P. With more prompts than
    # spins, n < P, Newton from a distant point of that ray lands above the solution.
    ray = np.ones((prompts.size, 2))
    for _ in range(20):
        ray = spins / (prompts[:, None] * ((1 / (ray @ features)) @ first))
        ray /= ray.sum(axis=1, keepdims=True)
    far = ray * (1e6 * prompts / ((ray @ features) @ weight))[:, None]
    use_ray = (prompts > spins.sum()) & (ridge0 * far.max(axis=1) < 1)
    g = np.where(use_ray[:, None], far, (1 / ridge0)[:, None])
    best, smallest = g, np.full(prompts.shape, np.inf)
    for _ in range(_ITERATIONS):
        om = 1 / (unit[:, None] + (g / prompts[:, None]) @ features)
        image = 1 / (ridge0[:, None] + (om @ first) / spins)
        residual = np.max(np.abs(image / g - 1), axis=1)
        better = residual < smallest
        if not better.any() and (smallest <= _RESIDUAL_TOLERANCE).all():
            break
        best = np.where(better[:, None], g, best)
        smallest = np.where(better, residual, smallest)
        if (smallest <= 2e-15).all():
            break
        slope = (image**2 / (spins * prompts[:, None]))[:, :, None] * (om**2 @ second).reshape(-1, 2, 2)
        g = g - _solve_two(np.eye(2) - slope, g - image)
    return best, smallest


def _solve_two(matrix: Array, right: Array) -> Array:
    """Solutions of many 2 x 2 linear systems."""
    determinant = matrix[:, 0, 0] * matrix[:, 1, 1] - matrix[:, 0, 1] * matrix[:, 1, 0]
    first = matrix[:, 1, 1] * right[:, 0] - matrix[:, 0, 1] * right[:, 1]
    second = matrix[:, 0, 0] * right[:, 1] - matrix[:, 1, 0] * right[:, 0]
    return np.stack([first, second], axis=1) / determinant[:, None]


def _errors(m: Array, q: Array, last_row: Array, g: Array, flat: Mapping[str, Array], norm: str) -> dict[str, Array]:
    """e_icl, e_icl_gibbs and e_idg by the exact moments of one prompt."""
    size, temperature = flat["dimension"], flat["temperature"]

    def error(context: Array) -> tuple[Array, Array]:
        divisor = context if norm == "N" else context + 1
        moments = generated_numpy.feature_moments(size, context, divisor, flat["label_noise"])
        label, signal, block, last = moments
        spread = temperature * (block * g[:, 0] / size + last * g[:, 1] / size)
        return label - 2 * signal * m + block * q + last * last_row, spread

    e_icl, spread = error(flat["test_context_length"])
    e_idg, _ = error(flat["context_length"])
    return {"e_icl": e_icl, "e_idg": e_idg, "e_icl_gibbs": np.where(temperature == 0, e_icl, e_icl + spread)}


def _thermodynamics(
    e_train: Array, norm_square: Array, log_determinant: Array, flat: Mapping[str, Array]
) -> dict[str, Array]:
    """energy, free_energy, entropy in the measure of `validation.observables`; norm_square is |W|^2/D."""
    size, temperature = flat["dimension"], flat["temperature"]
    spins = size * (size + 1)
    ground_state = (e_train + flat["ridge"] * norm_square) / 2
    cold = temperature == 0
    energy = ground_state + spins * temperature / (2 * size**2)
    volume = spins * np.log(2 * np.pi * np.where(cold, 1.0, temperature) / size**2) - log_determinant
    units = (size**2 + 2 * size) * np.log(size)  # sqrt(D) W on the block, D W in the last row
    free_energy = ground_state - temperature / (2 * size**2) * (volume + units)
    return {
        "energy": energy,
        "free_energy": np.where(cold, ground_state, free_energy),
        "entropy": np.where(cold, np.nan, (energy - free_energy) / temperature),
    }
