"""Does a message-passing iteration converge on this data set? Its linearisation about the fixed point decides.

All three iterations are affine in the means once the variances stand still, so the linearised map is the map, and with
damping d (weight of the old state) each eigenvalue w becomes d + (1 - d) w. With v_i the scaled variances (beta times
the variance), V_i = sum_j J_ij^2 v_j, c = S*S v/P and b = (S*S)^T (1/(1 + c))/P:

    published   m -> v (h + J m)                     w = eigenvalues of v J
    tap         m -> v (h + J m - V m)               w = eigenvalues of v (J - V), all < 1 because A is positive
    gamp        z -> (y - S m + c z)/(1 + c),   m -> v (b m + S^T z/P)       no w with Re w >= 1

So tap and gamp converge for every damping near enough to 1, and published does not when v J has an eigenvalue above 1:
no damping moves that one below. Proofs and the large-D edges: this project, notes/message_passing.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.arguments import check_real
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.instance.data import Instance
from iclglass.numerics.instance.features import FeatureOperator
from iclglass.numerics.last_row import LastRow
from iclglass.numerics.running.blas import own_threads
from iclglass.numerics.spectrum import marchenko_pastur_edges, stieltjes

__all__ = [
    "SpinBySpinLimit",
    "best_damping",
    "damped_radius",
    "gamp_radius",
    "reactions",
    "spin_by_spin_edges",
    "spin_by_spin_limit",
]

FloatArray = NDArray[np.float64]

_KRYLOV = 60
"""Krylov vectors kept: the spectra are bulks with hard edges, which few vectors resolve slowly."""
_EDGE_TOLERANCE = 1e-6
"""Relative accuracy asked of an edge; convergence is decided by the distance from 1, rarely so small."""
_ANGLES = 2000
_BLOCK, _BLOCKS = 50, 40
_SETTLED = 1e-6
"""Power iteration: steps in a block, blocks at the most, and the change of the mean growth at which it ends."""


def damped_radius(low: float, high: float, damping: float) -> float:
    """Largest |d + (1 - d) w| over real eigenvalues w between ``low`` and ``high``.

    >>> round(damped_radius(-3.0, 0.5, 0.5), 12)
    1.0
    """
    return max(abs(damping + (1 - damping) * edge) for edge in (low, high))


def best_damping(low: float, high: float) -> float:
    """The damping in [0, 1) of least radius for real eigenvalues between ``low`` and ``high`` < 1.

    >>> best_damping(-3.0, 0.5), best_damping(-0.5, 0.75)
    (0.5555555555555556, 0.0)
    """
    middle = (low + high) / 2
    return max(0.0, -middle / (1 - middle))


@own_threads()
def spin_by_spin_edges(
    instance: Instance, *, ridge0: float, scaled_variance: FloatArray, reaction: bool
) -> tuple[float, float]:
    """Smallest and largest eigenvalue of v J (published) or, with the reaction term, of v (J - V) (tap).

    scaled_variance : (D+1, D), beta times the variances at their fixed point v = 1/(lambda - V), all > 0.
    Lanczos on the symmetric sqrt(v) J sqrt(v), matrix free.

    >>> rng = np.random.default_rng(1)
    >>> data = Instance(rng.normal(size=(90, 4)), rng.normal(size=(90, 3)), rng.normal(size=90))
    >>> low, high = spin_by_spin_edges(data, ridge0=0.1, scaled_variance=np.ones((4, 3)), reaction=False)
    >>> -2 < low < 0 < high < 1
    True
    """
    if not np.all(scaled_variance > 0):
        raise ParameterError("scaled_variance must be > 0 everywhere: these variances are not at a fixed point")
    features = instance.features.in_double()
    diagonal = features.diagonal()
    shift = diagonal - (ridge0 + diagonal - 1 / scaled_variance if reaction else 0.0)
    root = np.sqrt(scaled_variance)

    def apply(vector: FloatArray) -> FloatArray:
        spins = root * np.reshape(vector, root.shape)
        return (root * (shift * spins - features.adjoint(features.predict(spins)) / instance.prompts)).ravel()

    if instance.spins <= _KRYLOV:  # Lanczos needs room between the edges
        values = np.linalg.eigvalsh(np.array([apply(unit) for unit in np.eye(instance.spins)]))
        return float(values[0]), float(values[-1])
    from scipy.sparse.linalg import LinearOperator, eigsh  # here: the limit needs no linear algebra

    matrix = LinearOperator(shape=(instance.spins,) * 2, dtype=np.float64, matvec=apply)
    options: dict[str, Any] = {"ncv": _KRYLOV, "tol": _EDGE_TOLERANCE, "v0": _start(instance.spins)}
    values = eigsh(matrix, k=2, which="BE", return_eigenvectors=False, **options)
    return float(np.min(values)), float(np.max(values))


def reactions(squares: FeatureOperator, scaled_variance: FloatArray) -> tuple[FloatArray, FloatArray]:
    """c = S*S v/P of every prompt, (P,), and b = (S*S)^T (1/(1 + c))/P of every spin, (D+1, D); see `gamp`."""
    response = squares.predict(scaled_variance) / squares.shape[0]
    return response, squares.adjoint(1 / (1 + response)) / squares.shape[0]


@own_threads()
def gamp_radius(instance: Instance, *, ridge0: float, scaled_variance: FloatArray, damping: float = 0.0) -> float:
    """Spectral radius of generalised AMP's map (m, z) -> (m, z) on n + P numbers, at fixed variances.

    scaled_variance : (D+1, D), beta times the variances. Power iteration, matrix free, at most 2000 products; good to
    about 1e-3. It measures the mean growth of the norm, because at large D there is no leading eigenvector to
    converge to: the bulk of the spectrum lies on one circle, of radius sqrt(a^2 m^2/tau) = sqrt(1 - replicon). At
    finite D a few real eigenvalues leave it, and a data set where one of them is below -1 needs damping.

    >>> rng = np.random.default_rng(1)
    >>> data = Instance(rng.normal(size=(90, 4)), rng.normal(size=(90, 3)), rng.normal(size=90))
    >>> gamp_radius(data, ridge0=0.1, scaled_variance=np.ones((4, 3))) < 1
    True
    """
    features, count, spins = instance.features.in_double(), instance.prompts, instance.spins
    response, drag = reactions(features.squares(), scaled_variance)
    mean = np.reshape(_start(spins), scaled_variance.shape)
    message = _start(count)
    growth: list[float] = []
    for block in range(_BLOCKS):
        logarithm = 0.0
        for _ in range(_BLOCK):
            new = (response * message - features.predict(mean)) / (1 + response)
            kick = scaled_variance * (drag * mean + features.adjoint(new) / count)
            message = damping * message + (1 - damping) * new
            mean = damping * mean + (1 - damping) * kick
            # one norm for both: means and residuals are of order one in SG's units
            norm = math.hypot(float(np.linalg.norm(mean)), float(np.linalg.norm(message)))
            mean, message = mean / norm, message / norm
            logarithm += math.log(norm)
        growth.append(logarithm / _BLOCK)
        if block and abs(growth[-1] - growth[-2]) < _SETTLED:
            return math.exp(growth[-1])
    return math.exp(float(np.mean(growth[_BLOCKS // 2 :])))


@dataclass(frozen=True)
class SpinBySpinLimit:
    """The spin-by-spin iterations at D -> infinity, kappa = infinity; scaled as chi = lim D v, lam = D lambda0.

    chi : the variances both iterations end at; NaN, like all below, where they do not exist.
    chi_exact : those of the Boltzmann measure.
    published, tap : smallest and largest eigenvalue of the undamped iteration of the means.
    bias : |W - W_exact|/|W_exact| of the published fixed point; NaN where no damping reaches it.
    """

    chi: float
    chi_exact: float
    published: tuple[float, float]
    tap: tuple[float, float]
    bias: float


def spin_by_spin_limit(
    *,
    task_diversity: float,
    context_length: float,
    ridge: float,
    label_noise: float = 0.0,
    last_feature: str = "unit-tokens",
    last_row: bool = True,
) -> SpinBySpinLimit:
    """Large-D limit of the spin-by-spin iterations: J is -(a/D) (X - 1) with X Marchenko-Pastur of ratio 1/tau.

        spin by spin   1/chi = lam + a - (a^2/tau) chi          exists for tau >= 4/(1 + lam/a)^2
        last row       v = 1/((1 + rho)^2 (1 - a chi/tau))      exists for tau > a chi: at lam > a only for tau > a/lam
        scaled-tokens  v = D/(lam + (1 + rho)^2 (1 - a chi/tau))    the last row's; without last row nothing is added
        exact          1/chi = lam + a/(1 + a chi/tau)          the R-transform of X; the same to first order in chi
        published      w = a chi (1 - x)                        x between (1 -+ 1/sqrt(tau))^2, and 0 for tau < 1
        tap            w = a chi (1 - x) - a^2 chi^2/tau
        bias           |W' - W| at ridges lam' = lam - a^2 chi/tau and lam, mode by mode

    Everything but the bias and the row of scaled tokens depends on tau and lam/a alone. These iterations feel the layer
    (`numerics.last_row`) at D -> infinity, too. Source: this project, notes/message_passing.md. tau > 0, alpha > 0,
    lam >= 0, rho >= 0; every prompt has a task of its own.

    >>> limit = spin_by_spin_limit(task_diversity=5.0, context_length=10.0, ridge=0.0)
    >>> f"{limit.chi / limit.chi_exact:.4f} {limit.published[1]:.4f}"
    '1.1056 0.9597'
    """
    tau = check_real("task_diversity", task_diversity, minimum=0.0, above=True)
    alpha = check_real("context_length", context_length, minimum=0.0, above=True)
    lam = check_real("ridge", ridge, minimum=0.0)
    rho = check_real("label_noise", label_noise, minimum=0.0)
    a = 1 + (1 + rho) / alpha
    ridgeless = tau / (a * (tau - 1)) if tau > 1 else math.inf
    exact = float(stieltjes(lam / a, ratio=1 / tau)) / a if lam > 0 else ridgeless
    half = (lam + a) / 2
    discriminant = half**2 - a**2 / tau
    chi = 1 / (half + math.sqrt(discriminant)) if discriminant >= 0 else math.inf
    layer = LastRow(last_feature, last_row)
    own = 0.0 if layer.is_default else lam  # what the ridge adds to the precision of the last row's spins
    if not math.isfinite(chi) or (layer.last_row and own + (1 + rho) ** 2 * (1 - a * chi / tau) <= 0):
        nowhere = (math.nan, math.nan)
        return SpinBySpinLimit(math.nan, exact, nowhere, nowhere, math.nan)
    reaction = a**2 * chi / tau
    bottom, top = marchenko_pastur_edges(1 / tau)
    low, high = a * chi * (1 - top), a * chi * (1 - (bottom if tau > 1 else 0.0))
    bias = _bias(tau, a, rho, lam, reaction) if high < 1 else math.nan
    return SpinBySpinLimit(chi, exact, (low, high), (low - reaction * chi, high - reaction * chi), bias)


def _bias(tau: float, a: float, rho: float, lam: float, reaction: float) -> float:
    """Mode x of W holds x/(a x + lam) of the signal and sqrt(a x (1 + rho - 1/a)/tau)/(a x + lam) of noise.

    A zero mode (tau < 1) holds nothing. Averages over the bulk by the midpoint rule in the angle, which converges
    geometrically.
    """
    angle = (np.arange(_ANGLES) + 0.5) * math.pi / _ANGLES
    x = 1 + 1 / tau + 2 / math.sqrt(tau) * np.cos(angle)
    weight = np.sin(angle) ** 2 / x
    power = weight * (x**2 + a * x * (1 + rho - 1 / a) / tau)
    exact = power / (a * x + lam) ** 2
    difference = exact * (reaction / (a * x + lam - reaction)) ** 2
    return math.sqrt(float(np.sum(difference) / np.sum(exact)))


def _start(size: int) -> FloatArray:
    """A start for Krylov methods that no symmetry of the problem knows, and the same in every run."""
    return np.cos(np.arange(size, dtype=np.float64) ** 2)
