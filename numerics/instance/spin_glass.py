"""The real-spin glass of one data set, with every matrix written out: ground truth for small n = D(D+1).

SG section II: the weights are spins sigma = vec(W), with Boltzmann weight exp(-beta H) and

    H(sigma) = (1/2P) sum_mu (y_t^mu - s^mu.sigma)^2 + (lambda0/2) |sigma|^2
             = -(1/2) sum_{i != j} J_ij sigma_i sigma_j - sum_i h_i sigma_i
               + (1/2) sum_i lambda_i sigma_i^2 + const

    J_ij = -(1/P) sum_mu s_i s_j,   h_i = (1/P) sum_mu y_t s_i,   lambda_i = lambda0 + (1/P) sum_mu s_i^2

H is quadratic, so the measure is exactly Gaussian: mean A^{-1} h, covariance A^{-1}/beta, A = S^T S/P +
lambda0. `linear_response` gives the mean and the traces without the n x n covariance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from iclglass.numerics.arguments import check_real
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.instance.data import Instance
from iclglass.numerics.instance.features import zero_modes
from iclglass.numerics.memory import chunks

__all__ = ["BoltzmannMeasure", "SpinGlass", "boltzmann", "energy", "hessian", "hessian_eigenvalues", "spin_glass"]

FloatArray = NDArray[np.float64]

_CHUNK_ELEMENTS = 1 << 21
"""Products of features held at once while the Hessian is summed over prompts."""

DENSE_BYTES = 4e9
"""Size of an n x n matrix of doubles above which it is refused: n = 22360 spins, D = 149."""


@dataclass(frozen=True, eq=False)
class SpinGlass:
    """Couplings and fields of one data set.

    couplings : (n, n), J with zero diagonal.    fields : (n,), h.
    onsite : (n,), lambda_i.    constant : mean of y_t^2 / 2, the energy of W = 0.
    """

    couplings: FloatArray
    fields: FloatArray
    onsite: FloatArray
    constant: float

    def energy(self, spins: FloatArray) -> float:
        """H of one configuration, (n,) or (D+1, D), from J, h and lambda_i."""
        sigma = np.ravel(spins)
        pairs = sigma @ self.couplings @ sigma
        return float(-0.5 * pairs - self.fields @ sigma + 0.5 * self.onsite @ sigma**2 + self.constant)


@dataclass(frozen=True, eq=False)
class BoltzmannMeasure:
    """The Gaussian measure exp(-beta H)/Z over the n spins.

    mean : (D+1, D).    covariance : (n, n).
    log_partition : ln Z = ln of the integral of exp(-beta H) over all n spins, flat measure dW.
    """

    mean: FloatArray
    covariance: FloatArray
    log_partition: float


def spin_glass(prompts: Instance, ridge0: float) -> SpinGlass:
    """Couplings, fields and on-site terms of one data set, O(n^2) memory; ridge0 is lambda0, unscaled.

    Raises ParameterError, naming n and the memory, where an n x n matrix would take more than 4 GB (D > 149).

    >>> data = Instance(np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 0.0]]), np.array([2.0]))
    >>> glass = spin_glass(data, ridge0=0.5)
    >>> float(glass.couplings[0, 2]), glass.energy(np.zeros(6))
    (-2.0, 2.0)
    """
    ridge0 = check_real("ridge0", ridge0, minimum=0.0)
    couplings = -hessian(prompts)
    onsite = ridge0 - np.diagonal(couplings)
    np.fill_diagonal(couplings, 0.0)
    return SpinGlass(couplings, prompts.fields.ravel(), onsite, float(np.mean(prompts.label**2)) / 2)


def energy(prompts: Instance, weights: FloatArray, ridge0: float) -> float:
    """H of weights (D+1, D) as loss: half the mean squared residual plus (lambda0/2) |W|^2. Matrix free."""
    residual = prompts.label - prompts.features.in_double().predict(weights)
    return float(np.mean(residual**2) + ridge0 * np.sum(weights**2)) / 2


def hessian(prompts: Instance) -> FloatArray:
    """S^T S/P, shape (n, n), summed over the prompts a chunk at a time, so that S is not stored.

    The entry at (ij, kl) is the mean of u_i u_k x_j x_l: symmetric in i, k and in j, l separately. Only the
    distinct products of pairs are multiplied, (n/2) x (n/2) instead of n x n, and the full matrix is
    gathered from them. Raises ParameterError where n x n numbers would take more than 4 GB.
    """
    needed = 8 * prompts.spins**2
    if needed > DENSE_BYTES:
        raise ParameterError(
            f"n = {prompts.spins} spins: one n x n matrix takes {needed / 1e9:.1f} GB, above the limit of "
            f"{DENSE_BYTES / 1e9:.0f} GB; use `Instance.features`, which needs no matrix, or the matrix-free solvers"
        )
    rows, columns = prompts.features.weight_shape
    i, k = np.triu_indices(rows)
    j, m = np.triu_indices(columns)
    products = np.zeros((i.size, j.size))
    for part in chunks(prompts.prompts, _CHUNK_ELEMENTS // (i.size + j.size)):
        context, query = (array[part].astype(np.float64, copy=False) for array in (prompts.context, prompts.query))
        products += (context[:, i] * context[:, k]).T @ (query[:, j] * query[:, m])
    products /= prompts.prompts
    outer = np.empty((rows, rows), dtype=np.intp)
    outer[i, k] = outer[k, i] = np.arange(i.size)
    inner = np.empty((columns, columns), dtype=np.intp)
    inner[j, m] = inner[m, j] = np.arange(j.size)
    gathered = products[outer[:, None, :, None], inner[None, :, None, :]]
    return gathered.reshape(rows * columns, rows * columns)


def hessian_eigenvalues(prompts: Instance) -> FloatArray:
    """Eigenvalues of S^T S/P over all (D+1)^2 spins (D^2 without last row), ascending; SG Fig. S7 shows their law.

    The D+1 spins of the masked column have features zero, hence eigenvalue zero. For large D
    the rest is a/D times Marchenko-Pastur(1/tau), plus D eigenvalues of order one from the last
    row; the fraction of zeros is max(D+1, (D+1)^2 - P)/(D+1)^2, exactly, up to rounding of the zeros.
    """
    values = scipy.linalg.eigvalsh(hessian(prompts), overwrite_a=True, check_finite=False)
    masked = prompts.dimension + 1 if prompts.last_row else 0
    return np.sort(np.concatenate([np.zeros(masked), values]))


def boltzmann(prompts: Instance, *, ridge0: float, beta: float) -> BoltzmannMeasure:
    """The exact measure of one data set, by dense linear algebra: mean, covariance and ln Z.

    ridge0 >= 0 and beta > 0 are SG's unscaled lambda0 and inverse temperature. With ridge0 = 0 there must be at least n
    prompts: else A has zero modes and the measure cannot be normalised (ParameterError).

        ln Z = -beta H(mean) + (n/2) ln(2 pi/beta) - (1/2) ln det A
    """
    ridge0 = check_real("ridge0", ridge0, minimum=0.0)
    beta = check_real("beta", beta, minimum=0.0, above=True)
    count = prompts.spins
    if cause := zero_modes(prompts.features.shape, ridge0):
        raise ParameterError(f"{cause}: the measure cannot be normalised; use ridge0 > 0 or more prompts")
    matrix = hessian(prompts)
    matrix.flat[:: count + 1] += ridge0
    inverse = np.linalg.inv(matrix)
    fields = prompts.fields
    mean = (inverse @ fields.ravel()).reshape(fields.shape)
    log_determinant = float(np.linalg.slogdet(matrix)[1])
    log_partition = -beta * energy(prompts, mean, ridge0) + 0.5 * (count * np.log(2 * np.pi / beta) - log_determinant)
    return BoltzmannMeasure(mean, (inverse + inverse.T) / (2 * beta), float(log_partition))
