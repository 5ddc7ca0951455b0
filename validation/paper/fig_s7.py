r"""SG Fig. S7: eigenvalues of the Hessian S^T S/P, and the fraction of them that is zero.

Theory: max(D+1, (D+1)^2 - P)/(D+1)^2 zeros, exactly (`numerics.spectrum.zero_eigenvalue_fraction`); the last row
adds D eigenvalues about E[s_{D+1,j}^2]; on the P - D directions of prompts that they leave, the bulk is E/D times a
Marchenko-Pastur law, E = D E[s_ij^2] exact at finite D and N.

SG count eigenvalues below 1e-5. With about as many prompts as spins the smallest ones that are not zero are of order
E/(D n^2), below that: such a count is larger than the number of zeros. Their Hessian is that of the loss (y - f)^2
without the factor 1/2, 2 S^T S/P: the cut is 5e-6 for S^T S/P (inferred from the counts, see the verdict). All three
are counted here.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import scipy.linalg
import xarray as xr
from matplotlib.figure import Figure

from iclglass.numerics.gamma_quadrature import prompt_nodes
from iclglass.numerics.instance.data import Instance
from iclglass.numerics.instance.spin_glass import hessian
from iclglass.numerics.moments import FeatureMoments, feature_moments
from iclglass.numerics.plotting import PALETTE
from iclglass.numerics.spectrum import marchenko_pastur_density, marchenko_pastur_edges, zero_eigenvalue_fraction
from iclglass.validation.paper.drawing import dress, panelled
from iclglass.validation.paper.figure import Array, Judged, PaperFigure, Row, Verdict
from iclglass.validation.paper.judging import compared, means, one_by_one
from iclglass.validation.paper.published import of_shape
from iclglass.validation.paper.simulating import Compute, simulated
from iclglass.validation.prompts import draw_prompts
from iclglass.validation.statistics import mean_and_error

__all__ = ["FIGURE"]

_RATIO = "fig-S7/data/zero-ratio.npy"
_SPECTRA = {prompts: f"fig-S7/data/P={prompts}.npy" for prompts in (100, 500, 1500)}
_PAPER_DIMENSIONS, _PAPER_PROMPTS = tuple(range(10, 41, 5)), tuple(range(25, 2001, 25))
_SPECTRUM_DIMENSION = 20
_PAPER_REPEATS = 10
_CUT = 1e-5
"""SG's: eigenvalues below it count as zero."""
_COUNTS = ("zeros", "below_cut", "below_half_cut")
_ROUNDING = 1e-12
"""Relative to the largest eigenvalue: rounded zeros are at 1e-15, the smallest others above 1e-10."""
_FALSE_ALARM = 1e-3


def parameters(scale: str) -> dict[str, Any]:
    """N = 100, norm N; SG: D = 10 .. 40, P = 25 .. 2000, 10 repeats."""
    chosen = (25, 75, 100, 200, 300, 400, 425, 450, 600, 800, 925, 950, 1200, 1600, 2000)
    full = scale == "full"
    return {
        "dimensions": _PAPER_DIMENSIONS if full else (10, 20, 30),
        "prompts": _PAPER_PROMPTS if full else chosen,
        "context": 100,
        "repeats": 10 if full else 5,
        "spectrum_repeats": 50 if full else 10,
    }


def eigenvalues(data: Instance) -> Array:
    """All (D+1)^2 eigenvalues, ascending; through the P x P Gram matrix where that is the smaller one."""
    matrix = data.features.gram() / data.prompts if data.prompts < data.spins else hessian(data)
    values = scipy.linalg.eigvalsh(matrix, overwrite_a=True, check_finite=False)
    zeros = (data.dimension + 1) ** 2 - values.size
    return np.sort(np.concatenate([np.zeros(zeros), values]))


def simulate(given: Mapping[str, Any], seed: int, compute: Compute) -> xr.Dataset:
    """Counts of zeros, by rounding, by SG's cut and by half of it, and all eigenvalues at D = 20."""
    axes = {"dimension": given["dimensions"], "repeat": np.arange(given["repeats"])}
    data = simulated(compute, (axes, partial(_counted, given, seed)), ({}, partial(_spectra, given, seed)))
    return data.transpose("dimension", "prompts", "repeat", ...).assign_attrs(context=given["context"])


