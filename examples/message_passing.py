"""``python -m examples.message_passing [DIRECTORY]``: the pictures and the table of notes/message_passing.md,
and the picture of notes/state_evolution.md.

The simulations take about ten minutes; their data go into netCDF files beside the pictures, which a second run reads.
The table is printed.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from iclglass.numerics.instance.gamp import gamp
from iclglass.numerics.instance.spin_by_spin import published, tap
from iclglass.numerics.instance.spin_glass import boltzmann
from iclglass.numerics.instance.stability import spin_by_spin_limit
from iclglass.numerics.plotting import PALETTE, draw_state_evolution, save_figure
from iclglass.numerics.sizes import count, sizes_at, to_unscaled
from iclglass.numerics.state_evolution import state_evolution
from iclglass.numerics.status import Status
from iclglass.numerics.storage import PROVENANCE, load, provenance, save
from iclglass.validation.population import gaussian_moments, population_error
from iclglass.validation.prompts import Prompts, draw_prompts

_MARKERS = "osD^v"
_CONTEXT, _RIDGE = 10.0, 0.1  # alpha and lam of the first two pictures
# Data sets at each dimension: error bars of about the size of the markers.
_VARIANCE_SAMPLES = {10: 60, 14: 30, 20: 12, 28: 6, 40: 3}
_VARIANCE_TAUS = (8.0, 20.0)
_SAMPLES = {10: 20, 20: 6, 40: 2}
_EIGENVALUE_TAUS = (5.0, 5.5, 6.0, 6.5, 7.0, 8.0, 9.0, 10.0, 12.0, 15.0, 20.0)
_RIDGE_RATIOS = (0.003, 0.1, 0.3, 0.6, 1.0)  # lam/a
_THRESHOLD_SAMPLES = {10: 12, 20: 6, 40: 1}
_BIAS_TAUS = (6.0, 8.0, 10.0, 15.0, 25.0, 50.0)
_BIAS_SETTINGS = ((10.0, 0.1), (1.0, 0.1), (10.0, 1.0))  # alpha, lam


def drawn(dimension: int, task_diversity: float, context_length: float, seed: tuple[int, ...]) -> Prompts:
    """One data set; its generator is named by what it is for, not by the order of drawing."""
    sizes = sizes_at(dimension, {"task_diversity": task_diversity, "context_length": context_length})
    rng = np.random.default_rng((dimension, *seed))
    return draw_prompts(dimension=dimension, context=sizes.context, prompts=sizes.prompts, rng=rng)


def converged(prompts: Prompts, ridge0: float) -> tuple[bool, float, np.ndarray]:
    """Whether SG's iteration really comes to rest when it is left to run, its largest eigenvalue, its means.

    With damping 0.5 instead of 0.9: eigenvalues near 1, which decide, are damped away five times faster, and those
    below -3, which 0.5 would not hold, do not occur here.
    """
    result = published(prompts, ridge0=ridge0, beta=1.0, damping=0.5, tolerance=1e-14, max_iterations=3000)
    rests = result.status is Status.CONVERGED and result.history[-1] <= 1e-14
    return rests, (result.spectral_radius - 0.5) / 0.5, result.mean[:, :-1]


def measured_variances() -> xr.Dataset:
    """Errors of the variances of gamp and tap against the exact ones."""
    shape = (2, 2, len(_VARIANCE_TAUS), len(_VARIANCE_SAMPLES), max(_VARIANCE_SAMPLES.values()))
    errors = np.full(shape, np.nan)
    for row, tau in enumerate(_VARIANCE_TAUS):
        for column, (size, samples) in enumerate(_VARIANCE_SAMPLES.items()):
            for sample in range(samples):
                prompts = drawn(size, tau, _CONTEXT, (1, row, sample))
                ridge0 = to_unscaled(size, ridge=_RIDGE)["ridge0"]
                exact = np.diag(boltzmann(prompts, ridge0=ridge0, beta=1.0).covariance).reshape(size + 1, size)
                for k, solver in enumerate((gamp, tap)):
                    variance = solver(prompts, ridge0=ridge0, beta=1.0).variance[:, :-1]
                    ratio = variance / exact - 1
                    errors[k, 0, row, column, sample] = variance[:size].mean() / exact[:size].mean() - 1
                    errors[k, 1, row, column, sample] = np.sqrt(np.mean(ratio**2))
            print(f"variances: D = {size}, tau = {tau}", file=sys.stderr)
    return xr.Dataset(
        {"error": (("solver", "kind", "task_diversity", "dimension", "sample"), errors)},
        coords={
            "solver": ["gamp", "tap"],
            "kind": ["mean", "rms"],
            "task_diversity": list(_VARIANCE_TAUS),
            "dimension": list(_VARIANCE_SAMPLES),
        },
        attrs={PROVENANCE: provenance({"context_length": _CONTEXT, "ridge": _RIDGE}, seed=1)},
    )


def measured_domain() -> xr.Dataset:
    """Largest eigenvalue of the published iteration and whether it converges; where it stops to, by bisection."""
    sizes = list(_SAMPLES)
    most, many = max(_SAMPLES.values()), max(_THRESHOLD_SAMPLES.values())
    eigenvalue = np.full((len(sizes), len(_EIGENVALUE_TAUS), most), np.nan)
    rests = np.full(eigenvalue.shape, np.nan)
    threshold = np.full((len(sizes), len(_RIDGE_RATIOS), many), np.nan)
    for row, size in enumerate(sizes):
        for column, tau in enumerate(_EIGENVALUE_TAUS):
            for sample in range(_SAMPLES[size]):
                prompts = drawn(size, tau, _CONTEXT, (2, column, sample))
                found, value, _ = converged(prompts, to_unscaled(size, ridge=_RIDGE)["ridge0"])
                eigenvalue[row, column, sample], rests[row, column, sample] = value, found
        print(f"eigenvalues: D = {size}", file=sys.stderr)
        for column, ratio in enumerate(_RIDGE_RATIOS):
            for sample in range(_THRESHOLD_SAMPLES[size]):
                threshold[row, column, sample] = _bisected(size, ratio, (3, column, sample))
        print(f"thresholds: D = {size}", file=sys.stderr)
    return xr.Dataset(
        {
            "eigenvalue": (("dimension", "task_diversity", "sample"), eigenvalue),
            "converged": (("dimension", "task_diversity", "sample"), rests),
            "threshold": (("dimension", "ridge_ratio", "other_sample"), threshold),
        },
        coords={
            "dimension": sizes,
            "task_diversity": list(_EIGENVALUE_TAUS),
            "ridge_ratio": list(_RIDGE_RATIOS),
        },
        attrs={PROVENANCE: provenance({"context_length": _CONTEXT, "ridge": _RIDGE}, seed=2)},
    )


def _bisected(size: int, ratio: float, seed: tuple[int, ...]) -> float:
    """The tau below which SG's iteration does not come to rest, on the first P prompts of one long data set."""
    low, high = 0.5, 12.0
    long = drawn(size, high, _CONTEXT, seed)
    ridge0 = to_unscaled(size, ridge=ratio * (1 + 1 / _CONTEXT))["ridge0"]
    for _ in range(7):
        middle = (low + high) / 2
        part = int(count("task_diversity", middle, size))
        prompts = Prompts(
            long.context[:part], long.query[:part], long.label[:part], long.context_count, long.label_noise, long.norm
        )
        low, high = (low, middle) if converged(prompts, ridge0)[0] else (middle, high)
    return (low + high) / 2


