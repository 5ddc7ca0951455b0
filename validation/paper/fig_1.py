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
from functools import cache, partial
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from iclglass.numerics.instance.spin_glass import spin_glass
from iclglass.numerics.plotting import PALETTE
from iclglass.numerics.sizes import divisor
from iclglass.replica import symbols
from iclglass.validation.paper.drawing import dress, panelled
from iclglass.validation.paper.figure import Array, PaperFigure, Verdict
from iclglass.validation.paper.judging import compared, one_by_one
from iclglass.validation.paper.moments import symbolic_moments
from iclglass.validation.paper.published import of_shape
from iclglass.validation.paper.simulating import Compute, batches, simulated
from iclglass.validation.prompts import draw_prompts
from iclglass.validation.statistics import mean_and_error

__all__ = ["FIGURE", "derived_moments", "kinds"]

_ORDERS = range(1, 5)
_EDGES = np.linspace(-6.0, 6.0, 122)
"""Of histograms, in derived standard deviations from the derived mean."""
_LIMIT = 4.0
"""|z| allowed to each of the 18 moments: a correct theory fails with probability 1e-3."""
_SG_TYPES = ("$h$", "$h_1$", "$h_2$", "$J_1$", "$J_1$", "$J_1$", "$J_2$", "$J_2$", "$J_3$")
"""SG's name of the type that each kind belongs to; the diagonal of the block is in none, as in Fig. S2."""
_PART = 500
"""Data sets in a part."""
_PUBLISHED = ("fig-1/data/J-matrix.npy", "fig-1/data/h-matrix.npy")


def parameters(scale: str) -> dict[str, Any]:
    """SG: P = 1000, D = 5, N = 100; norm N. Many data sets, so that mean and variance have error bars."""
    repeats = 300 if scale == "quick" else 4000
    return {"dimension": 5, "context": 100, "prompts": 1000, "norm": "N", "repeats": repeats}


@cache
def derived_moments(dimension: int, context: int, prompts: int, norm: str = "N") -> dict[str, tuple[float, float]]:
    """Mean and variance of each kind of field and coupling, by the symbolic layer; the derivation is done once."""
    values = {symbols.D: dimension, symbols.N: context, symbols.P: prompts, symbols.rho: 0}
    values[symbols.norm] = divisor(context, norm)
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


def simulate(given: Mapping[str, Any], seed: int, compute: Compute) -> xr.Dataset:
    """Of every kind: powers of (value - derived mean)/derived deviation averaged over a data set, and a histogram."""
    law = {name: value for name, value in given.items() if name != "repeats"}
    derived = derived_moments(**law)
    data = simulated(compute, ({"repeat": batches(given["repeats"], _PART)}, partial(_drawn, law, seed)))
    density = data.histogram.values.sum(axis=0) / given["repeats"] / np.diff(_EDGES)
    return xr.Dataset(
        {
            "powers": data.powers,
            "density": (("kind", "bin"), density),
            "derived": (("kind", "moment"), np.array([derived[name] for name in data.kind.values])),
        },
        coords={"order": _ORDERS, "bin": (_EDGES[1:] + _EDGES[:-1]) / 2},
        attrs=law,
    )


def _drawn(law: Mapping[str, Any], seed: int, batch: range) -> xr.Dataset:
    masks, derived = kinds(law["dimension"]), derived_moments(**law)
    powers, histogram = [], []
    for repeat in batch:
        glass = spin_glass(draw_prompts(**law, rng=np.random.default_rng((seed, repeat))), 0.0)
        scaled = []
        for name, mask in masks.items():
            mean, variance = derived[name]
            scaled.append(((glass.fields if mask.ndim == 1 else glass.couplings)[mask] - mean) / np.sqrt(variance))
        powers.append([[np.mean(some**order) for order in _ORDERS] for some in scaled])
        histogram.append([np.histogram(some, _EDGES)[0] / some.size for some in scaled])
    found = {"powers": (("kind", "order", "repeat"), np.stack(powers, axis=-1))}
    return xr.Dataset(found | {"histogram": (("repeat", "kind", "bin"), histogram)}, coords={"kind": list(masks)})


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
    shapes = ((full, full), (size + 1, size + 1))
    couplings, fields = (of_shape(published, *one) for one in zip(_PUBLISHED, shapes, strict=True))
    found = {}
    for (name, mask), (mean, variance) in zip(kinds(size).items(), data.derived.values, strict=True):
        if (array := fields if mask.ndim == 1 else couplings) is not None:
            square = array.reshape((full,) * mask.ndim)[np.ix_(*(active,) * mask.ndim)]
            found[name] = (square[mask] - mean) / np.sqrt(variance)
    return found


