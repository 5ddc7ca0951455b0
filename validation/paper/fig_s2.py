r"""SG Fig. S2: how far the distributions of fields and couplings move as the context grows from N = 20.

For each data set the entries of five types (fields off the diagonal of the block, of the last row; couplings of block
with block, block with last row, last row with itself; the masked spins left out) are counted in 100 bins, one count is
added to each bin, and the Kullback-Leibler divergence, base 2, is taken from the data set of the same number at N = 20:

    KL = sum_b p_b log2(p_b/q_b),    p at N = 20, q at N

Part of it is noise: two data sets of one and the same law do not have the same histogram, which is why N = 21 is shown.

Theory, and judged: the mean square of the entries of each type is exact, from the derived moments (`replica.disorder`).
The divergence needs the whole distribution, of which there is no theory here. Drawn beside it, for comparison and not
judged, is that of histograms of as many independent Gaussian entries with the derived means and variances: the
entries of one data set are not independent (one row of W shares its context components) and not Gaussian.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import special

from iclglass.numerics.instance.spin_glass import spin_glass
from iclglass.numerics.plotting import PALETTE
from iclglass.validation.paper.drawing import dress, panelled
from iclglass.validation.paper.fig_1 import derived_moments, kinds
from iclglass.validation.paper.figure import Array, PaperFigure, Row, Verdict
from iclglass.validation.paper.judging import OneByOne, Pooled, largest, means, one_by_one, pooled, span
from iclglass.validation.paper.published import all_of_shape, of_shape
from iclglass.validation.paper.simulating import Compute, simulated
from iclglass.validation.prompts import draw_prompts
from iclglass.validation.statistics import mean_and_error
from iclglass.validation.verdict import percent

__all__ = ["FIGURE", "divergence", "gaussian_divergence", "mean_squares"]

FloatArray = NDArray[np.float64]

FALSE_ALARM = 0.01
BINS = 100
THEORY_DRAWS = 2000
_IN_BLOCK = tuple(f"coupling, block with block, {how}" for how in ("all indices differ", "same row", "same column"))
_ACROSS = tuple(f"coupling, block with last row, {how}" for how in ("columns differ", "same column"))
TYPES: dict[str, tuple[tuple[str, ...], float, float]] = {
    "h1": (("field, off the diagonal",), -0.2, 0.4),
    "h2": (("field, last row",), -0.3, 0.3),
    "J1": (_IN_BLOCK, -0.1, 0.1),
    "J2": (_ACROSS, -0.3, 0.3),
    "J3": (("coupling, last row with itself",), -0.5, 0.5),
}
"""Type -> the kinds of entries in it, and the range of its bins in the paper."""
LABELS = {
    "h1": "h1: $h$, block off the diagonal",
    "h2": "h2: $h$, last row",
    "J1": "J1: $J$, block with block",
    "J2": "J2: $J$, block with last row",
    "J3": "J3: $J$, last row with itself",
}
MARKERS = "osD^v"
FINE = 46
"""Values of N at which the derived mean squares are drawn."""
PUBLISHED = tuple(f"fig-S2/data/{name}_{what}.npy" for name in TYPES for what in ("mean", "std"))
PUBLISHED_REPEATS = 1000


def parameters(scale: str) -> dict[str, Any]:
    """The paper's at "full"; fewer data sets at "quick"."""
    contexts = [20, 21, 40, 60, 80, 100, 120, 140, 160, 180, 200]
    repeats = PUBLISHED_REPEATS if scale == "full" else 30
    return {"dimension": 20, "prompts": 1000, "contexts": contexts, "repeats": repeats}


def _moments(name: str, *, dimension: int, context: int, prompts: int) -> list[tuple[float, float, int]]:
    """Mean, variance and number of entries of each kind in a type; a coupling counts once."""
    found, masks = derived_moments(dimension, context, prompts), kinds(dimension)
    return [(*found[kind], int(masks[kind].sum())) for kind in TYPES[name][0]]


def mean_squares(name: str, *, dimension: int, context: int, prompts: int) -> float:
    """Exact mean square of the entries of a type.

    >>> round(mean_squares("h2", dimension=20, context=20, prompts=1000), 5)
    0.0016
    """
    found = _moments(name, dimension=dimension, context=context, prompts=prompts)
    return sum((mean**2 + variance) * count for mean, variance, count in found) / sum(one[2] for one in found)


def divergence(reference: FloatArray, counts: FloatArray) -> FloatArray:
    """KL divergence in bits of histograms with one count added to each bin; bins along the last axis.

    >>> float(divergence(np.array([1.0, 1.0]), np.array([2.0, 0.0])).round(6))
    0.207519
    """
    p, q = reference + 1.0, counts + 1.0
    p, q = p / p.sum(axis=-1, keepdims=True), q / q.sum(axis=-1, keepdims=True)
    result: FloatArray = np.sum(p * np.log2(p / q), axis=-1)
    return result


