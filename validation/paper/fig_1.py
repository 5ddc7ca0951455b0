"""SG Fig. 1: distributions of the couplings J and the fields h, by the kinds of spins they join.

Theory: mean and variance of each kind over data sets, exact at finite D, N and P, from `replica.disorder`. The Gaussian
of these is drawn over the histograms; that the distributions are Gaussian is not claimed, and their excess kurtosis is
measured.

The fields come in three kinds: those of the block on its diagonal and off it, SG's h1, and those of the last row, their
h2. The couplings come in six: SG's J1 (block with block), J2 (block with last row) and J3 (last row with itself), told
apart by whether the two spins share their row or their column. Those of the masked column are zero and left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray

from iclglass.numerics.instance.spin_glass import spin_glass
from iclglass.numerics.plotting import PALETTE
from iclglass.numerics.sizes import divisor
from iclglass.replica import symbols
from iclglass.validation.paper.figure import PaperFigure, Progress, Verdict, compared, one_by_one
from iclglass.validation.paper.moments import symbolic_moments
from iclglass.validation.paper.published import of_shape
from iclglass.validation.prompts import draw_prompts
from iclglass.validation.statistics import mean_and_error

__all__ = ["FIGURE", "derived_moments", "kinds"]

Array = NDArray[Any]

_ORDERS = 4
_BINS = 121
_REACH = 6.0
"""Histograms reach so many derived standard deviations to both sides of the derived mean."""
_LIMIT = 4.0
"""|z| allowed to each of the 18 moments: a correct theory fails with probability 1e-3."""
_SG_TYPES = ("$h$", "$h_1$", "$h_2$", "$J_1$", "$J_1$", "$J_1$", "$J_2$", "$J_2$", "$J_3$")
"""SG's name of the type that each kind belongs to; the diagonal of the block is in none, as in Fig. S2."""
_J, _H = "fig-1/data/J-matrix.npy", "fig-1/data/h-matrix.npy"


def parameters(scale: str) -> dict[str, Any]:
    """SG: P = 1000, D = 5, N = 100; norm N. Many data sets, so that mean and variance have error bars."""
    return {
        "dimension": 5,
        "context": 100,
        "prompts": 1000,
        "norm": "N",
        "repeats": 300 if scale == "quick" else 4000,
    }


@cache
def derived_moments(dimension: int, context: int, prompts: int, norm: str) -> dict[str, tuple[float, float]]:
    """Mean and variance of each kind of field and coupling, by the symbolic layer."""
    values = {
        symbols.D: dimension,
        symbols.N: context,
        symbols.P: prompts,
        symbols.norm: divisor(context, norm),
        symbols.rho: 0,
    }
    found = symbolic_moments()
    return {kind.name: (float(kind.mean.subs(values)), float(kind.variance.subs(values))) for kind in found}


def kinds(dimension: int) -> dict[str, Array]:
    """Name -> mask over the spins (fields, (n,)) or over pairs of spins (couplings, upper triangle of (n, n))."""
    row, column = (index.ravel() for index in np.indices((dimension + 1, dimension)))
    last = row == dimension
    same_row, same_column = row[:, None] == row, column[:, None] == column
    both, neither = ~last[:, None] & ~last, last[:, None] & last
    mixed = ~both & ~neither
    upper = np.triu(np.ones_like(both), 1)
    return {
        "field, diagonal of the block": row == column,
        "field, off the diagonal": (row != column) & ~last,
        "field, last row": last,
        "coupling, block with block, all indices differ": both & ~same_row & ~same_column & upper,
        "coupling, block with block, same row": both & same_row & upper,
        "coupling, block with block, same column": both & same_column & upper,
        "coupling, block with last row, columns differ": mixed & ~same_column & upper,
        "coupling, block with last row, same column": mixed & same_column & upper,
        "coupling, last row with itself": neither & upper,
    }


def simulate(scale: str, seed: int, progress: Progress) -> xr.Dataset:
    """Of every kind: powers of (value - derived mean)/derived deviation averaged over a data set, and a histogram."""
    given = parameters(scale)
    repeats = given.pop("repeats")
    masks, derived = kinds(given["dimension"]), derived_moments(**given)
    powers = np.empty((len(masks), _ORDERS, repeats))
    edges = np.linspace(-_REACH, _REACH, _BINS + 1)
    histogram = np.zeros((len(masks), _BINS))
    for repeat in range(repeats):
        data = draw_prompts(**given, rng=np.random.default_rng((seed, repeat)))
        glass = spin_glass(data, 0.0)
        for row, (name, mask) in enumerate(masks.items()):
            mean, variance = derived[name]
            entries = (glass.fields if mask.ndim == 1 else glass.couplings)[mask]
            scaled = (entries - mean) / np.sqrt(variance)
            powers[row, :, repeat] = [np.mean(scaled**order) for order in range(1, _ORDERS + 1)]
            histogram[row] += np.histogram(scaled, edges)[0] / scaled.size
        progress(repeat + 1, repeats)
    return xr.Dataset(
        {
            "powers": (("kind", "order", "repeat"), powers),
            "density": (("kind", "bin"), histogram / repeats / np.diff(edges)),
            "derived": (("kind", "moment"), np.array([derived[name] for name in masks])),
        },
        coords={"kind": list(masks), "order": np.arange(1, _ORDERS + 1), "bin": (edges[1:] + edges[:-1]) / 2},
        attrs=given,
    )


