r"""Cavity theory at finite dimension: every prompt has its own task, the size of its features fluctuates.

Two groups of spins, the D x D block (1) and the last row (2), with n_1 = D^2 and n_2 = D spins; or the block alone.
f_1 = |u|^2 |x|^2 and f_2 = v^2 |x|^2 are the squared norms of one prompt's features on them, E is over one prompt
(`numerics.gamma_quadrature`), lambda0 = lam/D. With c = (g_1 f_1 + g_2 f_2)/P, om = 1/(1 + c), a = 1, 2:

    1/g_a = lambda0 + E[om f_a]/n_a                                        (response: g_a is the mean of A^{-1})
    m     = g_1 E[om |x|^2 u.w/sqrt(D)]/D^2                                (mean weights: m I, and 0 in the last row)
    v_a   = g_a^2/(n_a P) E[om^2 f_a R],   R = |w/sqrt(D) - m u|^2 |x|^2/D + rho + f_1 v_1 + f_2 v_2

R is the squared error on a prompt left out. All follow from one functional, the mean of ln Z
(this project, notes/finite_size.md; SG and LU treat D -> infinity only). It is the accelerator of
`replica.theories.finite` for ridge regression: tests/numerics/test_finite_accelerator.py has the equations from there.

Existence, uniqueness and how it is solved. Write the first line as g = T(g). (1 + c)/f_a is affine in g and positive;
the inverse of a mean of inverses of such functions is concave; so T is increasing and concave, and T(0) > 0: there is
one positive solution, and Newton's method on g - T(g) descends to it monotonically from any g >= T(g), such as
g = 1/lambda0. T'(g) is also the matrix of the linear equations for v, and its largest eigenvalue is below 1.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.finite_observables import by_law, observables
from iclglass.numerics.gamma_quadrature import PromptNodes, prompt_nodes
from iclglass.numerics.last_row import LastRow
from iclglass.numerics.memory import chunks
from iclglass.numerics.sizes import divisor, to_unscaled

__all__ = ["solve_own_tasks"]

Array = NDArray[np.float64]

_BLOCK = 1 << 21
"""Points times quadrature nodes held at once."""
_RESIDUAL_TOLERANCE = 1e-10
_ITERATIONS = 200


def solve_own_tasks(flat: Mapping[str, Array], norm: str, layer: LastRow) -> dict[str, Array]:
    """All quantities at many points; every prompt has its own isotropic task.

    flat : name -> (points,): dimension, prompts, context_length and test_context_length as whole numbers; label_noise,
        ridge, temperature.
    norm : "N" or "N+1".
    layer : the last feature, and whether there is one.

    Returns name -> (points,): the quantities of `numerics.solution.Solution`.
    """
    result: dict[str, Array] = {}
    # Points of one law of the prompts share the nodes.
    for (size, context, noise), members in by_law(flat, "dimension", "context_length", "label_noise"):
        nodes = prompt_nodes(int(size), int(context), divisor(int(context), norm), noise)
        for chunk in chunks(members.size, _BLOCK // nodes.weight.size):
            part = members[chunk]
            with np.errstate(all="ignore"):
                values = _solve_law(nodes, {name: array[part] for name, array in flat.items()}, norm, layer)
            for name, value in values.items():
                result.setdefault(name, np.full(flat["dimension"].shape, np.nan))[part] = value
    return result


def _solve_law(nodes: PromptNodes, flat: Mapping[str, Array], norm: str, layer: LastRow) -> dict[str, Array]:
    """All quantities at points that share the law of one prompt."""
    size, prompts = flat["dimension"][0], flat["prompts"]
    last_scale, rows = layer.scale(int(size)), layer.rows(int(size))
    groups = 1 + layer.last_row
    spins = np.array([size**2, size])[:groups]
    # Without ridge and with fewer prompts than spins g and c diverge as 1/lambda0: solve for lambda0 g, with
    # om/lambda0 = 1/(lambda0 c).
    flat_directions = (flat["ridge"] == 0) & (prompts < spins.sum())
    unit = np.where(flat_directions, 0.0, 1.0)
    effective = np.where(flat_directions, 1.0, to_unscaled(size, ridge=flat["ridge"])["ridge0"])
    features = np.stack([nodes.block, nodes.last * last_scale**2])[:groups]
    response, residual = _response(nodes.weight, features, spins, prompts, effective, unit)

    om = 1 / (unit[:, None] + (response / prompts[:, None]) @ features)
    first = om @ (nodes.weight * np.concatenate([features, nodes.signal[None]])).T
    m = response[:, 0] * first[:, -1] / size**2
    squares = om**2
    leverage_square = (squares @ (nodes.weight * _pairs(features)).T).reshape(-1, groups, groups)
    # label - 2 m signal + m^2 block: the part of R that is not due to fluctuations of the weights, and the same
    # without features in front for the train error.
    fixed = np.stack([nodes.label, -2 / size * nodes.signal, nodes.block / size])
    weighted = np.concatenate([fixed, (features[:, None] * fixed).reshape(3 * groups, -1)])
    powers = np.stack([np.ones_like(m), m, m**2], axis=1)
    bare = np.einsum("pfk,pk->pf", (squares @ (nodes.weight * weighted).T).reshape(-1, 1 + groups, 3), powers)
    scale = response**2 / (spins * prompts[:, None])
    coupling = scale[:, :, None] * leverage_square
    v = _solve_linear(np.eye(groups) - coupling, scale * bare[:, 1:])

    spread = (squares @ (nodes.weight * features).T) * v
    e_train = np.where(flat_directions, 0.0, bare[:, 0] + spread.sum(axis=1))
    g = np.where(flat_directions[:, None], np.inf, response)
    leverage = (response / prompts[:, None]) @ features
    logarithm = (np.log1p(leverage) - leverage * om) @ nodes.weight
    log_determinant = prompts * logarithm - np.log(response) @ spins
    q = m**2 + size * v[:, 0]
    last_row = size * v[:, 1] if layer.last_row else np.zeros_like(m)
    log_determinant = np.where(flat_directions, -np.inf, log_determinant)
    return {
        **observables(e_train, m, q, last_row, g, log_determinant, flat, norm, last_scale),
        "replicon": 1 - _largest_eigenvalue(coupling),
        "contrast": m * size / np.sqrt(rows * (size * q + last_row)),
        "residual": residual,
    }


def _pairs(features: Array) -> Array:
    products: Array = features[:, None] * features
    return products.reshape(-1, features.shape[1])


def _response(
    weight: Array, features: Array, spins: Array, prompts: Array, ridge0: Array, unit: Array
) -> tuple[Array, Array]:
    """g of shape (points, groups) by monotone Newton, and its relative residual; om = 1/(unit + c)."""
    groups = features.shape[0]
    first, second = (weight * features).T, (weight * _pairs(features)).T
    # Far out T is homogeneous of degree 1; on the ray of its fixed direction its slope is n/P. With more prompts than
    # spins, n < P, Newton from a distant point of that ray lands above the solution.
    ray = np.ones((prompts.size, groups))
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
        slope = (image**2 / (spins * prompts[:, None]))[:, :, None] * (om**2 @ second).reshape(-1, groups, groups)
        g = g - _solve_linear(np.eye(groups) - slope, g - image)
    return best, smallest


def _solve_linear(matrix: Array, right: Array) -> Array:
    """Solutions of many linear systems of one unknown or two."""
    if matrix.shape[-1] == 1:
        return right / matrix[:, 0]
    determinant = matrix[:, 0, 0] * matrix[:, 1, 1] - matrix[:, 0, 1] * matrix[:, 1, 0]
    first = matrix[:, 1, 1] * right[:, 0] - matrix[:, 0, 1] * right[:, 1]
    second = matrix[:, 0, 0] * right[:, 1] - matrix[:, 1, 0] * right[:, 0]
    return np.stack([first, second], axis=1) / determinant[:, None]


def _largest_eigenvalue(matrix: Array) -> Array:
    """Of many positive matrices of one row or two."""
    if matrix.shape[-1] == 1:
        return matrix[:, 0, 0]
    trace, difference = matrix[:, 0, 0] + matrix[:, 1, 1], matrix[:, 0, 0] - matrix[:, 1, 1]
    largest: Array = trace / 2 + np.sqrt(difference**2 / 4 + matrix[:, 0, 1] * matrix[:, 1, 0])
    return largest
