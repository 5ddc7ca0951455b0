r"""Nodes over the scalars of one prompt at finite D and N, for any loss and labels.

A prediction sees of one prompt the length of the task t = |w|/sqrt(D), the context's features along the task u_par and
across it u_perp, the last feature v, and the query's components along w, along the rest of u, and the length of the
rest. Given t,

    linear labels   |y|^2 = (t^2 + rho) Z,    u_par = (t Z + sqrt(rho Z) zeta)/norm
    sign labels     |y|^2 = N,                u_par = (r H + sqrt((1 - r^2) N) zeta)/norm,   r = t/sqrt(t^2 + rho)
    both            u_perp^2 = |y|^2 Y/norm^2,   v = s |y|^2/norm

with Z ~ chi^2_N, Y ~ chi^2_{D-1}, zeta ~ N(0, 1), and H a sum of N half-normal variables |z_k|: a label times its
token's component along w is |z| where there is no noise. Every variable has a Gauss rule of its own law, so a few nodes
each are enough: the integrands are smooth, and the laws narrow. Source: this project, notes/finite_size.md.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.gamma_quadrature import chi_square_nodes, discrete_gauss, normal_nodes

__all__ = ["PromptScalars", "half_normal_sum_nodes", "prompt_scalars", "skew_normal_nodes"]

Array = NDArray[np.float64]
Rule = tuple[Array, Array]
"""Nodes and weights."""

_ONE: Rule = np.zeros(1), np.ones(1)

_NEGLIGIBLE = 1e-5
"""Part of the averages that all nodes left out may carry."""


@dataclass(frozen=True, eq=False)
class PromptScalars:
    """Nodes of one prompt's law; all arrays have shape (nodes,).

    weight : probabilities, sum 1.
    task : t = |w|/sqrt(D).
    along, across : the block's features u_par, u_perp.
    last : v, the last feature at s = 1.
    first, second, rest : of the query: its component along e_1, along e_2, and the square of what is left.
    label : y of the query; 0 where only f - y counts.
    residual : e_1 is the direction of m u - w/sqrt(D), not that of w, and ``second`` is part of ``rest``.
    """

    weight: Array
    task: Array
    along: Array
    across: Array
    last: Array
    first: Array
    second: Array
    rest: Array
    label: Array
    residual: bool

    @property
    def query_square(self) -> Array:
        """|xt|^2."""
        return self.first**2 + self.second**2 + self.rest


_ARRAYS = tuple(name for name in PromptScalars.__annotations__ if name != "residual")


@lru_cache(maxsize=64)
def skew_normal_nodes(slope: float, count: int) -> tuple[Array, Array]:
    """Gauss rule for the density 2 Phi(slope x) N(x; 0, 1): a normal variable, given that a label beside it is 1.

    An infinite slope is the half-normal law.

    >>> nodes, weights = skew_normal_nodes(np.inf, 6)
    >>> bool(abs(weights @ nodes - np.sqrt(2 / np.pi)) < 1e-12), bool(abs(weights @ nodes**2 - 1) < 1e-12)
    (True, True)
    """
    from scipy.special import ndtr

    # Panels that shrink towards the step of Phi; where there is none they cost nothing.
    ends = np.concatenate([-np.geomspace(9, 1e-9, 26), [0.0], np.geomspace(1e-9, 9, 26)])
    x, w = np.polynomial.legendre.leggauss(24)
    low, wide = ends[:-1, None], np.diff(ends)[:, None]
    points = (low + wide * (x + 1) / 2).ravel()
    with np.errstate(invalid="ignore"):
        density = (wide * w / 2).ravel() * np.exp(-(points**2) / 2) * ndtr(slope * points)
    return discrete_gauss(points, density, count)


@lru_cache(maxsize=64)
def half_normal_sum_nodes(terms: int, count: int) -> tuple[Array, Array]:
    """Gauss rule for H = sum of |z_k| over ``terms`` independent standard normal variables, from its exact moments.

    >>> nodes, weights = half_normal_sum_nodes(7, 5)
    >>> bool(abs(weights @ nodes - 7 * np.sqrt(2 / np.pi)) < 1e-10)
    True
    """
    import mpmath

    with mpmath.workdps(40 + 12 * count):
        degree = 2 * count
        mean = mpmath.sqrt(2 / mpmath.pi)
        raw = [mpmath.power(2, mpmath.mpf(k) / 2) * mpmath.gamma(mpmath.mpf(k + 1) / 2) / mpmath.sqrt(mpmath.pi)
               for k in range(degree + 1)]  # fmt: skip
        # Moments of |z| around its mean, and their series' power: the sum's. log and exp of a power series.
        one = [sum(mpmath.binomial(k, j) * raw[j] * (-mean) ** (k - j) for j in range(k + 1)) / mpmath.factorial(k)
               for k in range(degree + 1)]  # fmt: skip
        power = [mpmath.mpf(1)]
        for k in range(1, degree + 1):  # (a^n)_k by a recurrence in k
            power.append(sum(((terms + 1) * j - k) * one[j] * power[k - j] for j in range(1, k + 1)) / k)
        scale = mpmath.sqrt(terms * (1 - mean**2))
        moments = [power[k] * mpmath.factorial(k) / scale**k for k in range(degree + 1)]
        hankel = mpmath.matrix(count + 1, count + 1)
        for i in range(count + 1):
            for j in range(count + 1):
                hankel[i, j] = moments[i + j]
        # One more row than needed, whose last entry is not: any number that keeps it positive.
        root = mpmath.cholesky(hankel[:count, :count]).T
        extra = mpmath.lu_solve(root.T, mpmath.matrix([moments[i + count] for i in range(count)]))
        diagonal, off = [], []
        for k in range(count):
            ahead = root[k, k + 1] if k + 1 < count else extra[k]
            before = root[k - 1, k] / root[k - 1, k - 1] if k else 0
            diagonal.append(float(ahead / root[k, k] - before))
            if k:
                off.append(float(root[k, k] / root[k - 1, k - 1]))
        centre, width = float(terms * mean), float(scale)
    from scipy.linalg import eigh_tridiagonal

    nodes, vectors = eigh_tridiagonal(np.array(diagonal), np.array(off))
    return centre + width * np.asarray(nodes, dtype=np.float64), np.asarray(vectors[0] ** 2, dtype=np.float64)


@lru_cache(maxsize=64)
def prompt_scalars(
    dimension: int, context: int, divisor: int, label_noise: float, labels: str, shape: str, even: bool, level: int
) -> PromptScalars:
    """Tensor product of Gauss nodes, less those that weigh nothing.

    labels : "linear" or "sign".
    shape : what the loss depends on (`numerics.lowering.prompts`): "translation", "margin" or "general".
    even : a loss of f - y that does not see its sign.
    level : more nodes; the difference between two levels is the error of the quadrature.

    >>> found = prompt_scalars(20, 40, 40, 0.1, "sign", "margin", False, 1)
    >>> round(float(found.weight @ found.query_square), 1), round(float(found.weight @ found.first), 2)
    (20.0, 0.76)
    """
    sign, noisy = labels == "sign", label_noise > 0
    residual = shape == "translation" and not sign

    def chi(freedom: int, spread: float) -> Rule:
        return chi_square_nodes(freedom, max(1, level + round(spread / np.sqrt(freedom))))

    task = chi(dimension, 8) if noisy or not sign else (np.full(1, float(dimension)), np.ones(1))
    across = chi(dimension - 1, 6)
    rest = chi(dimension - 1 - (not residual), 6)
    second = _ONE if residual else normal_nodes(level + 3)
    parts = []
    for t2, weight in zip(task[0] / dimension, task[1], strict=True):
        tokens, noise = _context(context, t2, label_noise, level, chi(context, 10), sign)
        first, epsilon = _query(t2, label_noise, level, shape, sign)
        if residual and even:
            first = first[0][first[0] >= 0], first[1][first[0] >= 0] * np.where(first[0][first[0] >= 0] > 0, 2, 1)
        signs = np.array([1.0, -1.0]) if sign and shape == "general" else np.ones(1)
        rules = (tokens, noise, across, first, second, rest, epsilon, (signs, np.full(signs.size, 1 / signs.size)))
        z, zeta, y, x1, x2, left, eps, label = np.meshgrid(*(nodes for nodes, _ in rules), indexing="ij", sparse=True)
        for each in np.meshgrid(*(weights for _, weights in rules), indexing="ij", sparse=True):
            weight = weight * each
        if sign:
            along, square, x1 = z, float(context), x1 * label
        else:
            along, square = np.sqrt(t2) * z + np.sqrt(label_noise * z) * zeta, (t2 + label_noise) * z
            label = np.zeros(1) if residual else np.sqrt(t2) * x1 + np.sqrt(label_noise) * eps
        values = (np.sqrt(t2), along / divisor, np.sqrt(square * y) / divisor, square / divisor, x1, x2, left, label)
        parts.append([np.ravel(each) for each in np.broadcast_arrays(weight, *values)])
    arrays = [np.concatenate(each) for each in zip(*parts, strict=True)]
    return _pruned(PromptScalars(**dict(zip(_ARRAYS, arrays, strict=True)), residual=residual))


def _context(context: int, t2: float, label_noise: float, level: int, labels: Rule, sign: bool) -> tuple[Rule, Rule]:
    """Z and zeta of linear labels; norm u_par of signs, and nothing."""
    if not sign:
        return labels, normal_nodes(level + 2) if label_noise > 0 else _ONE
    if label_noise == 0:
        return half_normal_sum_nodes(context, level + 2), _ONE
    # The sum of two variables has a rule of its own.
    r2 = t2 / (t2 + label_noise)
    (half, weight), (zeta, other) = half_normal_sum_nodes(context, level + 6), normal_nodes(level + 6)
    total = np.sqrt(r2) * half[:, None] + np.sqrt((1 - r2) * context) * zeta
    return discrete_gauss(total.ravel(), (weight[:, None] * other).ravel(), level + 2), _ONE


def _query(t2: float, label_noise: float, level: int, shape: str, sign: bool) -> tuple[Rule, Rule]:
    """The query's first component, and the noise of its label where that has to be drawn."""
    if sign:
        return skew_normal_nodes(np.sqrt(t2 / label_noise) if label_noise > 0 else np.inf, level + 4), _ONE
    drawn = shape == "general" and label_noise > 0
    return normal_nodes(2 * level + 4), normal_nodes(level + 3) if drawn else _ONE


def _pruned(law: PromptScalars) -> PromptScalars:
    weight, query = law.weight, law.query_square
    block, last = (law.along**2 + law.across**2) * query, law.last**2 * query
    importance = weight * (1 + block / (weight @ block) + last / (weight @ last)) ** 2
    order = np.argsort(importance)
    kept = np.sort(order[np.cumsum(importance[order]) > _NEGLIGIBLE * importance.sum()])
    arrays = {name: getattr(law, name)[kept] for name in _ARRAYS}
    return replace(law, **arrays | {"weight": weight[kept] / weight[kept].sum()})
