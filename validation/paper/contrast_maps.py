"""The contrast ratio of SG Fig. 4a: its estimate from data sets, and maps of it over P and N."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from iclglass.numerics.plotting import PALETTE

__all__ = ["contrasts", "draw_maps", "read_as", "rms"]

Array = NDArray[Any]

_MOST_CROSSES = 13  # along an axis of a map: more would cover it


def contrasts(data: xr.Dataset, dimension: int) -> Array:
    """E Tr W/sqrt((D+1) E|W|^2) over (ridge, N, P, repeat): one value a data set, whose mean estimates it.

    The jackknife's pseudovalues, n c - (n-1) c_without: of a ratio of means, a data set alone has no value, and the
    bias of order 1/n, small at one point, would show in the mean over a map.

    data : ``trace`` (sum of the diagonal of W) and ``square`` (|W|^2) of at least 2 data sets, ``map_repeat``, for each
        ``ridge0``, ``map_context`` and ``map_prompts``.
    """
    names = ("ridge0", "map_context", "map_prompts", "map_repeat")
    trace, square = (data[name].transpose(*names).values for name in ("trace", "square"))
    count = trace.shape[-1]

    def ratio(first: Array, second: Array) -> Array:
        found: Array = first / np.sqrt((dimension + 1) * second)
        return found

    total, squares = trace.sum(axis=-1, keepdims=True), square.sum(axis=-1, keepdims=True)
    without = ratio((total - trace) / (count - 1), (squares - square) / (count - 1))
    found: Array = count * ratio(total / count, squares / count) - (count - 1) * without
    return found


def rms(values: Array) -> float:
    """Root mean square.

    >>> rms(np.array([3.0, -3.0]))
    3.0
    """
    return float(np.sqrt(np.mean(values**2)))


def read_as(published: Array, theory: Array) -> str:
    """How SG's map, and which way round, compares with theory at the published ridge: both (N, P), up to (100, 1000).

    >>> read_as(np.array([[0.1, 0.2], [0.3, 0.8]]), np.array([[0.1, 0.2], [0.3, 0.7]])).split("; ")[1]
    'at N = 100, P = 1000 they have 0.800 and theory 0.700'
    """
    straight, transposed = rms(published - theory), rms(published.T - theory)
    return (
        "is read with N along its rows and P along its columns: root mean square deviation from theory at lambda0 = 1, "
        f"which the published code has, {straight:.3f} ({transposed:.3f} if transposed); at N = 100, P = 1000 they "
        f"have {published[-1, -1]:.3f} and theory {theory[-1, -1]:.3f}"
    )


def draw_maps(
    above: Any, data: xr.Dataset, curves: tuple[Array, Array, Array], lines: tuple[Array, Array], dimension: int
) -> None:
    """Maps of the simulation, a panel a ridge, with theory and predicted borders.

    curves : N, P, and the theoretical contrast ratio there, (ridge, N, P).
    lines : P below which the published iteration diverges, (ridge, N of ``curves``), at this D and at D -> infinity.
    """
    ratio = contrasts(data, dimension).mean(axis=-1)
    context, prompts, ridges = data.map_context.values, data.map_prompts.values, data.ridge0.values
    fine, heights, theory = curves
    diverges = ~data.converges.transpose("ridge0", "map_context", "map_prompts").values.astype(bool)
    step = math.ceil(max(diverges.shape) / _MOST_CROSSES)
    panels = above.subplots(1, ridges.size, sharey=True)
    for row, (panel, ridge0) in enumerate(zip(panels, ridges, strict=True)):
        mesh = panel.pcolormesh(context, prompts, ratio[row].T, shading="nearest", cmap="viridis", vmin=0, vmax=1)
        panel.set(xlim=context[[0, -1]], ylim=prompts[[0, -1]], xlabel="context length $N$")
        steps = np.arange(0.1, 1, 0.1)
        levels = panel.contour(fine, heights, theory[row].T, levels=steps, colors="white", linewidths=0.9)
        # one label a level, on the diagonal, where contrast rises all along; none in the corners, where it is cut off
        along = np.diagonal(theory[row])
        inside = steps[(steps > np.quantile(along, 0.1)) & (steps < np.quantile(along, 0.93))]
        places = [(np.interp(level, along, fine), np.interp(level, along, heights)) for level in inside]
        panel.clabel(levels, fontsize="x-small", manual=places)
        if diverges[row].any() and not diverges[row].all():
            panel.contour(context, prompts, diverges[row].T.astype(float), levels=[0.5], colors="black", linewidths=1)
        bad = step * np.argwhere(diverges[row, ::step, ::step])
        panel.plot(context[bad[:, 0]], prompts[bad[:, 1]], "x", color="black", markersize=3, clip_on=False)
        for line, style in zip(lines, ("-", "--"), strict=True):
            panel.plot(fine, line[row], style, color=PALETTE[1], linewidth=2)
        hidden = "" if np.any(np.array(lines)[:, row] < prompts[-1]) else "; predicted borders above"
        panel.set_title(rf"$\lambda_0 = {ridge0:g}${hidden}", fontsize="medium")
    panels[0].set_ylabel("prompts $P$")
    above.colorbar(mesh, ax=panels, pad=0.01, label="contrast ratio: exact mean, simulation")
    handles = [
        Line2D([], [], color="white", label="contrast ratio: finite-size theory"),
        Line2D([], [], color="black", marker="x", label="published iteration diverges: border, crosses inside"),
        Line2D([], [], color=PALETTE[1], linewidth=2, label=rf"predicted border, $D = {dimension}$"),
        Line2D([], [], color=PALETTE[1], linewidth=2, ls="--", label=r"predicted border, $D \to \infty$"),
    ]
    above.legend(handles=handles, loc="outside lower center", ncols=4, fontsize="small", facecolor="0.75", framealpha=1)