def _counted(given: Mapping[str, Any], seed: int, size: int, repeat: int) -> xr.Dataset:
    found = np.empty((len(_COUNTS), len(given["prompts"])), dtype=np.int64)
    for column, prompts in enumerate(given["prompts"]):
        values = _drawn(given, size, prompts, (seed, 0, size, prompts, repeat))
        found[:, column] = np.searchsorted(values, [_ROUNDING * values[-1], _CUT, _CUT / 2])
    counted = {name: ("prompts", row) for name, row in zip(_COUNTS, found, strict=True)}
    return xr.Dataset(counted, coords={"prompts": list(given["prompts"])})


def _spectra(given: Mapping[str, Any], seed: int) -> xr.Dataset:
    repeats = range(given["spectrum_repeats"])
    values = [[_drawn(given, _SPECTRUM_DIMENSION, count, (seed, 1, count, k)) for k in repeats] for count in _SPECTRA]
    dims = ("spectrum_prompts", "spectrum_repeat", "mode")
    return xr.Dataset({"eigenvalues": (dims, np.array(values))}, coords={"spectrum_prompts": list(_SPECTRA)})


def _drawn(given: Mapping[str, Any], size: int, prompts: int, seed: tuple[int, ...]) -> Array:
    rng = np.random.default_rng(seed)
    return eigenvalues(draw_prompts(dimension=size, context=given["context"], prompts=prompts, norm="N", rng=rng))


def _exact(size: int, prompts: Array) -> Array:
    return np.array([zero_eigenvalue_fraction(dimension=size, prompts=int(count)) for count in prompts])


def _published_ratio(data: xr.Dataset, published: Mapping[str, Array]) -> Array | None:
    """SG's fractions at the sizes simulated."""
    ratio = of_shape(published, _RATIO, (len(_PAPER_DIMENSIONS), len(_PAPER_PROMPTS)))
    if ratio is None:
        return None
    rows = [_PAPER_DIMENSIONS.index(int(size)) for size in data.dimension.values]
    columns = [_PAPER_PROMPTS.index(int(count)) for count in data.prompts.values]
    return ratio[np.ix_(rows, columns)]


def _moments(data: xr.Dataset) -> FeatureMoments:
    return feature_moments(dimension=_SPECTRUM_DIMENSION, context=int(data.attrs["context"]), label_noise=0.0, norm="N")


def _bulk(prompts: int, moments: FeatureMoments) -> tuple[float, float, int]:
    """Unit and ratio of the Marchenko-Pastur law at D = 20, and how many eigenvalues follow it."""
    size = _SPECTRUM_DIMENSION
    left = prompts - size
    return moments.block / size * left / prompts, size**2 / left, min(left, size**2)


def _width(data: xr.Dataset, moments: FeatureMoments) -> str:
    """The measured bulk, without the D largest eigenvalues (last row) and the zeros, against the law."""
    words = []
    for row, prompts in enumerate(data.spectrum_prompts.values):
        unit, ratio, bulk = _bulk(int(prompts), moments)
        low, high = (unit * edge for edge in marchenko_pastur_edges(ratio))
        values = np.sort(data.eigenvalues.values[row], axis=1)[:, -bulk - _SPECTRUM_DIMENSION : -_SPECTRUM_DIMENSION]
        measured, law = values.std() / values.mean(), np.sqrt(min(ratio, 1 / ratio))
        outside = np.mean((values < low) | (values > high))
        words.append(f"{measured:.2f} (law {law:.2f}) at P={prompts}, {outside:.1%} outside the law's support")
    return (
        "not judged: deviation over mean of the bulk against the law of Marchenko and Pastur, which holds at "
        f"D -> infinity: {'; '.join(words)}. At D = {_SPECTRUM_DIMENSION} squared feature norms still fluctuate, by "
        f"{np.sqrt(_norm_variance(data)):.0%} of their mean"
    )