def excess_kurtosis(data: xr.Dataset) -> tuple[Array, Array]:
    """E x^4 - 3 (E x^2)^2 of the scaled values, which have E x^2 = 1, and its standard error, by kind.

    The error is that of x^4 - 6 x^2, its linearisation: much of the noise of x^4 is that of x^2.
    """
    second, fourth = data.powers.values[:, 1], data.powers.values[:, 3]
    _, error = mean_and_error(fourth - 6 * second)
    return fourth.mean(axis=-1) - 3 * second.mean(axis=-1) ** 2, error


def _published(data: xr.Dataset, published: Mapping[str, Array]) -> dict[str, Array]:
    """SG's entries by kind, scaled as ours; without the masked column where they have it."""
    size = int(data.attrs["dimension"])
    full, active = (size + 1) ** 2, np.arange((size + 1) ** 2).reshape(size + 1, size + 1)[:, :-1].ravel()
    arrays = {1: of_shape(published, _H, (size + 1, size + 1)), 2: of_shape(published, _J, (full, full))}
    found = {}
    for number, (name, mask) in enumerate(kinds(size).items()):
        array = arrays[mask.ndim]
        if array is None:
            continue
        square = array.reshape((full,) * mask.ndim)[np.ix_(*(active,) * mask.ndim)]
        mean, variance = data.derived.values[number]
        found[name] = (square[mask] - mean) / np.sqrt(variance)
    return found


def draw(data: xr.Dataset, published: Mapping[str, Array]) -> Figure:
    """A panel for each kind: histogram over data sets, and the Gaussian of the derived mean and variance."""
    figure = Figure(figsize=(11, 8.2), layout="constrained")
    panels = figure.subplots(3, 3)
    kurtosis, error = excess_kurtosis(data)
    reference = _published(data, published)
    x = data.bin.values
    normal = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    for row, (panel, name) in enumerate(zip(panels.ravel(), data.kind.values, strict=True)):
        mean, deviation = data.derived.values[row, 0], np.sqrt(data.derived.values[row, 1])
        values = mean + deviation * x
        panel.stairs(
            data.density.values[row] / deviation,
            mean + deviation * np.linspace(-_REACH, _REACH, _BINS + 1),
            fill=True,
            color=PALETTE[5],
            alpha=0.6,
            label=f"simulated, {data.sizes['repeat']} data sets",
        )
        panel.plot(values, normal / deviation, color=PALETTE[1], label="Gaussian, derived mean and variance")
        if str(name) in reference:
            entries = mean + deviation * reference[str(name)]
            panel.hist(entries, 20, density=True, histtype="step", color=PALETTE[6], label="published")
        panel.set_yscale("log")
        panel.set_ylim(2e-5 / deviation, 1.2 / deviation)
        panel.set_title(f"{_SG_TYPES[row]}: {name}", fontsize="small")
        text = f"excess kurtosis\n{kurtosis[row]:.2f} ± {error[row]:.2f}"
        panel.text(0.02, 0.96, text, transform=panel.transAxes, va="top", fontsize="x-small")
        panel.locator_params(axis="x", nbins=5)
        panel.set_xlabel("$h_i$" if row < 3 else "$J_{ij}$")
    for line in panels:
        line[0].set_ylabel("density")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    figure.suptitle(f"$D = {data.attrs['dimension']}$, $N = {data.attrs['context']}$, $P = {data.attrs['prompts']}$")
    return figure


def judge(data: xr.Dataset, published: Mapping[str, Array]) -> Verdict:
    """Mean and variance of every kind; one data set is one sample, since its entries are correlated."""
    rows = []
    for row, name in enumerate(data.kind.values):
        mean, variance = data.derived.values[row]
        first, second = (mean_and_error(data.powers.values[row, order]) for order in (0, 1))
        scale = float(np.sqrt(variance))
        rows.append(compared(f"mean, {name}", mean + scale * first[0], mean, scale * first[1]))
        rows.append(compared(f"variance, {name}", variance * second[0], variance, variance * second[1]))
    # Means are compared in widths: most are 0 by symmetry.
    scales = [size for _, variance in data.derived.values for size in (np.sqrt(variance), variance)]
    moments = one_by_one(rows, _LIMIT, data.sizes["repeat"] - 1, scales=scales)
    kurtosis, error = excess_kurtosis(data)
    heavy = [
        f"{name} {kurtosis[row]:.2f} ± {error[row]:.2f}"
        for row, name in enumerate(data.kind.values)
        if kurtosis[row] > 3 * error[row]
    ]
    sentence = (
        f"derived means and variances of {data.sizes['kind']} kinds of couplings and fields, of means in "
        f"widths: {moments}, {len(rows)} comparisons, {data.sizes['repeat']} data sets; "
        f"excess kurtosis {kurtosis.min():.2f} to {kurtosis.max():.2f}, more than three standard errors above 0 in "
        f"{len(heavy)} kinds"
    )
    remarks = ["excess kurtosis: " + ", ".join(heavy)] if heavy else []
    for name, scaled in _published(data, published).items():
        # One data set: its spread is that of one of ours.
        kind = list(data.kind.values).index(name)
        for what, value, order in (("mean", scaled.mean(), 0), ("variance", np.mean(scaled**2), 1)):
            single = float(data.powers.values[kind, order].std(ddof=1))
            rows.append(compared(f"published {what} (scaled), {name}", value, float(order), single))
    return Verdict(sentence, tuple(rows), (moments.judged("means and variances"),), tuple(remarks))


FIGURE = PaperFigure(
    name="fig-1",
    title="distributions of couplings and fields",
    parameters=parameters,
    simulate=simulate,
    draw=draw,
    judge=judge,
    published=(_J, _H),
)
