r"""SG Fig. S5: eigenvalues of the context covariance C = X X^T/N of one prompt, X of D x N independent N(0, 1) entries.

Large D, N at fixed D/N: the law of Marchenko and Pastur, ratio D/N (`numerics.spectrum`). At finite D, N the moments
m_k = E Tr C^k/D of a real Wishart matrix are exact polynomials (Goodman 1963; Letac and Massam 2004, k = 3),

    m_1 = 1,    m_2 = 1 + (D+1)/N,    m_3 = 1 + 3 (D+1)/N + (D^2 + 3D + 4)/N^2

and those are what the simulation is held against. Eigenvalues of one matrix are correlated: errors are over matrices.
N C is drawn as T T^T with T lower triangular, T_ii^2 ~ chi2_{N+1-i} and N(0, 1) below (Bartlett 1933): the same law at
a cost that does not depend on N. The distance shown is that of Kolmogorov and Smirnov between the eigenvalues of all
matrices together and the limiting law; at large numbers of matrices it is the 1/D correction to that law.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray

from iclglass.numerics.plotting import PALETTE
from iclglass.numerics.spectrum import marchenko_pastur_density, marchenko_pastur_edges
from iclglass.validation.paper.drawing import dress, panelled
from iclglass.validation.paper.figure import Array, PaperFigure, Verdict
from iclglass.validation.paper.judging import means, one_by_one
from iclglass.validation.paper.simulating import Compute, batches, simulated

__all__ = ["FIGURE", "draw_covariances", "limiting_distribution", "wishart_moments"]

FloatArray = NDArray[np.float64]

FALSE_ALARM = 0.01
BINS = 60
ORDERS = (1, 2, 3)
BATCH = 100


def parameters(scale: str) -> dict[str, Any]:
    """D and N of the paper at both scales; fewer matrices at "quick"."""
    contexts = [100, 500, 1000, 2000, 5000, 10000]
    return {"dimension": 100, "contexts": contexts, "matrices": 10000 if scale == "full" else 200}


def wishart_moments(dimension: int, context: int) -> FloatArray:
    """E Tr C^k/D for k = 1, 2, 3; the module's docstring has the equations.

    >>> wishart_moments(1, 1).tolist()  # chi-squared with one degree of freedom: 1, 3, 15
    [1.0, 3.0, 15.0]
    """
    d, n = float(dimension), float(context)
    return np.array([1.0, 1 + (d + 1) / n, 1 + 3 * (d + 1) / n + (d**2 + 3 * d + 4) / n**2])


def draw_covariances(count: int, dimension: int, context: int, rng: np.random.Generator) -> FloatArray:
    """C of ``count`` prompts, (count, D, D), by Bartlett's decomposition; N >= D.

    >>> draw_covariances(2, 3, 5, np.random.default_rng(1)).shape
    (2, 3, 3)
    """
    factor = np.tril(rng.standard_normal((count, dimension, dimension)), -1)
    diagonal = np.sqrt(rng.chisquare(context - np.arange(dimension), (count, dimension)))
    factor[:, np.arange(dimension), np.arange(dimension)] = diagonal
    return factor @ factor.transpose(0, 2, 1) / context


def limiting_distribution(x: FloatArray, ratio: float) -> FloatArray:
    """Cumulative distribution of the law of Marchenko and Pastur at x, ratio <= 1.

    With x = 1 + c - 2 sqrt(c) cos(t), t from 0 to pi, the density times dx is smooth: trapezoidal rule.

    >>> limiting_distribution(np.array([0.0, 4.0]), 1.0).round(6).tolist()
    [0.0, 1.0]
    """
    low, high = marchenko_pastur_edges(ratio)
    angle = np.linspace(0, np.pi, 20001)
    grid = 1 + ratio - 2 * np.sqrt(ratio) * np.cos(angle)
    density = 2 * np.sin(angle) ** 2 / (np.pi * np.where(grid > 0, grid, np.inf))
    if low == 0:  # sin(t)^2/x = (1 + cos t)/2, 1 at t = 0
        density = (1 + np.cos(angle)) / np.pi
    steps = (density[1:] + density[:-1]) / 2 * (angle[1] - angle[0])
    cumulative = np.concatenate([[0.0], np.cumsum(steps)])
    return np.interp(np.clip(x, low, high), grid, cumulative)


def simulate(given: Mapping[str, Any], seed: int, compute: Compute) -> xr.Dataset:
    """Histograms, moments of each matrix, and the distance to the limiting law; one part for each N."""
    return simulated(compute, ({"context": given["contexts"]}, partial(_one, given, seed)))


def _one(given: Mapping[str, Any], seed: int, context: int) -> xr.Dataset:
    size, rng = given["dimension"], np.random.default_rng([seed, 5, context])
    drawn = [draw_covariances(len(some), size, context, rng) for some in batches(given["matrices"], BATCH)]
    values = np.concatenate([np.linalg.eigvalsh(matrices) for matrices in drawn])
    low, high = marchenko_pastur_edges(size / context)
    edges = np.linspace(max(0.0, low - 0.1 * (high - low)), high + 0.1 * (high - low), BINS + 1)
    pooled = np.sort(values.ravel())
    law = limiting_distribution(pooled, size / context)
    above = np.max(np.arange(1, pooled.size + 1) / pooled.size - law)
    below = np.max(law - np.arange(pooled.size) / pooled.size)
    return xr.Dataset(
        {
            "counts": ("bin", np.histogram(pooled, edges)[0]),
            "edges": ("edge", edges),
            "moments": (("order", "matrix"), np.array([np.mean(values**order, axis=1) for order in ORDERS])),
            "distance": ((), max(above, below)),
        },
        coords={"order": list(ORDERS)},
        attrs={"dimension": size},
    )


def judge(data: xr.Dataset, published: Mapping[str, Array]) -> Verdict:
    """Moments against the exact ones of a Wishart matrix, z over matrices."""
    contexts, count = data["context"].values, data.sizes["matrix"]
    exact = [wishart_moments(int(data.attrs["dimension"]), int(context)) for context in contexts]
    names = [f"E Tr C^{order}/D at N = {context}" for context in contexts for order in ORDERS]
    rows = means(names, data["moments"].values, exact)
    moments = one_by_one(rows, count - 1, false_alarm=FALSE_ALARM)
    distance = data["distance"].values
    return Verdict(
        f"moments of X X^T/N (k = 1, 2, 3; {len(distance)} values of N, {count} matrices each): "
        f"{moments}; distance of Kolmogorov and Smirnov to the limiting law "
        f"{distance.min():.4f} to {distance.max():.4f}",
        tuple(rows),
        (moments.judged("moments"),),
        ("no published numbers: the authors' repository holds the picture of this figure only",),
    )


def draw(data: xr.Dataset, published: Mapping[str, Array]) -> Figure:
    """One panel for each N: histogram, law of Marchenko and Pastur."""
    figure, panels = panelled(9.6, 5.6, 2, 3)
    size, count = int(data.attrs["dimension"]), data.sizes["matrix"]
    for place, (panel, context) in enumerate(zip(panels.flat, data["context"].values, strict=True)):
        one, ratio = data.sel(context=context), size / context
        edges = one["edges"].values
        density = one["counts"].values / (size * count * np.diff(edges))
        panel.stairs(density, edges, fill=True, color=PALETTE[5], label="simulation")
        low, high = marchenko_pastur_edges(ratio)
        x = low + (high - low) * np.sin(np.linspace(0.005, np.pi / 2, 400)) ** 2
        law = marchenko_pastur_density(x, ratio=ratio)
        panel.plot(x, law, color=PALETTE[1], label="Marchenko-Pastur")
        labels = {"xlabel": "eigenvalue of $XX^T/N$" if place > 2 else "", "ylabel": "" if place % 3 else "density"}
        top = 1.25 * (law.max() if low > 0 else density.max())
        dress(panel, f"$N = {context}$, distance {float(one['distance']):.4f}", grid=False, ylim=(0, top), **labels)
    panels[0, 0].legend()
    figure.suptitle(f"Context covariance, $D = {size}$, {count} prompts each", fontsize="medium")
    return figure


FIGURE = PaperFigure("fig-S5", "Spectrum of the context covariance", parameters, simulate, draw, judge)