def _norm_variance(data: xr.Dataset) -> float:
    """Relative variance of |u|^2 |x|^2 over prompts, exact to quadrature."""
    context = int(data.attrs["context"])
    nodes = prompt_nodes(_SPECTRUM_DIMENSION, context, context, 0.0)
    return float(nodes.weight @ nodes.block**2 / (nodes.weight @ nodes.block) ** 2 - 1)


def draw(data: xr.Dataset, published: Mapping[str, Array]) -> Figure:
    """Left: zero fractions. Right: the spectrum at three P, with Marchenko-Pastur."""
    figure, (left, *panels) = panelled(12.5, 5.2, 1, 4, width_ratios=(1.7, 1, 1, 1))
    ratio = _published_ratio(data, published)
    fine = np.arange(1, 2001)
    dot: dict[str, Any] = {"marker": ".", "linestyle": "none", "markersize": 4}
    ring = {**dot, "marker": "o", "markersize": 7, "fillstyle": "none", "markeredgewidth": 0.6}
    for row, size in enumerate(data.dimension.values):
        colour = PALETTE[row % len(PALETTE)]
        left.plot(fine, _exact(int(size), fine), color=colour, linewidth=1, label=f"$D = {size}$")
        left.plot(data.prompts, data.zeros[row].mean("repeat") / (int(size) + 1) ** 2, color=colour, **dot)
        if ratio is not None:
            left.plot(data.prompts, ratio[row], color=colour, **ring)
    left.plot([], [], color="grey", label="simulated", **dot)
    if ratio is not None:
        left.plot([], [], color="grey", label="published", **ring)
    left.plot([], [], color="grey", label="theory, exact")
    dress(left, "judged: zero eigenvalues", xlabel="prompts $P$", ylabel="fraction of zero eigenvalues")
    left.legend(fontsize="small", ncols=2, loc="upper right")
    moments = _moments(data)
    for row, (panel, prompts) in enumerate(zip(panels, data.spectrum_prompts.values, strict=True)):
        _draw_spectrum(panel, data.eigenvalues.values[row], int(prompts), moments, published)
    panels[0].set_ylabel("density of the eigenvalues that are not zero")
    # of the panel with most entries: published spectra may be there for some P only
    entries = max((panel.get_legend_handles_labels() for panel in panels), key=lambda found: len(found[1]))
    figure.legend(*entries, loc="outside lower right", ncols=4, fontsize="small")
    return figure


def _draw_spectrum(
    panel: Any, values: Array, prompts: int, moments: FeatureMoments, published: Mapping[str, Array]
) -> None:
    size, name = _SPECTRUM_DIMENSION, _SPECTRA[prompts]
    shown = values[values > _CUT]
    # on a logarithmic axis: density of ln(eigenvalue)
    edges = np.log10(np.geomspace(shown.min(), shown.max(), 61))
    panel.hist(np.log10(shown), edges, density=True, color=PALETTE[0], alpha=0.45, label="simulated")
    # one spectrum or several: any shape
    reference = of_shape(published, name, published[name].shape) if name in published else None
    if reference is not None and np.any(reference > _CUT):
        theirs = np.log10(reference[reference > _CUT])
        panel.hist(theirs, edges, density=True, histtype="step", color=PALETTE[6], label="published")
    unit, ratio, bulk = _bulk(prompts, moments)
    low, high = marchenko_pastur_edges(ratio)
    x = np.geomspace(max(low, 1e-4), high, 600)
    weight = bulk / (bulk + size) / min(1.0, 1 / ratio)
    density = weight * marchenko_pastur_density(x, ratio=ratio) * x * np.log(10)
    panel.plot(np.log10(unit * x), density, color=PALETTE[1], label=r"Marchenko-Pastur, $D \to \infty$ (not judged)")
    panel.axvline(np.log10(moments.last_row), color=PALETTE[2], linestyle="--", label=r"$E\,s_{D+1,j}^2$ (last row)")
    dress(panel, f"$D = {size}$, $P = {prompts}$", grid=False, xlabel=r"$\log_{10}$ eigenvalue")


