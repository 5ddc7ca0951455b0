r"""The linear attention layer as a function of what is trained: its weights, its energy, the slope and the curvature.

    merged      the weights W itself, (D+1, D); without last row (D, D)
    separate    keys W_k, (D+1, D+1), and queries W_q, (D+1, D), with W = W_k^T W_q

A token's score for the query is (W_q xt).(W_k z), z = (x, y) the token with its label; the query's label is masked, so
that column of W_q acts on nothing and is left out. (SG writes the transpose, W_q^T W_k.) Energy, with r = y - S W:

    merged      H = |r|^2/(2P) + (ridge0/2) |W|^2
    separate    H = |r|^2/(2P) + (ridge0/2) (|W_k|^2 + |W_q|^2)

The least of (|W_k|^2 + |W_q|^2)/2 over all pairs that give W is the sum of W's singular values. So the ridge of the
separate layer is a nuclear norm: its minima are those of |r|^2/(2P) + ridge0 |W|_*, which prefers weights of low rank.
Without ridge both have the same minima.

The slope dH/dW = -S^T r/P =: G is pulled back by the chain rule, dH/dW_k = W_q G^T and dH/dW_q = W_k G.
Source: SG section II; the factors' ridge: this project, notes/training.md.
"""

import math

import numpy as np

from iclglass.numerics.arguments import FloatArray, check_choice, check_count, check_type
from iclglass.numerics.instance.features import FeatureOperator

__all__ = [
    "PARAMETRISATIONS",
    "Matrices",
    "effective_weights",
    "energy_and_slope",
    "initial_parameters",
    "largest_curvature",
    "norm_of",
    "shapes",
]

Matrices = tuple[FloatArray, ...]
"""(W,) of the merged layer, (W_k, W_q) of the separate one."""

PARAMETRISATIONS = ("merged", "separate")


def shapes(parametrisation: str, dimension: int, *, last_row: bool = True) -> tuple[tuple[int, int], ...]:
    """Shapes of the trained matrices; without last row D in the place of D+1.

    >>> shapes("merged", 3), shapes("separate", 3)
    (((4, 3),), ((4, 4), (4, 3)))
    """
    check_choice("parametrisation", parametrisation, PARAMETRISATIONS)
    rows = dimension + last_row
    merged = (rows, dimension)
    return (merged,) if parametrisation == "merged" else ((rows, rows), merged)


def initial_parameters(
    parametrisation: str, *, dimension: int, last_row: bool = True, rng: np.random.Generator
) -> Matrices:
    """Independent entries N(0, 1/(D+1)) in every matrix (SG Fig. S1); without last row N(0, 1/D).

    Those of the separate layer's W = W_k^T W_q are sums of D+1 products of variance 1/(D+1)^2: their variance is
    1/(D+1) as well, |W|^2/D = 1 on average for both, and the entries are uncorrelated but not Gaussian.

    >>> [matrix.shape for matrix in initial_parameters("separate", dimension=3, rng=np.random.default_rng(1))]
    [(4, 4), (4, 3)]
    """
    size = check_count("dimension", dimension, minimum=1)
    check_type("rng", rng, np.random.Generator, "a numpy.random.Generator")
    wanted = shapes(parametrisation, size, last_row=last_row)
    return tuple(rng.standard_normal(shape) / math.sqrt(size + last_row) for shape in wanted)


def effective_weights(parameters: Matrices) -> FloatArray:
    """W, (D+1, D): what the layer computes with."""
    if len(parameters) == 1:
        return parameters[0]
    key, query = parameters
    weights: FloatArray = key.T @ query
    return weights


def energy_and_slope(
    parameters: Matrices, features: FeatureOperator, label: FloatArray, ridge0: float
) -> tuple[float, Matrices]:
    """H and dH/d(parameters) on the prompts given, O(P D^2); the equations are in the module's docstring.

    >>> features = FeatureOperator(np.array([[1.0, 2.0]]), np.array([[3.0]]))
    >>> energy, (slope,) = energy_and_slope((np.zeros((2, 1)),), features, np.array([2.0]), 0.1)
    >>> energy, slope.tolist()
    (2.0, [[-6.0], [-12.0]])
    """
    residual = label - features.predict(effective_weights(parameters))
    energy = float(residual @ residual) / (2 * residual.size) + ridge0 / 2 * norm_of(parameters) ** 2
    slope = features.adjoint(residual)
    slope /= -residual.size
    if len(parameters) == 1:
        return energy, (slope + ridge0 * parameters[0],)
    key, query = parameters
    return energy, (query @ slope.T + ridge0 * key, key @ slope + ridge0 * query)


def largest_curvature(parameters: Matrices, features: FeatureOperator, label: FloatArray, ridge0: float) -> float:
    """L, the largest eigenvalue of the second derivative of H at the parameters, by Lanczos' method.

    Gradient descent at a rate above 2/L runs away from a minimum with this L. The merged layer's is the same
    everywhere, that of A = S^T S/P + ridge0.

    >>> features = FeatureOperator(np.array([[1.0, 2.0]]), np.array([[3.0]]))
    >>> round(largest_curvature((np.zeros((2, 1)),), features, np.array([2.0]), 0.1), 9)
    45.1
    """
    from scipy.sparse.linalg import LinearOperator, eigsh  # slow to import

    sizes = [matrix.size for matrix in parameters]
    ends = np.cumsum(sizes)[:-1]
    weights = effective_weights(parameters)
    slope = features.adjoint(features.predict(weights) - label) / label.size

    def second_derivative(vector: FloatArray) -> FloatArray:
        pieces = np.split(np.ravel(vector), ends)
        change = tuple(piece.reshape(matrix.shape) for piece, matrix in zip(pieces, parameters, strict=True))
        if len(parameters) == 1:
            of_weights = change[0]
            curved = features.normal(of_weights) / label.size
            return (curved + ridge0 * of_weights).ravel()
        key, query = parameters
        of_weights = change[0].T @ query + key.T @ change[1]
        curved = features.normal(of_weights) / label.size
        of_key = query @ curved.T + change[1] @ slope.T + ridge0 * change[0]
        of_query = key @ curved + change[0] @ slope + ridge0 * change[1]
        return np.concatenate((of_key.ravel(), of_query.ravel()))

    size = sum(sizes)
    operator = LinearOperator(shape=(size, size), dtype=np.float64, matvec=second_derivative)
    start = np.random.default_rng(0).standard_normal(size)  # fixed: the answer must not change from run to run
    return float(eigsh(operator, k=1, which="LA", v0=start, tol=1e-10, return_eigenvectors=False)[0])


def norm_of(parameters: Matrices) -> float:
    """Euclidean norm of all entries together.

    >>> norm_of((np.array([[3.0]]), np.array([[4.0]])))
    5.0
    """
    return math.sqrt(sum(float(np.vdot(matrix, matrix)) for matrix in parameters))
