"""Mean weights and linear response of one data set, by the cheapest of three exact roads.

The ground state of H is W = A^{-1} h with A = S^T S/P + lambda0 (see `spin_glass`); its response to a
field is A^{-1}.

    primal   Cholesky of A, n x n; best for P > n
    dual     Cholesky of K = S S^T + P lambda0, P x P; best for P < n:  W = S^T K^{-1} y
    cg       conjugate gradients on A W = h, matrix free, O(P D) memory; the mean only, certified

For lambda0 = 0 and P >= n, W is the least-squares solution (primal, cg). For lambda0 = 0 and P < n, H has a
continuum of minima; the limit lambda0 -> 0 is the one of minimum norm, S^T (S S^T)^{-1} y, which the dual
road and cg give.

Data in single precision are converted: the direct roads compute in double.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from iclglass.numerics.arguments import check_choice, check_count, check_real
from iclglass.numerics.errors import ConvergenceError, ParameterError
from iclglass.numerics.instance.data import Instance
from iclglass.numerics.instance.features import FeatureOperator, zero_modes
from iclglass.numerics.instance.krylov import response_solve
from iclglass.numerics.instance.spin_glass import hessian
from iclglass.numerics.memory import chunks

__all__ = ["LinearResponse", "cheapest", "ground_state", "linear_response", "quadratic_forms"]

FloatArray = NDArray[np.float64]


_ZERO_MODE = 1e-8
"""Squared component in the null space below which a spin counts as outside it: the square root of rounding."""

_FORM_ELEMENTS = 1 << 22
"""Features of new prompts, or overlaps with them, held at once."""


@dataclass(frozen=True, eq=False)
class LinearResponse:
    """Ground state and response of one data set.

    weights : (D+1, D), W = A^{-1} h.    method : "primal" or "dual", the road taken.
    log_determinant : ln det A over all n spins.
    block_trace, last_row_trace : trace of A^{-1} over the D x D block of spins and over the last row, 0 without one.
    diagonal : (D+1, D), the diagonal of A^{-1}, where asked for.
    With zero modes (lambda0 = 0 and P < n) these are -inf and inf; but a spin that no zero mode reaches keeps a
    finite entry of the diagonal, the one of the pseudo-inverse.
    """

    weights: FloatArray
    method: str
    log_determinant: float
    block_trace: float
    last_row_trace: float
    diagonal: FloatArray | None = None

    @property
    def row_traces(self) -> FloatArray | None:
        """(D+1,), the trace of A^{-1} over each row of spins, where the diagonal was asked for."""
        return None if self.diagonal is None else self.diagonal.sum(axis=1)


def ground_state(
    prompts: Instance,
    ridge0: float,
    method: str = "auto",
    *,
    tolerance: float = 1e-10,
    max_iterations: int | None = None,
) -> FloatArray:
    """The weights (D+1, D) of least energy; ridge0 is lambda0, unscaled.

    method "auto" takes the cheaper of "primal" and "dual"; "cg" is matrix free. ridge0 = 0 means least
    squares for P >= n, minimum norm for P < n (not by "primal").
    For "cg", |h - A W| <= tolerance |h| is computed anew for the W returned; ConvergenceError if it does
    not hold after max_iterations (default 10 n).

    >>> rng = np.random.default_rng(1)
    >>> data = Instance(rng.normal(size=(30, 4)), rng.normal(size=(30, 3)), rng.normal(size=30))
    >>> direct, krylov = (ground_state(data, 0.1, method) for method in ("primal", "cg"))
    >>> bool(np.allclose(direct, krylov, rtol=0, atol=1e-8))
    True
    """
    ridge0, method = _road(prompts, ridge0, method, "cg")
    if method == "primal":
        return _primal_solve(_primal_factor(prompts, ridge0), prompts)
    if method == "dual":
        return _dual_solve(_dual_factor(prompts, ridge0), prompts)
    tolerance = check_real("tolerance", tolerance, minimum=0.0, above=True, maximum=1.0)
    limit = check_count("max_iterations", 10 * prompts.spins if max_iterations is None else max_iterations, minimum=1)
    singular = bool(zero_modes(prompts.features.shape, ridge0))
    found = response_solve(
        prompts.features,
        prompts.fields[None],
        ridge0,
        tolerance=tolerance,
        max_iterations=limit,
        minimum_norm=singular,
    )
    if not found.residual[0] <= tolerance:
        raise ConvergenceError(
            f"conjugate gradients reached a relative residual of {found.residual[0]:.2e} after at most {limit} "
            f"iterations, wanted {tolerance:.2e}; allow more iterations, a larger ridge0 or tolerance, or use method "
            "'auto'"
        )
    return np.asarray(found.weights[0])


def linear_response(
    prompts: Instance, ridge0: float, method: str = "auto", *, diagonal: bool = False
) -> LinearResponse:
    """Ground state, ln det A and the two traces of A^{-1}, by "auto", "primal" or "dual": one Cholesky.

    diagonal: also that of A^{-1}, at no cost by "primal" and for n P^2 operations by "dual".

    >>> rng = np.random.default_rng(1)
    >>> data = Instance(rng.normal(size=(30, 4)), rng.normal(size=(30, 3)), rng.normal(size=30))
    >>> one, two = (linear_response(data, 0.1, method, diagonal=True) for method in ("primal", "dual"))
    >>> bool(np.allclose(one.diagonal, two.diagonal))
    True
    """
    ridge0, method = _road(prompts, ridge0, method)
    return _primal_response(prompts, ridge0) if method == "primal" else _dual_response(prompts, ridge0, diagonal)


def quadratic_forms(
    prompts: Instance, context: FloatArray, query: FloatArray, ridge0: float, method: str = "auto"
) -> FloatArray:
    """s^T A^{-1} s for the features s = u (x) xt of M other prompts, (M,), by "auto", "primal" or "dual".

    context : (M, D+1), u.    query : (M, D), xt. With zero modes (lambda0 = 0 and P < n) inf where one reaches s.

    >>> rng = np.random.default_rng(1)
    >>> data = Instance(rng.normal(size=(30, 4)), rng.normal(size=(30, 3)), rng.normal(size=30))
    >>> one, two = (quadratic_forms(data, data.context, data.query, 0.1, method) for method in ("primal", "dual"))
    >>> bool(np.allclose(one, two))
    True
    """
    ridge0, method = _road(prompts, ridge0, method)
    result = np.empty(FeatureOperator(context, query).shape[0])  # checks the shapes
    factor = _primal_factor(prompts, ridge0) if method == "primal" else _dual_factor(prompts, ridge0)
    for part in chunks(result.size, _FORM_ELEMENTS // factor.shape[0]):
        u, x = (array[part].astype(np.float64, copy=False) for array in (context, query))
        if method == "primal":
            whitened, _ = lapack.dtrtrs(factor, FeatureOperator(u, x).dense().T, lower=1)
            result[part] = _column_squares(whitened)
        else:
            overlaps = (prompts.context @ u.T) * (prompts.query @ x.T)
            result[part] = _dual_forms(factor, overlaps, _column_squares(u.T) * _column_squares(x.T), ridge0)
    return result


def cheapest(dimension: int, prompts: int, ridge0: float, *, last_row: bool = True) -> str:
    """The road with fewer floating-point operations; with ridge0 = 0 the only one that exists."""
    spins = dimension * (dimension + last_row)
    if ridge0 == 0:
        return "primal" if prompts >= spins else "dual"
    primal = spins**2 * prompts / 2 + 2 * spins**3 / 3  # half the Hessian's entries; Cholesky; triangular inverse
    dual = 2 * prompts**3 / 3 + 5 * prompts**2 * dimension
    return "primal" if primal < dual else "dual"


def _road(prompts: Instance, ridge0: float, method: str, *others: str) -> tuple[float, str]:
    """The ridge and the method, checked; "auto" is the cheaper one, and one whose matrix is singular is refused."""
    ridge0 = check_real("ridge0", ridge0, minimum=0.0)
    method = check_choice("method", method, ("auto", "primal", "dual", *others))
    if method == "auto":
        method = cheapest(prompts.dimension, prompts.prompts, ridge0, last_row=prompts.last_row)
    count, spins = prompts.features.shape
    if method == "primal" and (cause := zero_modes((count, spins), ridge0)):
        raise ParameterError(
            f"{cause} leaves A singular for method {method!r}; use ridge0 > 0, at least as many prompts as spins, or "
            "method 'dual' or 'cg' for the minimum norm"
        )
    if method == "dual" and ridge0 == 0 and count > spins:
        raise ParameterError(
            f"ridge0 = 0 with {count} prompts and {spins} spins leaves S S^T singular; use method 'primal'"
        )
    return ridge0, method


def _cholesky(matrix: FloatArray, name: str) -> FloatArray:
    """Lower Cholesky factor in Fortran order; overwrites the matrix; leaves rubbish above the diagonal."""
    factor, info = lapack.dpotrf(matrix.T, lower=1, clean=0, overwrite_a=1)
    if info != 0:
        raise ConvergenceError(f"{name} is not positive definite to working precision; use a larger ridge0")
    return np.asarray(factor)


def _log_determinant(factor: FloatArray) -> float:
    return 2 * float(np.sum(np.log(np.diagonal(factor))))


def _inverse_factor_squares(factor: FloatArray) -> FloatArray:
    """Diagonal of the inverse from the lower factor L: column sums of squares of L^{-1}. Overwrites L."""
    inverse, _ = lapack.dtrtri(factor, lower=1, overwrite_c=1)
    size = inverse.shape[0]
    return np.array([inverse[i:, i] @ inverse[i:, i] for i in range(size)])


def _primal_factor(prompts: Instance, ridge0: float) -> FloatArray:
    matrix = hessian(prompts)
    matrix.flat[:: prompts.spins + 1] += ridge0
    return _cholesky(matrix, "A = S^T S/P + ridge0")


def _primal_solve(factor: FloatArray, prompts: Instance) -> FloatArray:
    fields = prompts.fields
    solution, _ = lapack.dpotrs(factor, fields.ravel(), lower=1)
    return np.asarray(solution).reshape(fields.shape)


def _primal_response(prompts: Instance, ridge0: float) -> LinearResponse:
    factor = _primal_factor(prompts, ridge0)
    weights = _primal_solve(factor, prompts)
    log_determinant = _log_determinant(factor)
    diagonal = _inverse_factor_squares(factor)
    block = prompts.dimension**2  # vec(W) runs row by row, so the last row comes last
    traces = float(np.sum(diagonal[:block])), float(np.sum(diagonal[block:]))
    return LinearResponse(weights, "primal", log_determinant, *traces, diagonal.reshape(weights.shape))


def _dual_factor(prompts: Instance, ridge0: float) -> FloatArray:
    matrix = prompts.features.in_double().gram()
    matrix.flat[:: matrix.shape[0] + 1] += ridge0 * matrix.shape[0]
    return _cholesky(matrix, "S S^T + P ridge0")


def _dual_solve(factor: FloatArray, prompts: Instance) -> FloatArray:
    solution, _ = lapack.dpotrs(factor, prompts.label, lower=1)  # converts a label in single precision
    return prompts.features.in_double().adjoint(np.ravel(solution))


def _dual_response(prompts: Instance, ridge0: float, diagonal: bool) -> LinearResponse:
    """With K = S S^T + P lambda0 and S_2 the columns of the last row:

    ln det A = ln det K - P ln P + (n - P) ln lambda0,   Tr_2 A^{-1} = (D - Tr K^{-1} S_2 S_2^T)/lambda0,
    Tr A^{-1} = (n - P)/lambda0 + P Tr K^{-1}            (Woodbury)
    """
    count, spins = prompts.features.shape
    factor = _dual_factor(prompts, ridge0)
    weights = _dual_solve(factor, prompts)
    singular = zero_modes((count, spins), ridge0)  # n - P of them; they reach both groups of spins
    if ridge0 == 0 and not singular:  # P = n: A^{-1} is P times the pseudo-inverse; there is no ridge to divide by
        raise ParameterError(f"ridge0 = 0 with as many prompts as spins ({count}): use method 'primal'")
    rows = prompts.context.shape[1]
    first = 0 if diagonal else prompts.dimension
    inverse = np.array([_dual_row(factor, prompts, row, ridge0) for row in range(first, rows)])
    spread = inverse if diagonal else None
    if singular:
        return LinearResponse(weights, "dual", -math.inf, math.inf, math.inf if prompts.last_row else 0.0, spread)
    log_determinant = _log_determinant(factor) - count * math.log(count) + (spins - count) * math.log(ridge0)
    last_trace = float(inverse[-1].sum()) if prompts.last_row else 0.0
    total = (spins - count) / ridge0 + count * float(np.sum(_inverse_factor_squares(factor)))
    return LinearResponse(weights, "dual", log_determinant, total - last_trace, last_trace, spread)


def _dual_row(factor: FloatArray, prompts: Instance, row: int, ridge0: float) -> FloatArray:
    """One row of the diagonal of A^{-1}, (D,)."""
    features = prompts.context[:, row, None].astype(np.float64) * prompts.query
    return _dual_forms(factor, features, np.ones(prompts.dimension), ridge0)


def _dual_forms(factor: FloatArray, overlaps: FloatArray, squares: FloatArray, ridge0: float) -> FloatArray:
    """s^T A^{-1} s for M vectors s, from S s, (P, M), and |s|^2, (M,); L is the factor of K.

    (|s|^2 - (S s)^T K^{-1} S s)/lambda0 (Woodbury); for lambda0 = 0 its limit, which is inf where a zero mode
    reaches s, else P |K^{-1} S s|^2.
    """
    whitened, _ = lapack.dtrtrs(factor, overlaps, lower=1)
    outside = squares - _column_squares(whitened)
    if ridge0 > 0:
        return outside / ridge0
    result = np.full(squares.shape, math.inf)
    inside = outside <= _ZERO_MODE * squares
    if np.any(inside):
        solved, _ = lapack.dtrtrs(factor, whitened[:, inside], lower=1, trans=1)
        result[inside] = factor.shape[0] * _column_squares(solved)
    return result


def _column_squares(columns: FloatArray) -> FloatArray:
    squares: FloatArray = np.einsum("pm,pm->m", columns, columns)
    return squares
