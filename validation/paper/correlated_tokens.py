r"""Tokens of a prompt that are correlated with each other: law, moments, population error, theory. For SG Fig. S4.

Law of a prompt (this project). Let n = w/|w|, t = |w|/sqrt(D), a ~ N(0, Sigma) the tokens' components along n, A the
N x N block of the context in Sigma, sigma its column with the query, s the variance of the query. The labels are t a;
u_{1..D} = t X a/norm, u_{D+1} = t^2 |a|^2/norm. Given a, the components of (u, xt) across n are independent pairs of
variances t^2 a.Aa/norm^2 and s and covariance t a.sigma/norm. Everything below follows by Isserlis' theorem.

Theory (this project). Query and context are correlated, so the features s = u (x) xt are not isotropic. But rotations
of token space leave the law unchanged: E[s s^T] is a number on each of trace (1 spin), symmetric traceless matrices
(D(D+1)/2 - 1), antisymmetric ones (D(D-1)/2) and last row (D). With T = u.xt, F = |u|^2 |xt|^2 (u the first D) the
squared parts of a feature vector are

    p = T^2/D,   (F + T^2)/2 - T^2/D,   (F - T^2)/2,   u_{D+1}^2 |xt|^2

and the cavity equations of the isotropic theory (notes/derivation.md) hold part by part, r = 1..4 of n_r spins:

    om = 1/(1 + sum_r p_r g_r/P),   1/g_r = lambda0 + E[om p_r]/n_r,   M = g_1 E[om y T]/sqrt(D)
    v_r = g_r^2/(P n_r) E[om^2 p_r ((y - M T/sqrt(D))^2 + sum_k p_k v_k)]
    error = E y^2 - 2 M E[y T]/sqrt(D) + M^2 E p_1 + sum_r v_r E p_r

The averages with om are over sampled prompts, in batches, which give the theory's own standard error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.errors import ConvergenceError
from iclglass.numerics.instance.data import Instance

__all__ = ["CorrelatedLaw", "cavity_error", "covariance", "draw_correlated", "law_of", "population_error"]

FloatArray = NDArray[np.float64]

CHUNK = 20_000
"""Prompts drawn at once."""
_CHANGE, _STEPS = 1e-12, 2000
"""Relative change of the responses at which they have settled, and steps at the most."""


def covariance(kind: str, *, correlation: float, context: int) -> FloatArray:
    """Sigma over the N + 1 positions of a prompt, the query last: "intended" L L^T or "published" L^T L.

    >>> covariance("intended", correlation=0.5, context=1).round(12).tolist()
    [[1.0, 0.5], [0.5, 1.0]]
    >>> covariance("published", correlation=0.6, context=1).round(12).tolist()
    [[1.36, 0.48], [0.48, 0.64]]
    """
    intended = np.full((context + 1, context + 1), correlation) + (1 - correlation) * np.eye(context + 1)
    if kind == "intended":
        return intended
    factor = np.linalg.cholesky(intended)
    product: FloatArray = factor.T @ factor
    return product


def draw_correlated(sigma: FloatArray, *, dimension: int, prompts: int, rng: np.random.Generator) -> Instance:
    """P prompts whose positions have the covariance sigma, (N+1, N+1), each with its own task; norm N + 1.

    >>> data = draw_correlated(np.eye(4), dimension=3, prompts=5, rng=np.random.default_rng(1))
    >>> data.context.shape, data.query.shape
    ((5, 4), (5, 3))
    """
    norm, factor = sigma.shape[0], np.linalg.cholesky(sigma)
    parts = []
    for start in range(0, prompts, CHUNK):
        count = min(CHUNK, prompts - start)
        task = rng.standard_normal((count, dimension))
        length = np.linalg.norm(task, axis=1)
        along = rng.standard_normal((count, norm)) @ factor.T
        labels, last = along[:, :-1], along[:, -1]
        square = np.einsum("pk,pk->p", labels, labels)
        spread = np.einsum("pk,pk->p", labels @ sigma[:-1, :-1], labels)
        shared = labels @ sigma[:-1, -1]
        direction = task / length[:, None]
        scale = length / math.sqrt(dimension)

        first, second = (_across(direction, rng) for _ in range(2))
        outside_u = np.sqrt(spread)[:, None] * first
        slope = shared / spread
        rest = np.sqrt(sigma[-1, -1] - shared * slope)
        query = last[:, None] * direction + slope[:, None] * outside_u + rest[:, None] * second
        context = scale[:, None] * (square[:, None] * direction + outside_u) / norm
        parts.append((np.column_stack([context, scale**2 * square / norm]), query, scale * last))
    context, query, label = (np.concatenate(pieces) for pieces in zip(*parts, strict=True))
    return Instance(context, query, label)


def _across(direction: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Standard normal vectors orthogonal to the directions."""
    normal = rng.standard_normal(direction.shape)
    normal -= np.einsum("pd,pd->p", normal, direction)[:, None] * direction
    return normal