def measured_bias() -> xr.Dataset:
    """|W - W_exact|/|W_exact| of the published iteration where it converges."""
    sizes = list(_SAMPLES)
    bias = np.full((len(_BIAS_SETTINGS), len(sizes), len(_BIAS_TAUS), max(_SAMPLES.values())), np.nan)
    for first, (alpha, lam) in enumerate(_BIAS_SETTINGS):
        for row, size in enumerate(sizes):
            for column, tau in enumerate(_BIAS_TAUS):
                for sample in range(_SAMPLES[size]):
                    prompts = drawn(size, tau, alpha, (4, first, column, sample))
                    unscaled = to_unscaled(size, ridge=lam)
                    found, _, mean = converged(prompts, **unscaled)
                    exact = gamp(prompts, **unscaled, beta=1.0).mean[:, :-1]
                    if found:
                        distance = np.linalg.norm(mean - exact) / np.linalg.norm(exact)
                        bias[first, row, column, sample] = distance
            print(f"bias: alpha = {alpha}, lam = {lam}, D = {size}", file=sys.stderr)
    return xr.Dataset(
        {"bias": (("setting", "dimension", "task_diversity", "sample"), bias)},
        coords={"dimension": sizes, "task_diversity": list(_BIAS_TAUS)},
        attrs={PROVENANCE: provenance({"settings": [list(pair) for pair in _BIAS_SETTINGS]}, seed=4)},
    )