def gaussian_divergence(
    name: str, *, dimension: int, contexts: list[int], prompts: int, rng: np.random.Generator
) -> FloatArray:
    """Mean divergence from the first context of independent Gaussian entries with the derived moments, (contexts,)."""
    _, low, high = TYPES[name]
    edges = np.linspace(low, high, BINS + 1)
    times = 1 if name.startswith("h") else 2  # a coupling stands twice in J
    counts = []
    for context in contexts:
        total = np.zeros((THEORY_DRAWS, BINS))
        for mean, variance, entries in _moments(name, dimension=dimension, context=context, prompts=prompts):
            below = special.ndtr((edges - mean) / np.sqrt(variance))
            inside = np.diff(below)
            drawn = rng.multinomial(entries, np.append(inside, max(0.0, 1 - inside.sum())), size=THEORY_DRAWS)
            total += times * drawn[:, :-1]
        counts.append(total)
    return np.array([divergence(counts[0], one).mean() for one in counts])


def simulate(given: Mapping[str, Any], seed: int, compute: Compute) -> xr.Dataset:
    """Divergences and mean squares, (type, context, repeat), and the Gaussian curves; one part for each N."""
    contexts = given["contexts"]
    data = simulated(compute, ({"context": contexts}, partial(_counted, given, seed)))
    found = divergence(data["counts"].sel(context=contexts[0]).values, data["counts"].values)
    rng = np.random.default_rng([seed, 2])
    sizes = {name: given[name] for name in ("dimension", "prompts")}
    gaussian = [gaussian_divergence(name, **sizes, contexts=contexts, rng=rng) for name in TYPES]
    variables = {
        "divergence": (("context", "type", "repeat"), found),
        "gaussian": (("type", "context"), np.array(gaussian)),
    }
    return data[["squares"]].assign(variables).assign_attrs(sizes)


def _counted(given: Mapping[str, Any], seed: int, context: int) -> xr.Dataset:
    size, repeats = given["dimension"], given["repeats"]
    found = kinds(size)
    masks = {name: np.any([found[kind] for kind in TYPES[name][0]], axis=0) for name in TYPES}
    counts, squares = np.empty((len(TYPES), repeats, BINS)), np.empty((len(TYPES), repeats))
    for repeat in range(repeats):
        rng = np.random.default_rng([seed, 2, context, repeat])
        glass = spin_glass(draw_prompts(dimension=size, context=context, prompts=given["prompts"], rng=rng), 0.0)
        for row, (name, (_, low, high)) in enumerate(TYPES.items()):
            array, times = (glass.fields, 1) if name.startswith("h") else (glass.couplings, 2)
            entries = array[masks[name]]
            counts[row, repeat] = times * np.histogram(entries, BINS, (low, high))[0]
            squares[row, repeat] = np.mean(entries**2)
    over = ("type", "repeat")
    return xr.Dataset({"counts": ((*over, "bin"), counts), "squares": (over, squares)}, coords={"type": list(TYPES)})


def _sizes(data: xr.Dataset) -> dict[str, int]:
    return {name: int(data.attrs[name]) for name in ("dimension", "prompts")}


def _judged(data: xr.Dataset) -> tuple[list[Row], OneByOne, list[Pooled]]:
    """Mean squares against the derived ones: N by N for each type, and all N of a type."""
    rows: list[Row] = []
    together = []
    contexts = data["context"].values
    count = data.sizes["type"] * (len(contexts) + 1)
    for name in data["type"].values:
        every = np.array([mean_squares(name, context=int(context), **_sizes(data)) for context in contexts])
        squares = data["squares"].sel(type=name).transpose("context", "repeat").values
        what = f"mean square over the derived one, {name}, all N"
        together.append(pooled(what, squares / every[:, None], false_alarm=FALSE_ALARM, comparisons=count))
        rows += means([f"mean square, {name}, N = {context}" for context in contexts], squares, every)
    single = one_by_one(rows, data.sizes["repeat"] - 1, false_alarm=FALSE_ALARM, comparisons=count)
    return rows, single, together