def judge(data: xr.Dataset, published: Mapping[str, Array]) -> Verdict:
    """Zeros exactly, the trace of the Hessian in standard errors, SG's fractions point by point."""
    sizes, counts = data.dimension.values, data.prompts.values
    spins = (sizes + 1)[:, None] ** 2
    exact = np.rint(np.array([_exact(int(size), counts) for size in sizes]) * spins).astype(int)
    wrong = int(np.sum(data.zeros.values != exact[:, :, None]))
    moments = _moments(data)
    names = [f"trace of the Hessian, D={_SPECTRUM_DIMENSION}, P={prompts}" for prompts in data.spectrum_prompts.values]
    expected = _SPECTRUM_DIMENSION * (moments.block + moments.last_row)
    rows = means(names, data.eigenvalues.values.sum(axis=-1), expected)
    traces = one_by_one(rows, data.sizes["spectrum_repeat"] - 1, false_alarm=_FALSE_ALARM)
    judged = (Judged("zero eigenvalues", wrong > 0, 0.0), traces.judged("trace of the Hessian"))
    sentence = (
        f"{data.zeros.size - wrong} of {data.zeros.size} counts of zero eigenvalues are "
        f"max(D+1, (D+1)^2 - P) exactly; trace of the Hessian {traces}"
    )
    remarks = [_width(data, moments)]
    ratio = _published_ratio(data, published)
    if ratio is not None:
        more, said, seen = _against_published(data, ratio, exact, spins)
        rows += more
        sentence += said
        remarks += seen
    return Verdict(sentence, tuple(rows), judged, tuple(remarks))


def _against_published(data: xr.Dataset, ratio: Array, exact: Array, spins: Array) -> tuple[list[Row], str, list[str]]:
    counts = ratio * spins
    excess = counts - exact
    off = np.argwhere(np.abs(excess) > 1e-6)
    sentence = f"; published: {excess.size - len(off)} of {excess.size} equal to the formula to rounding"
    if not len(off):
        return [], sentence, []
    rows = []
    for row, column in off:
        for name, cut in (("below_cut", _CUT), ("below_half_cut", _CUT / 2)):
            counted, error = mean_and_error(data[name].values[row, column])
            # the published repeats have a spread of their own, taken to be ours
            both = float(error) * np.sqrt(1 + data.sizes["repeat"] / _PAPER_REPEATS)
            what = f"eigenvalues < {cut:g}, D={data.dimension.values[row]}, P={data.prompts.values[column]}"
            rows.append(compared(what, float(counted), counts[row, column], both))
    places = ", ".join(
        f"D={data.dimension.values[row]} P={data.prompts.values[column]} by {excess[row, column]:+.2f}"
        for row, column in off
    )
    whole, half = (", ".join(f"{row[1] - row[2]:+.1f}" for row in rows[start::2]) for start in (0, 1))
    remarks = [
        f"the published counts differ from the formula at {places}: about as many prompts as spins, where eigenvalues "
        f"that are not zero fall below SG's cut. Ours below {_CUT:g} less the published: {whole}; below {_CUT / 2:g}: "
        f"{half}"
    ]
    misses = [sum(abs(row[1] - row[2]) for row in rows[start::2]) for start in (0, 1)]
    if misses[1] < misses[0]:
        remarks.append("half the cut is closer: that of the Hessian 2 S^T S/P, of the loss (y - f)^2 without 1/2")
    if np.max(np.abs(counts * _PAPER_REPEATS - np.rint(counts * _PAPER_REPEATS))) > 1e-3:
        remarks.append(f"the published counts are no averages of whole numbers over {_PAPER_REPEATS} repeats")
    return rows, sentence, remarks


FIGURE = PaperFigure(
    "fig-S7",
    "Hessian spectrum and fraction of zero eigenvalues",
    parameters,
    simulate,
    draw,
    judge,
    (_RATIO, *_SPECTRA.values()),
)
