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
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import special

from iclglass.numerics.instance.spin_glass import spin_glass
from iclglass.numerics.plotting import PALETTE
from iclglass.replica import symbols
from iclglass.validation.paper.fig_1 import kinds
from iclglass.validation.paper.figure import (
    Array,
    PaperFigure,
    Pooled,
    Progress,
    Row,
    Verdict,
    compared,
    in_parts,
    largest,
    one_by_one,
    pooled,
)
from iclglass.validation.paper.moments import symbolic_moments
from iclglass.validation.paper.published import of_shape
from iclglass.validation.prompts import draw_prompts
from iclglass.validation.statistics import bonferroni_threshold, mean_and_error
from iclglass.validation.verdict import percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FIGURE", "divergence", "gaussian_divergence", "kind_moments", "mean_squares"]

FloatArray = NDArray[np.float64]

FALSE_ALARM = 0.01
BINS = 100
THEORY_DRAWS = 2000
TYPES: dict[str, tuple[tuple[str, ...], float, float]] = {
    "h1": (("field, off the diagonal",), -0.2, 0.4),
    "h2": (("field, last row",), -0.3, 0.3),
    "J1": (
        (
            "coupling, block with block, all indices differ",
            "coupling, block with block, same row",
            "coupling, block with block, same column",
        ),
        -0.1,
        0.1,
    ),
    "J2": (
        ("coupling, block with last row, columns differ", "coupling, block with last row, same column"),
        -0.3,
        0.3,
    ),
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


@cache
def kind_moments(dimension: int, context: int, prompts: int) -> dict[str, tuple[float, float]]:
    """Derived mean and variance of each kind of field and coupling, norm N; the derivation is done once for all."""
    values = {symbols.D: dimension, symbols.N: context, symbols.P: prompts, symbols.norm: context, symbols.rho: 0}
    return {
        kind.name: (float(kind.mean.subs(values)), float(kind.variance.subs(values))) for kind in symbolic_moments()
    }


def _moments(name: str, *, dimension: int, context: int, prompts: int) -> list[tuple[float, float, int]]:
    """Mean, variance and number of entries of each kind in a type; a coupling counts once."""
    found, masks = kind_moments(dimension, context, prompts), kinds(dimension)
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


def simulate(scale: str, seed: int, progress: Progress) -> xr.Dataset:
    """Divergences and mean squares, (type, context, repeat), and the Gaussian curves; one part for each N."""
    settings = FIGURE.checked_parameters(scale)
    contexts = settings["contexts"]
    parts = in_parts(progress, {f"N={context}": partial(_counted, settings, context, seed) for context in contexts})
    data = xr.concat(parts, dim=xr.DataArray(contexts, dims="context", name="context"))
    found = divergence(data["counts"].sel(context=contexts[0]).values, data["counts"].values)
    rng = np.random.default_rng([seed, 2])
    sizes = {"dimension": settings["dimension"], "prompts": settings["prompts"]}
    gaussian = [gaussian_divergence(name, **sizes, contexts=contexts, rng=rng) for name in TYPES]
    return xr.Dataset(
        {
            "divergence": (("context", "type", "repeat"), found),
            "squares": data["squares"],
            "gaussian": (("type", "context"), np.array(gaussian)),
        },
        coords={"context": contexts, "type": list(TYPES)},
        attrs=sizes,
    )


def _counted(settings: Mapping[str, Any], context: int, seed: int) -> xr.Dataset:
    dimension, repeats = settings["dimension"], settings["repeats"]
    found = kinds(dimension)
    masks = {name: np.any([found[kind] for kind in TYPES[name][0]], axis=0) for name in TYPES}
    counts = np.empty((len(TYPES), repeats, BINS))
    squares = np.empty((len(TYPES), repeats))
    for repeat in range(repeats):
        rng = np.random.default_rng([seed, 2, context, repeat])
        data = draw_prompts(dimension=dimension, context=context, prompts=settings["prompts"], rng=rng)
        glass = spin_glass(data, 0.0)
        for row, (name, (_, low, high)) in enumerate(TYPES.items()):
            entries = (glass.fields if name.startswith("h") else glass.couplings)[masks[name]]
            times = 1 if name.startswith("h") else 2
            counts[row, repeat] = times * np.histogram(entries, BINS, (low, high))[0]
            squares[row, repeat] = np.mean(entries**2)
    return xr.Dataset(
        {"counts": (("type", "repeat", "bin"), counts), "squares": (("type", "repeat"), squares)},
        coords={"type": list(TYPES)},
    )


def _judged(data: xr.Dataset) -> tuple[list[Row], float, list[Pooled]]:
    """Mean squares against the derived ones: N by N for each type, the largest |z| allowed, and all N of a type."""
    sizes = _sizes(data)
    rows, together = [], []
    contexts = data["context"].values
    count = data.sizes["type"] * (len(contexts) + 1)
    for name in data["type"].values:
        every = np.array([mean_squares(name, context=int(context), **sizes) for context in contexts])
        ratios = data["squares"].sel(type=name).transpose("context", "repeat").values / every[:, None]
        what = f"mean square over the derived one, {name}, all N"
        together.append(pooled(what, ratios, false_alarm=FALSE_ALARM, comparisons=count))
        for context, exact in zip(contexts, every, strict=True):
            mean, error = mean_and_error(data["squares"].sel(type=name, context=context).values)
            rows.append(compared(f"mean square, {name}, N = {context}", float(mean), exact, float(error)))
    return rows, bonferroni_threshold(FALSE_ALARM, count, data.sizes["repeat"] - 1), together


def _sizes(data: xr.Dataset) -> dict[str, int]:
    return {"dimension": int(data.attrs["dimension"]), "prompts": int(data.attrs["prompts"])}


def judge(data: xr.Dataset, published: Mapping[str, Array]) -> Verdict:
    """Mean squares against the derived ones, N by N and all N of a type; divergences against those of independent
    Gaussian entries, in words."""
    rows, threshold, together = _judged(data)
    single = one_by_one(rows, threshold, data.sizes["repeat"] - 1)
    worst = max(together, key=lambda one: one.smallest)
    last = data.isel(context=-1)
    words = []
    remarks = [
        "not judged, for want of a theory: the divergence. Independent Gaussian entries of the derived moments "
        "are drawn beside it for comparison; those of a data set are neither independent nor Gaussian, and differ"
    ]
    for name in data["type"].values:
        one = data.sel(type=name)
        noise = float(one["divergence"].isel(context=1).mean())
        mean, error = mean_and_error(last["divergence"].sel(type=name).values)
        gaussian = float(last["gaussian"].sel(type=name))
        words.append(f"{name} {mean:.3f} ({noise:.3f})")
        found, errors = mean_and_error(one["divergence"].isel(context=slice(1, None)).values)
        z = (found - one["gaussian"].values[1:]) / errors
        remarks.append(
            f"{name}: independent Gaussian entries would give {gaussian:.3f} bits at N = {int(last['context'])} where "
            f"the simulation has {mean:.3f} +- {error:.3f}; over N, the simulation is {z.min():+.1f} to {z.max():+.1f} "
            "standard errors from them"
        )
    remarks += _against_published(data, published)
    return Verdict(
        f"mean squares of fields and couplings over the derived ones, all N of each of {len(together)} types: |z| <= "
        f"{largest([one.row for one in together]):.1f} of {max(one.limit for one in together):.1f} allowed (biases of "
        f"{percent(worst.smallest)} or less would be seen); N by N {single}, {len(rows)} comparisons; not "
        f"judged: divergence in bits at N = {int(last['context'])} "
        f"(at N = {int(data['context'][1])}, mostly noise): {', '.join(words)}",
        (*(one.row for one in together), *rows),
        (*(one.judged() for one in together), single.judged("mean squares, N by N", carries=False)),
        tuple(remarks),
    )


def _against_published(data: xr.Dataset, published: Mapping[str, Array]) -> list[str]:
    """Deviations of the published means from ours, in standard errors of both."""
    remarks = []
    count = data.sizes["context"]
    for name in data["type"].values:
        theirs, spread = (of_shape(published, f"fig-S2/data/{name}_{what}.npy", (count,)) for what in ("mean", "std"))
        if theirs is None or spread is None:
            continue
        ours, error = mean_and_error(data["divergence"].sel(type=name).values)
        both = np.hypot(error, spread / np.sqrt(PUBLISHED_REPEATS))[1:]
        z = (theirs - ours)[1:] / np.where(both > 0, both, np.nan)
        remarks.append(f"published {name}: {np.nanmin(z):+.1f} to {np.nanmax(z):+.1f} standard errors from ours")
    return remarks


def draw(data: xr.Dataset, published: Mapping[str, Array]) -> Figure:
    """Above what is judged, mean squares over N and their z; below the divergence, fields and couplings."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.4, 8.6), layout="constrained")
    (squares, scores), below = figure.subplots(2, 2)
    contexts = data["context"].values
    fine = np.unique(np.geomspace(contexts[0], contexts[-1], FINE).round().astype(int))
    rows, threshold, _ = _judged(data)
    z = np.array([row[4] for row in rows]).reshape(data.sizes["type"], -1)
    for index, name in enumerate(data["type"].values):
        style: dict[str, Any] = {"color": PALETTE[index], "marker": MARKERS[index], "linestyle": "none"}
        one = data.sel(type=name)
        mean, error = mean_and_error(one["squares"].values)
        squares.errorbar(contexts, mean, error, markersize=4, **style, label=LABELS[name])
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
    squares.set_yscale("log")
    squares.set_ylabel("mean square of the entries")
    for level in (-threshold, threshold):
        scores.axhline(level, color="black", linestyle=":")
    scores.axhline(0, color="0.6", linewidth=0.8)
    scores.set_ylim(-1.2 * max(threshold, np.abs(z).max()), 1.2 * max(threshold, np.abs(z).max()))
    scores.set_ylabel("simulation less theory (standard errors)")
    for panel in below:
        panel.set_ylabel(f"divergence from $N = {contexts[0]}$ (bits)")
        panel.set_ylim(bottom=0)
    titles = ("judged: mean squares", "judged: their $z$", "not judged: divergence, fields", "the same, couplings")
    for panel, title in zip((squares, scores, *below), titles, strict=True):
        panel.set_title(title, fontsize="medium")
        panel.set_xlabel("context length $N$")
        panel.grid(alpha=0.3)
    squares.plot([], [], color="0.4", label="theory: derived moments")
    scores.plot([], [], color="black", linestyle=":", label=f"$|z| = {threshold:.1f}$: allowed")
    below[0].plot([], [], "--", color="0.4", label="a comparison only: independent\nGaussian entries; ours are neither")
    if any(name in published for name in PUBLISHED):
        squares.plot([], [], "o", color="0.4", fillstyle="none", markersize=8, label="large, open: published")
    figure.legend(loc="outside lower center", ncols=3, fontsize="small")
    return figure


FIGURE = PaperFigure(
    name="fig-S2",
    title="Distributions of fields and couplings over the context length",
    parameters=parameters,
    simulate=simulate,
    draw=draw,
    judge=judge,
    published=PUBLISHED,
)