def judge(data: xr.Dataset, published: Mapping[str, Array]) -> Verdict:
    """Mean squares against the derived ones, N by N and all N of a type; divergences against those of independent
    Gaussian entries, in words."""
    rows, single, together = _judged(data)
    worst = max(together, key=lambda one: one.smallest)
    last = int(data["context"][-1])
    words = []
    remarks = [
        "not judged, for want of a theory: the divergence. Independent Gaussian entries of the derived moments "
        "are drawn beside it for comparison; those of a data set are neither independent nor Gaussian, and differ"
    ]

    for name in data["type"].values:
        one = data.sel(type=name)
        (_, noise, *_, mean), (*_, error) = mean_and_error(one["divergence"].values)
        gaussian = one["gaussian"].values
        words.append(f"{name} {mean:.3f} ({noise:.3f})")
        found, errors = mean_and_error(one["divergence"].isel(context=slice(1, None)).values)
        remarks.append(
            f"{name}: independent Gaussian entries would give {gaussian[-1]:.3f} bits at N = {last} where "
            f"the simulation has {mean:.3f} +- {error:.3f}; over N, the simulation is "
            f"{span((found - gaussian[1:]) / errors)} from them"
        )
    remarks += _against_published(data, published)
    return Verdict(
        f"mean squares of fields and couplings over the derived ones, all N of each of {len(together)} types: |z| <= "
        f"{largest([one.row for one in together]):.1f} of {max(one.limit for one in together):.1f} allowed (biases of "
        f"{percent(worst.smallest)} or less would be seen); N by N {single}, {len(rows)} comparisons; not "
        f"judged: divergence in bits at N = {last} "
        f"(at N = {int(data['context'][1])}, mostly noise): {', '.join(words)}",
        (*(one.row for one in together), *rows),
        (*(one.judged() for one in together), single.judged("mean squares, N by N", carries=False)),
        tuple(remarks),
    )


def _against_published(data: xr.Dataset, published: Mapping[str, Array]) -> list[str]:
    """Deviations of the published means from ours, in standard errors of both."""
    remarks = []
    for name in data["type"].values:
        names = [f"fig-S2/data/{name}_{what}.npy" for what in ("mean", "std")]
        if (arrays := all_of_shape(published, names, (data.sizes["context"],))) is not None:
            ours, error = mean_and_error(data["divergence"].sel(type=name).values)
            both = np.hypot(error, arrays[1] / np.sqrt(PUBLISHED_REPEATS))[1:]
            z = (arrays[0] - ours)[1:] / np.where(both > 0, both, np.nan)
            remarks.append(f"published {name}: {span(z[~np.isnan(z)])} from ours")
    return remarks


def draw(data: xr.Dataset, published: Mapping[str, Array]) -> Figure:
    """Above what is judged, mean squares over N and their z; below the divergence, fields and couplings."""
    figure, panels = panelled(10.4, 8.6, 2, 2)
    squares, scores, *below = panels.flat
    contexts = data["context"].values
    fine = np.unique(np.geomspace(contexts[0], contexts[-1], FINE).round().astype(int))
    rows, single, _ = _judged(data)
    threshold = single.limits[1]
    z = np.array([row[4] for row in rows]).reshape(data.sizes["type"], -1)
    for index, name in enumerate(data["type"].values):
        style: dict[str, Any] = {"color": PALETTE[index], "marker": MARKERS[index], "linestyle": "none"}
        one = data.sel(type=name)
        squares.errorbar(contexts, *mean_and_error(one["squares"].values), markersize=4, **style, label=LABELS[name])
        derived = [mean_squares(name, context=int(context), **_sizes(data)) for context in fine]
        squares.plot(fine, derived, color=PALETTE[index])
        scores.plot(contexts, z[index], markersize=5, **style)
        # The reference itself is left out: its divergence is 0 by definition.
        panel = below[0 if name.startswith("h") else 1]
        mean, error = mean_and_error(one["divergence"].values)
        panel.errorbar(contexts[1:], mean[1:], error[1:], markersize=4, **style)
        panel.plot(contexts[1:], one["gaussian"][1:], "--", color=PALETTE[index], linewidth=1)
        theirs = of_shape(published, f"fig-S2/data/{name}_mean.npy", contexts.shape)
        if theirs is not None:
            panel.plot(contexts[1:], theirs[1:], fillstyle="none", markersize=8, **style)
    for level in (-threshold, threshold):
        scores.axhline(level, color="black", linestyle=":")
    scores.axhline(0, color="0.6", linewidth=0.8)
    reach = 1.2 * max(threshold, np.abs(z).max())
    axis, bits = "context length $N$", f"divergence from $N = {contexts[0]}$ (bits)"
    label = "mean square of the entries"
    dress(squares, "judged: mean squares", xlabel=axis, ylabel=label, yscale="log")
    label = "simulation less theory (standard errors)"
    dress(scores, "judged: their $z$", xlabel=axis, ylabel=label, ylim=(-reach, reach))
    for panel, title in zip(below, ("not judged: divergence, fields", "the same, couplings"), strict=True):
        dress(panel, title, xlabel=axis, ylabel=bits, ylim=(0, None))
    squares.plot([], [], color="0.4", label="theory: derived moments")
    scores.plot([], [], color="black", linestyle=":", label=f"$|z| = {threshold:.1f}$: allowed")
    below[0].plot([], [], "--", color="0.4", label="a comparison only: independent\nGaussian entries; ours are neither")
    if any(name in published for name in PUBLISHED):
        squares.plot([], [], "o", color="0.4", fillstyle="none", markersize=8, label="large, open: published")
    figure.legend(loc="outside lower center", ncols=3, fontsize="small")
    return figure


FIGURE = PaperFigure(
    "fig-S2",
    "Distributions of fields and couplings over the context length",
    parameters,
    simulate,
    draw,
    judge,
    PUBLISHED,
)