def draw(data: xr.Dataset, published: Mapping[str, Array]) -> Figure:
    """A panel for each kind: histogram over data sets, and the Gaussian of the derived mean and variance."""
    figure, panels = panelled(11, 8.2, 3, 3)
    kurtosis, error = excess_kurtosis(data)
    reference = _published(data, published)
    x = data.bin.values
    normal = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    ours: dict[str, Any] = {"fill": True, "color": PALETTE[5], "alpha": 0.6}
    ours["label"] = f"simulated, {data.sizes['repeat']} data sets"
    for row, (panel, name) in enumerate(zip(panels.ravel(), data.kind.values, strict=True)):
        mean, deviation = data.derived.values[row, 0], np.sqrt(data.derived.values[row, 1])
        panel.stairs(data.density.values[row] / deviation, mean + deviation * _EDGES, **ours)
        label = "Gaussian, derived mean and variance"
        panel.plot(mean + deviation * x, normal / deviation, color=PALETTE[1], label=label)
        if str(name) in reference:
            entries = mean + deviation * reference[str(name)]
            panel.hist(entries, 20, density=True, histtype="step", color=PALETTE[6], label="published")
        text = f"excess kurtosis\n{kurtosis[row]:.2f} ± {error[row]:.2f}"
        panel.text(0.02, 0.96, text, transform=panel.transAxes, va="top", fontsize="x-small")
        panel.locator_params(axis="x", nbins=5)
        labels = {"xlabel": "$h_i$" if row < 3 else "$J_{ij}$", "ylabel": "" if row % 3 else "density"}
        limits = (2e-5 / deviation, 1.2 / deviation)
        dress(panel, f"{_SG_TYPES[row]}: {name}", size="small", grid=False, yscale="log", ylim=limits, **labels)
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.suptitle(f"$D = {data.attrs['dimension']}$, $N = {data.attrs['context']}$, $P = {data.attrs['prompts']}$")
    return figure


def judge(data: xr.Dataset, published: Mapping[str, Array]) -> Verdict:
    """Mean and variance of every kind; one data set is one sample, since its entries are correlated."""
    # Means are compared in widths: most are 0 by symmetry.
    scales = np.stack([np.sqrt(data.derived.values[:, 1]), data.derived.values[:, 1]], axis=1)
    first_two, errors = mean_and_error(data.powers.values[:, :2])
    ours = data.derived.values * [1, 0] + scales * first_two
    names = [f"{what}, {name}" for name in data.kind.values for what in ("mean", "variance")]
    numbers = (ours.flat, data.derived.values.flat, (scales * errors).flat)
    rows = [compared(*one) for one in zip(names, *numbers, strict=True)]
    moments = one_by_one(rows, data.sizes["repeat"] - 1, limits=_LIMIT, scales=scales.ravel())
    kurtosis, error = excess_kurtosis(data)
    every = zip(data.kind.values, kurtosis, error, strict=True)
    heavy = [f"{name} {value:.2f} ± {spread:.2f}" for name, value, spread in every if value > 3 * spread]
    sentence = (
        f"derived means and variances of {data.sizes['kind']} kinds of couplings and fields, of means in "
        f"widths: {moments}, {len(rows)} comparisons, {data.sizes['repeat']} data sets; "
        f"excess kurtosis {kurtosis.min():.2f} to {kurtosis.max():.2f}, more than three standard errors above 0 in "
        f"{len(heavy)} kinds"
    )
    remarks = ["excess kurtosis: " + ", ".join(heavy)] if heavy else []
    for name, scaled in _published(data, published).items():
        # One data set: its spread is that of one of ours.
        single = data.powers.sel(kind=name).values.std(axis=-1, ddof=1)
        for order, (what, value) in enumerate((("mean", scaled.mean()), ("variance", np.mean(scaled**2)))):
            rows.append(compared(f"published {what} (scaled), {name}", value, order, single[order]))
    return Verdict(sentence, tuple(rows), (moments.judged("means and variances"),), tuple(remarks))


FIGURE = PaperFigure(
    "fig-1", "distributions of couplings and fields", parameters, simulate, draw, judge, published=_PUBLISHED
)