@dataclass(frozen=True, eq=False)
class CorrelatedLaw:
    """Exact second moments of one prompt.

    label : E y^2.    signal : E[y T]/sqrt(D), along the unit vector of the trace.
    eigenvalues : (4,), of E[s s^T] on trace, symmetric, antisymmetric matrices and last row.    sizes : (4,), n_r.
    """

    label: float
    signal: float
    eigenvalues: FloatArray
    sizes: FloatArray


def law_of(sigma: FloatArray, dimension: int) -> CorrelatedLaw:
    """Exact moments by Isserlis' theorem; norm N + 1.

    >>> found = law_of(np.eye(2), 2)  # one token, norm 2, query independent of it
    >>> found.label, found.signal == 1 / 2 / math.sqrt(2)
    (1.0, True)
    """
    block, column, s = sigma[:-1, :-1], sigma[:-1, -1], float(sigma[-1, -1])
    d, norm = float(dimension), float(sigma.shape[0])
    trace, trace2 = float(np.trace(block)), float(np.sum(block**2))
    c2, c3 = float(column @ column), float(column @ block @ column)
    square4 = trace**2 + 2 * trace2  # E |a|^4
    square4_q = s * square4 + 4 * trace * c2 + 8 * c3  # E |a|^4 a_q^2
    mixed = s * trace2 + 2 * c3  # E (a.b)^2 b_q^2 = E a_q^2 a.Aa
    signal = (s * trace + (d + 1) * c2) / norm
    overlap = square4_q + 2 * (d - 1) * (trace * c2 + 2 * c3) + (d - 1) * mixed + (d - 1) * (d - 2) * c3
    product = square4_q + (d - 1) * (s * square4 + 2 * mixed + (d - 2) * s * trace2)
    overlap, product = overlap / norm**2, product / norm**2
    last = (1 + 2 / d) * (square4_q + (d - 1) * s * square4) / norm**2
    sizes = np.array([1.0, d * (d + 1) / 2 - 1, d * (d - 1) / 2, d])
    parts = np.array([overlap / d, (product + overlap) / 2 - overlap / d, (product - overlap) / 2, last])
    return CorrelatedLaw(s, signal / math.sqrt(d), parts / sizes, sizes)


def population_error(weights: FloatArray, law: CorrelatedLaw) -> float:
    """Exact error of weights (D+1, D) on a new prompt of the law."""
    dimension = weights.shape[1]
    block, root = weights[:-1], math.sqrt(dimension)
    trace, even, odd = float(np.trace(block)) / root, (block + block.T) / 2, (block - block.T) / 2
    squares = np.array([trace**2, np.sum(even**2) - trace**2, np.sum(odd**2), np.sum(weights[-1] ** 2)])
    return float(law.label - 2 * trace * law.signal + law.eigenvalues @ squares)


def cavity_error(drawn: Instance, law: CorrelatedLaw, *, prompts: int, ridge0: float) -> float:
    """Error on new prompts by the equations of the module's docstring; averages over the prompts drawn.

    Raises
    ------
    ConvergenceError
        The responses g_r do not settle.
    """
    root = math.sqrt(drawn.dimension)
    along = np.einsum("pd,pd->p", drawn.context[:, :-1], drawn.query)
    query2 = np.einsum("pd,pd->p", drawn.query, drawn.query)
    product = np.einsum("pd,pd->p", drawn.context[:, :-1], drawn.context[:, :-1]) * query2
    one = along**2 / drawn.dimension
    parts = np.array(
        [one, (product + along**2) / 2 - one, (product - along**2) / 2, drawn.context[:, -1] ** 2 * query2]
    )
    count = along.size
    response = 1 / (ridge0 + law.eigenvalues)
    for _ in range(_STEPS):
        weight = 1 / (1 + response @ parts / prompts)
        new = 1 / (ridge0 + parts @ weight / count / law.sizes)
        change = float(np.max(np.abs(new / response - 1)))
        response = new
        if change < _CHANGE:
            break
    else:
        raise ConvergenceError(f"the cavity responses still change by {change:.1e} after {_STEPS} steps")
    amplitude = response[0] * float(np.mean(weight * drawn.label * along)) / root
    residual = (drawn.label - amplitude * along / root) ** 2
    factor = response**2 / (prompts * law.sizes)
    weighted = parts * weight**2
    matrix = factor[:, None] * (weighted @ parts.T) / count
    spread = np.linalg.solve(np.eye(4) - matrix, factor * (weighted @ residual) / count)
    mean_error = law.label - 2 * amplitude * law.signal + law.eigenvalues[0] * amplitude**2
    return float(mean_error + (law.sizes * law.eigenvalues) @ spread)
