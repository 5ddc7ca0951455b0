r"""Gauss quadrature for chi-square and normal variables, and the joint law of one prompt's scalars.

Nodes are the eigenvalues of the Jacobi matrix of the orthonormal polynomials, weights the squared first components of
its eigenvectors (Golub and Welsch). A chi-square variable is averaged over in its logarithm: the integrands of the
finite-size theory are rational functions of products of such variables, 1/(1 + c) with c anywhere between 0 and
infinity, and so smooth functions of their logarithms, whose poles stay at a distance of order one. Gauss quadrature
in the variable itself (generalised Laguerre) has to resolve a pole at -1/c and converges slowly for few degrees of
freedom: with 10 nodes each, 10 dimensions and 5 tokens it is wrong by up to 4 % where this one is wrong by less than
10^-4.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["PromptNodes", "chi_square_nodes", "discrete_gauss", "normal_nodes", "prompt_nodes", "scalar_nodes"]

Array = NDArray[np.float64]

_GRID = 1500
"""Points of the trapezoidal rule that stands for the law of ln chi^2; far below rounding, its integrand is analytic."""

_NEGLIGIBLE = 1e-10
"""Part of the averages that all nodes left out may carry."""

_FEW = 3
"""Degrees of freedom up to which (tokens: 1 to 3) the trapezoidal rule beats Gauss at the same number of nodes."""


def _gauss(diagonal: Array, off_diagonal: Array) -> tuple[Array, Array]:
    # scipy.linalg is slow to import and the asymptotic theory does not need it.
    from scipy.linalg import eigh_tridiagonal

    nodes, vectors = eigh_tridiagonal(diagonal, off_diagonal)
    return np.asarray(nodes), np.asarray(vectors[0] ** 2)


@lru_cache(maxsize=1024)
def chi_square_nodes(freedom: int, count: int) -> tuple[Array, Array]:
    """Nodes and weights (sum 1) of Gauss quadrature in the logarithm of a chi-square variable.

    ``freedom`` >= 0 degrees of freedom; 0 is the variable that is always 0. Exact for polynomials of degree
    2 ``count`` - 1 in the logarithm.

    >>> nodes, weights = chi_square_nodes(7, 12)
    >>> bool(abs(weights @ nodes - 7) < 1e-10), bool(abs(weights @ (1 / nodes) - 1 / 5) < 1e-6)
    (True, True)
    """
    if freedom == 0:
        return np.zeros(1), np.ones(1)
    # y = ln(chi^2/k) has the density exp(-(k/2)(e^y - 1 - y)), with an exponential tail to the left.
    width = np.sqrt(2 / freedom)
    y = np.linspace(-max(14 * width, 160 / freedom), np.log1p(14 * width + 80 / freedom), _GRID)
    density = np.exp(-freedom / 2 * (np.expm1(y) - y))
    density /= density.sum()
    nodes, weights = discrete_gauss(y, density, count)
    return freedom * np.exp(nodes), weights


def discrete_gauss(y: Array, density: Array, count: int) -> tuple[Array, Array]:
    """Gauss rule of ``count`` nodes for a law given as many points with weights, by Lanczos' iteration.

    >>> nodes, weights = discrete_gauss(np.array([-1.0, 0.0, 1.0]), np.array([0.25, 0.5, 0.25]), 2)
    >>> bool(np.allclose(nodes**2, 0.5)), bool(np.allclose(weights, 0.5))
    (True, True)
    """
    density = density / density.sum()
    mean = density @ y
    deviation = np.sqrt(density @ (y - mean) ** 2)
    x = (y - mean) / deviation
    # Lanczos: the Jacobi matrix of the discrete measure.
    basis = np.sqrt(density)[None, :]
    diagonal, off_diagonal = np.empty(count), np.empty(count)
    for step in range(count):
        image = x * basis[-1]
        diagonal[step] = basis[-1] @ image
        for _ in range(2):
            image -= (basis @ image) @ basis
        off_diagonal[step] = np.linalg.norm(image)
        basis = np.vstack([basis, image / off_diagonal[step]])
    nodes, weights = _gauss(diagonal, off_diagonal[:-1])
    return mean + deviation * nodes, weights / weights.sum()


@lru_cache(maxsize=16)
def normal_nodes(count: int) -> tuple[Array, Array]:
    """Nodes and weights (sum 1) that average polynomials up to degree 2 count - 1 over N(0, 1) exactly.

    >>> nodes, weights = normal_nodes(3)
    >>> bool(abs(weights @ nodes**4 - 3) < 1e-12)
    True
    """
    return _gauss(np.zeros(count), np.sqrt(np.arange(1.0, count)))


@dataclass(frozen=True, eq=False)
class PromptNodes:
    """Quadrature nodes of one prompt's law at finite D and N; all arrays have shape (nodes,).

    With w the task, x the query, u the context's features of the block and v that of the last row:

    weight: probabilities, sum 1.
    block: |u|^2 |x|^2, the squared norm of the features of the D x D block.
    last: v^2 |x|^2, of the last row.
    signal: (u.w/sqrt(D)) |x|^2.
    label: |w|^2 |x|^2/D^2 + rho, the square of the label averaged over the direction of x and its noise.
    """

    weight: Array
    block: Array
    last: Array
    signal: Array
    label: Array


def scalar_nodes(freedom: int, refine: int) -> tuple[Array, Array]:
    """Nodes for one chi-square variable: the fewer degrees of freedom, the wider its logarithm, the more nodes."""
    if freedom == 0 or freedom > _FEW:
        return chi_square_nodes(freedom, 4 + refine + round(16 / np.sqrt(max(freedom, 1))))
    # Exponential tails: polynomials converge slowly, the trapezoidal rule does not (error exp(-pi^2/step)).
    step = 0.6 / (1 + refine / 4)
    y = np.arange(-40 / freedom, np.log(80 / freedom), step)
    weights = np.exp(-freedom / 2 * (np.expm1(y) - y))
    return freedom * np.exp(y), weights / weights.sum()


@lru_cache(maxsize=16)
def prompt_nodes(dimension: int, context: int, divisor: int, label_noise: float, refine: int = 0) -> PromptNodes:
    r"""Tensor product of Gauss nodes for the scalars of one prompt.

    Conditionally on t^2 = |w|^2/D the labels are N independent normals of variance t^2 + rho, and the tokens'
    components along w are g = t y/(t^2 + rho) plus independent normals of variance rho/(t^2 + rho), so that

        |y|^2 = (t^2 + rho) Z,   y.g = t Z + sqrt(rho Z) zeta,   |u|^2 = [(y.g)^2 + |y|^2 Y]/norm^2,
        u.w/sqrt(D) = t y.g/norm,   v = |y|^2/norm,

    with Z ~ chi2_N, Y ~ chi2_{D-1}, zeta ~ N(0, 1), |w|^2, |x|^2 ~ chi2_D all independent: one variable fewer than
    drawing the noise itself. Source: this project, notes/finite_size.md.

    ``refine`` adds nodes in every dimension: the difference to refine = 0 is the error of the quadrature.
    """
    task, task_weight = scalar_nodes(dimension, refine)
    query, query_weight = task, task_weight
    labels, labels_weight = scalar_nodes(context, refine)
    # only a term of a sum: fewer nodes
    across, across_weight = chi_square_nodes(dimension - 1, max(1 + refine + round(16 / np.sqrt(dimension - 1)), 3))
    noise, noise_weight = normal_nodes(6 + refine) if label_noise > 0 else (np.zeros(1), np.ones(1))

    t2, x2, z, across_, zeta = (
        grid.reshape(-1) for grid in np.meshgrid(task / dimension, query, labels, across, noise, indexing="ij")
    )
    weight = np.einsum(
        "i,j,k,l,m->ijklm", task_weight, query_weight, labels_weight, across_weight, noise_weight
    ).reshape(-1)
    label_square = (t2 + label_noise) * z
    projection = np.sqrt(t2) * z + np.sqrt(label_noise * z) * zeta
    block = (projection**2 + label_square * across_) / divisor**2 * x2
    last = (label_square / divisor) ** 2 * x2
    # Most nodes of a product lie in its corners and weigh nothing: keep those that carry the averages, of second powers
    # of the features too.
    importance = weight * (1 + block / (weight @ block) + last / (weight @ last)) ** 2
    # Where they overflow all are kept, and the averages say so.
    kept = ~(importance <= _NEGLIGIBLE * importance.mean())
    return PromptNodes(
        weight=weight[kept] / weight[kept].sum(),
        block=block[kept],
        last=last[kept],
        signal=(np.sqrt(t2) * projection / divisor * x2)[kept],
        label=(t2 * x2 / dimension + label_noise)[kept],
    )