def _means(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard error over the finite values of the last axis."""
    count = np.sum(np.isfinite(values), axis=-1)
    total = np.nansum(values, axis=-1)
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    spread = np.nansum((values - mean[..., None]) ** 2, axis=-1) / np.maximum(count - 1, 1)
    return mean, np.sqrt(spread / np.maximum(count, 1))


def draw_variances(data: xr.Dataset) -> Figure:
    """Left: bias of the mean variance of the block. Right: error of one spin."""
    figure = Figure(figsize=(9.5, 4.4), layout="constrained")
    titles = (r"mean over the $D \times D$ block", "root mean square over all spins")
    sizes = data.dimension.values
    for axes, kind, title in zip(figure.subplots(1, 2, sharey=True), ("mean", "rms"), titles, strict=True):
        for k, solver in enumerate(("tap", "gamp")):
            for row, tau in enumerate(data.task_diversity.values):
                mean, error = _means(data.error.sel(solver=solver, kind=kind, task_diversity=tau).values)
                axes.errorbar(
                    sizes,
                    mean,
                    error,
                    fmt=_MARKERS[2 * k + row],
                    linestyle="-",
                    linewidth=0.8,
                    color=PALETTE[2 * k + row],
                    markersize=5,
                    capsize=2,
                    label=rf"{solver}, $\tau = {tau:g}$",
                )
                if solver == "tap":
                    limit = spin_by_spin_limit(task_diversity=tau, context_length=_CONTEXT, ridge=_RIDGE)
                    axes.axhline(
                        limit.chi / limit.chi_exact - 1,
                        color=PALETTE[row],
                        linestyle="--",
                        label=rf"tap, $\tau = {tau:g}$, $D \to \infty$",
                    )
        power = -2 if kind == "mean" else -1
        guide = 0.6 * 10.0**power if kind == "mean" else 0.06
        axes.plot(sizes, guide * (sizes / 10.0) ** power, ":", color="black", label=rf"$\propto D^{{{power}}}$")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
        axes.set_xlabel("dimension $D$")
        axes.set_title(title, fontsize="medium")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="x-small", ncols=2)
    figure.axes[0].set_ylabel("variance / exact variance $-$ 1")
    figure.suptitle(rf"$\alpha = {_CONTEXT:g}$, $\lambda = {_RIDGE:g}$", fontsize="medium")
    return figure


def draw_domain(data: xr.Dataset) -> Figure:
    """Left: largest eigenvalue against tau, full where the iteration converged. Right: boundary against lam/a."""
    figure = Figure(figsize=(9.5, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    _eigenvalues(left, data)
    ratio = np.geomspace(2e-3, 1.5, 60)
    right.plot(ratio, [_boundary(r) for r in ratio], color="black", label=r"$\lambda_{\max}(vJ) = 1$, $D \to \infty$")
    # Of the block, and of the last row, which asks for more where lam > a.
    least = np.maximum(4 / (1 + ratio) ** 2, np.where(ratio > 1, 1 / ratio, 0.0))
    right.plot(ratio, least, color="black", linestyle="--", label=r"no variances below")
    for row, size in enumerate(data.dimension.values):
        mean, error = _means(data.threshold.sel(dimension=size).values)
        right.errorbar(
            data.ridge_ratio,
            mean,
            error,
            fmt=_MARKERS[row],
            color=PALETTE[row],
            markersize=5,
            capsize=2,
            label=f"measured, $D = {size}$",
        )
    right.set_xscale("log")
    right.set_ylim(0, None)
    right.set_xlabel(r"ridge $\lambda/a$")
    right.set_ylabel(r"task diversity $\tau = P/D^2$")
    right.set_title(r"boundary: published converges above, diverges below", fontsize="medium")
    right.grid(alpha=0.3)
    right.legend(fontsize="x-small")
    return figure


def _eigenvalues(axes: Axes, data: xr.Dataset) -> None:
    tau = np.geomspace(4.2, 22, 300)
    limits = [spin_by_spin_limit(task_diversity=t, context_length=_CONTEXT, ridge=_RIDGE) for t in tau]
    axes.plot(tau, [limit.published[1] for limit in limits], color="black", label=r"theory, $D \to \infty$")
    axes.axhline(1.0, color="grey", linestyle=":")
    for row, size in enumerate(data.dimension.values):
        here = data.sel(dimension=size)
        points = np.repeat(data.task_diversity.values, here.eigenvalue.shape[1])
        values, rests = here.eigenvalue.values.ravel(), here.converged.values.ravel()
        for state, fill in ((1, PALETTE[row]), (0, "none")):
            chosen = (rests == state) & np.isfinite(values)
            axes.plot(
                points[chosen] * (1 + 0.012 * (row - 1)),
                values[chosen],
                _MARKERS[row],
                color=PALETTE[row],
                markerfacecolor=fill,
                markersize=4,
                label=f"$D = {size}$, {'converged' if state else 'diverged'}" if chosen.any() else None,
            )
    axes.set_xscale("log")
    axes.set_xticks([5, 6, 8, 10, 15, 20], ["5", "6", "8", "10", "15", "20"])
    axes.minorticks_off()
    axes.set_xlabel(r"task diversity $\tau = P/D^2$")
    axes.set_ylabel(r"largest eigenvalue of $vJ$")
    axes.set_title(rf"$\alpha = {_CONTEXT:g}$, $\lambda = {_RIDGE:g}$, one point a data set", fontsize="medium")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="x-small")


def _boundary(ratio: float) -> float:
    """tau at which the largest eigenvalue of the published iteration is 1 at D -> infinity; only lam/a matters."""

    def excess(tau: float) -> float:
        limit = spin_by_spin_limit(task_diversity=tau, context_length=_CONTEXT, ridge=ratio * (1 + 1 / _CONTEXT))
        return limit.published[1] - 1

    low, high = (4 / (1 + ratio) ** 2 if ratio < 1 else 1 / ratio) * (1 + 1e-9), 50.0
    return low if excess(low) < 0 else _root(excess, low, high)


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    from scipy.optimize import brentq

    return float(brentq(function, low, high))


def draw_bias(data: xr.Dataset) -> Figure:
    """|W - W_exact|/|W_exact| against tau for several alpha and lam."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    for number, (axes, (alpha, lam)) in enumerate(
        zip(figure.subplots(1, len(_BIAS_SETTINGS), sharey=True), _BIAS_SETTINGS, strict=True)
    ):
        tau = np.geomspace(4, 55, 200)
        theory = [spin_by_spin_limit(task_diversity=t, context_length=alpha, ridge=lam).bias for t in tau]
        axes.plot(tau, theory, color="black", label=r"theory, $D \to \infty$")
        for row, size in enumerate(data.dimension.values):
            mean, error = _means(data.bias.sel(dimension=size).values[number])
            axes.errorbar(
                data.task_diversity,
                mean,
                error,
                fmt=_MARKERS[row],
                color=PALETTE[row],
                markersize=5,
                capsize=2,
                label=f"$D = {size}$",
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(3.7, 60)
        axes.set_ylim(5e-3, 10)
        axes.set_xticks([5, 10, 20, 50], ["5", "10", "20", "50"])
        axes.tick_params(axis="x", which="minor", labelbottom=False)
        axes.set_xlabel(r"task diversity $\tau = P/D^2$")
        axes.set_title(rf"$\alpha = {alpha:g}$, $\lambda = {lam:g}$", fontsize="medium")
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel(r"published: $|W - W_{\mathrm{exact}}|/|W_{\mathrm{exact}}|$")
    figure.axes[0].legend(fontsize="small")
    return figure


def table(data: xr.Dataset) -> str:
    """The bias as a Markdown table, with the number of data sets that converged where not all did."""
    lines = ["| $\\alpha$ | $\\lambda$ | $D$ | " + " | ".join(f"$\\tau = {tau:g}$" for tau in _BIAS_TAUS) + " |"]
    lines.append("| --- " * (3 + len(_BIAS_TAUS)) + "|")
    for number, (alpha, lam) in enumerate(_BIAS_SETTINGS):
        for size, samples in _SAMPLES.items():
            values = data.bias.sel(dimension=size).values[number]
            mean, error = _means(values)
            cells = []
            for column in range(len(_BIAS_TAUS)):
                count = int(np.isfinite(values[column]).sum())
                text = f"{mean[column]:.3f}" if count else "diverges"
                text += f" ± {error[column]:.4f}" if count > 1 else ""
                cells.append(text + (f" ({count} of {samples})" if 0 < count < samples else ""))
            lines.append(f"| {alpha:g} | {lam:g} | {size} | " + " | ".join(cells) + " |")
        limits = [spin_by_spin_limit(task_diversity=tau, context_length=alpha, ridge=lam).bias for tau in _BIAS_TAUS]
        cells = [f"{bias:.3f}" if np.isfinite(bias) else "diverges" for bias in limits]
        lines.append(f"| {alpha:g} | {lam:g} | $\\infty$ | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def iterates(point: dict[str, float], samples: dict[int, int], steps: int = 15) -> xr.Dataset:
    """Undamped message passing on drawn data sets, and its prediction at their dimensions and at D -> infinity."""
    names = ("m", "q", "e_icl", "change")
    limit = state_evolution(**point, steps=steps)
    variables: dict[str, Any] = {name: ("step", getattr(limit, name)) for name in names} | {"rate": limit.rate}
    finite = {size: state_evolution(**point, steps=steps, dimension=size) for size in samples}
    runs = [run(size, index, point, steps) for size, count in samples.items() for index in range(count)]
    for name in names:
        path = np.array([getattr(path, name) for path in finite.values()])
        variables[f"{name}_finite"] = (("dimension", "step"), path)
        variables[f"{name}_run"] = (("data_set", "step"), np.array([run[name] for run in runs]))
    of_data_sets = np.repeat(list(samples), list(samples.values()))
    coordinates = {**point, "dimension": list(samples), "data_set_dimension": ("data_set", of_data_sets)}
    return xr.Dataset(variables, {**coordinates, "step": np.arange(steps + 1)})


def run(dimension: int, index: int, point: dict[str, float], steps: int) -> dict[str, np.ndarray]:
    """The steps of message passing on one data set."""
    sizes = sizes_at(dimension, point)
    law = {"context": sizes.context, "label_noise": point["label_noise"]}
    rng = np.random.default_rng([dimension, index])
    data = draw_prompts(dimension=dimension, prompts=sizes.prompts, **law, rng=rng)
    means = np.zeros((steps + 1, *data.features.weight_shape))

    def record(step: int, mean: np.ndarray, _: np.ndarray) -> None:
        means[step] = mean

    ridge0 = to_unscaled(dimension, ridge=point["ridge"])["ridge0"]
    # A tolerance out of reach: all steps are wanted. beta only divides the variances.
    gamp(data, ridge0=ridge0, beta=1.0, damping=0.0, tolerance=1e-300, max_iterations=steps, callback=record)
    block = means[:, :dimension]
    moments = gaussian_moments(np.ones(dimension), **law, norm="N")
    return {
        "m": np.trace(block, axis1=1, axis2=2) / dimension,
        "q": np.sum(block**2, axis=(1, 2)) / dimension,
        "e_icl": np.array([population_error(mean, moments) for mean in means]),
        "change": np.sum(np.diff(block, axis=0, prepend=0) ** 2, axis=(1, 2)) / dimension,
    }


def draw_iterates() -> Figure:
    """State evolution beside the iterates of data sets at three dimensions."""
    point = {"task_diversity": 1.5, "context_length": 2.0, "label_noise": 0.1, "ridge": 0.02}
    return draw_state_evolution(iterates(point, {10: 40, 20: 20, 40: 8}))


def main(folder: Path) -> None:
    """Make the pictures in a folder, simulating what is not there yet, and print the table."""
    folder.mkdir(parents=True, exist_ok=True)
    parts: dict[str, tuple[Callable[[], xr.Dataset], Callable[[xr.Dataset], Figure]]] = {
        "variances": (measured_variances, draw_variances),
        "domain": (measured_domain, draw_domain),
        "bias": (measured_bias, draw_bias),
    }
    save_figure(draw_iterates(), folder / "state-evolution.png", force=True)
    for name, (measure, draw) in parts.items():
        file = folder / f"message-passing-{name}.nc"
        if not file.exists():
            save(measure(), file)
        data = load(file)
        save_figure(draw(data), folder / f"message-passing-{name}.png", force=True)
        if name == "bias":
            print(table(data))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("notes/figures"))
