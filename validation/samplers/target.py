"""The Hamiltonian of one data set as the samplers see it: gradient, energy, edges of its spectrum, many chains at once.

H(sigma) = (1/2) sigma^T A sigma - h.sigma + const with A = S^T S/P + ridge0, h = S^T y/P and const = mean y^2/2 (SG
section II). Configurations are rows of an array (chains, n), n = D(D+1), the spins in the order of W.ravel().
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.arguments import LARGEST, check_beta, check_real, check_type
from iclglass.numerics.errors import ConvergenceError, ParameterError
from iclglass.numerics.instance.data import Instance
from iclglass.numerics.instance.krylov import response_solve
from iclglass.numerics.instance.spin_glass import hessian
from iclglass.numerics.running.blas import own_threads

__all__ = ["DENSE_SPINS", "Spectrum", "Target", "make_target", "spectrum"]

FloatArray = NDArray[np.float64]

DENSE_SPINS = 4000
"""Spins up to which A is stored, 128 MB; above, every product runs over the prompts and memory is O(P D)."""

_COLUMN_ELEMENTS = 1 << 18
"""Entries of A in one block of its columns, 2 MB."""
_WORTH_A_THREAD = 1 << 20
"""Entries of A for each thread beside the first: half a millisecond, for a few chains."""

_MAX_ITERATIONS = 10_000
_KRYLOV = 60
"""Krylov vectors kept: the spectra are bulks with hard edges, which few vectors resolve slowly."""
_EDGE_TOLERANCE = 1e-4
"""Relative accuracy asked of the edges; steps are set from them with more room than that."""
_PROBES = 32
"""Random signs that estimate the traces of powers of A: 10 % at the most, of which a step takes a root."""


@dataclass(frozen=True, eq=False)
class Target:
    """exp(-beta H) of one data set, unnormalised.

    fields : (n,), h.    constant : H of W = 0.    matrix : (n, n), A, or None: matrix free.
    """

    instance: Instance
    ridge0: float
    beta: float
    fields: FloatArray
    constant: float
    matrix: FloatArray | None

    @property
    def spins(self) -> int:
        """Number n of spins."""
        return self.fields.size

    def product(self, positions: FloatArray) -> FloatArray:
        """A sigma for every row, (K, n)."""
        if self.matrix is not None:
            return _dense_product(positions, self.matrix)
        features = self.instance.features.in_double()
        stack = positions.reshape(-1, *features.weight_shape)
        image = features.normal(stack).reshape(positions.shape) / self.instance.prompts
        image += self.ridge0 * positions
        return image

    def gradient(self, positions: FloatArray) -> FloatArray:
        """Gradient of H, A sigma - h, for every row, (K, n)."""
        return self.product(positions) - self.fields

    def solved(self, fields: FloatArray, tolerance: float) -> FloatArray:
        """A^{-1} fields, (K, D+1, D), by conjugate gradients; ConvergenceError above that relative residual."""
        found = response_solve(
            self.instance.features, fields, self.ridge0, tolerance=tolerance, max_iterations=_MAX_ITERATIONS
        )
        if np.any(found.residual > tolerance):
            raise ConvergenceError(
                f"the equations stopped at a relative residual of {np.max(found.residual):.1e}, wanted "
                f"{tolerance:.0e}: use a larger ridge0, or data in double precision"
            )
        return found.weights

    def energy(self, positions: FloatArray, gradient: FloatArray) -> FloatArray:
        """H of every row, (K,), from its gradient, which the samplers have at hand: O(n) each."""
        pairs: FloatArray = np.einsum("kn,kn->k", positions, gradient - self.fields)
        return self.constant + pairs / 2


@dataclass(frozen=True)
class Spectrum:
    """What steps are chosen by: smallest and largest eigenvalue of A, and estimates of Tr A^2 and Tr A^3."""

    low: float
    high: float
    second: float
    third: float


def make_target(instance: Instance, *, ridge0: float, beta: float, matrix_free: bool | None = None) -> Target:
    """The measure of one data set; ridge0 and beta are SG's, unscaled. matrix_free: by default above 4000 spins.

    Raises ParameterError for ridge0 = 0 with fewer prompts than spins: the measure cannot be normalised.

    >>> rng = np.random.default_rng(1)
    >>> data = Instance(rng.normal(size=(30, 4)), rng.normal(size=(30, 3)), rng.normal(size=30))
    >>> dense, free = (make_target(data, ridge0=0.1, beta=2.0, matrix_free=way) for way in (False, True))
    >>> spins = rng.normal(size=(5, 12))
    >>> bool(np.allclose(dense.gradient(spins), free.gradient(spins)))
    True
    """
    check_type("instance", instance, Instance, "an Instance")
    ridge0 = check_real("ridge0", ridge0, minimum=0.0, maximum=LARGEST)
    beta = check_beta(beta)
    if ridge0 == 0 and instance.prompts < instance.spins:
        raise ParameterError(
            f"ridge0 = 0 with {instance.prompts} prompts and {instance.spins} spins: the measure cannot be normalised; "
            "use ridge0 > 0 or more prompts"
        )
    features = instance.features.in_double()
    fields = features.adjoint(instance.label.astype(np.float64)).ravel() / instance.prompts
    matrix = None
    if not (instance.spins > DENSE_SPINS if matrix_free is None else matrix_free):
        matrix = hessian(instance)
        matrix.flat[:: instance.spins + 1] += ridge0
    constant = float(np.mean(instance.label.astype(np.float64) ** 2)) / 2
    return Target(instance, ridge0, beta, fields, constant, matrix)


@own_threads()
def spectrum(target: Target, rng: np.random.Generator) -> Spectrum:
    """Edges of A by Lanczos, and Tr A^2 = E |A z|^2, Tr A^3 = E (A z)^T A (A z) over random signs z (Hutchinson).

    >>> rng = np.random.default_rng(1)
    >>> data = Instance(rng.normal(size=(30, 4)), rng.normal(size=(30, 3)), rng.normal(size=30))
    >>> found = spectrum(make_target(data, ridge0=0.1, beta=2.0), rng)
    >>> 0.1 < found.low < found.high
    True
    """
    size = target.spins
    signs = rng.choice([-1.0, 1.0], size=(_PROBES, size))
    once = target.product(signs)
    second = float(np.sum(once**2)) / _PROBES
    third = float(np.sum(once * target.product(once))) / _PROBES
    if size <= _KRYLOV:  # Lanczos needs room between the edges
        values = np.linalg.eigvalsh(target.product(np.eye(size)))
        return Spectrum(_positive(target, np.asarray(values, dtype=np.float64)), float(values[-1]), second, third)
    from scipy.sparse.linalg import LinearOperator, eigsh

    operator = LinearOperator(
        shape=(size, size), dtype=np.float64, matvec=lambda vector: target.product(np.reshape(vector, (1, size)))[0]
    )
    start = rng.standard_normal(size)
    found = eigsh(operator, k=2, which="BE", ncv=_KRYLOV, tol=_EDGE_TOLERANCE, v0=start, return_eigenvectors=False)
    edges = np.asarray(found, dtype=np.float64)
    return Spectrum(_positive(target, edges), float(np.max(edges)), second, third)


def _dense_product(positions: FloatArray, matrix: FloatArray) -> FloatArray:
    """positions @ matrix, columns of the matrix shared between own threads: for a few rows reading it is the work."""
    size = matrix.shape[0]
    step = max(1, _COLUMN_ELEMENTS // size)
    result = np.empty(positions.shape)

    def columns(index: int, _: None) -> None:
        part = slice(index * step, (index + 1) * step)
        result[:, part] = positions @ matrix[:, part]

    with own_threads() as team:
        team.in_order(-(-size // step), columns, lambda _: None, lambda: None, 1 + matrix.size // _WORTH_A_THREAD)
    return result


def _positive(target: Target, values: FloatArray) -> float:
    """The smallest eigenvalue, which rounding must not push below the ridge or to zero."""
    floor = float(np.finfo(np.float64).eps) * float(np.max(values))
    return max(float(np.min(values)), target.ridge0, floor)
