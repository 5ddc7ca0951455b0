"""``python -m examples.training [DIRECTORY]``: the picture of notes/training.md.

Training takes about five minutes; its data go into a netCDF file beside the picture, which a second run reads.
"""

import math
import sys
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from threadpoolctl import threadpool_limits

from iclglass.numerics.finite_size import solve_finite
from iclglass.numerics.learning_curve import learning_curve
from iclglass.numerics.plotting import PALETTE, save_figure
from iclglass.numerics.sizes import count, from_unscaled, sizes_at, to_unscaled
from iclglass.numerics.storage import PROVENANCE, load, provenance, save
from iclglass.validation.extrapolation import extrapolate
from iclglass.validation.population import gaussian_moments
from iclglass.validation.prompts import draw_prompts
from iclglass.validation.statistics import mean_and_error
from iclglass.validation.training import train
from iclglass.validation.training.layer import initial_parameters, largest_curvature

_CONTEXT_LENGTH, _RIDGE = 2.0, 0.01
_TAUS = (0.2, 0.4, 0.6, 0.8, 0.9, 1.0, 1.1, 1.2, 1.4, 1.7, 2.0, 2.5)
_TIMES = (1, 5, 25, 400)  # in units of D
_DIMENSIONS, _SAMPLES = (8, 12, 16, 24), 40
_SHOWN = 12  # trained to the last time, until nothing changes any more; the other sizes to the one before


def errors(dimension: int, tau: float, sample: int, times: tuple[int, ...]) -> np.ndarray:
    """Test error at each time of one layer trained by gradient descent at a rate of about half its stable bound."""
    rng = np.random.default_rng((dimension, round(100 * tau), sample))
    sizes = sizes_at(dimension, {"task_diversity": tau, "context_length": _CONTEXT_LENGTH})
    data = draw_prompts(dimension=dimension, context=sizes.context, prompts=sizes.prompts, rng=rng)
    ridge0 = to_unscaled(dimension, ridge=_RIDGE)["ridge0"]
    start = initial_parameters("merged", dimension=dimension, rng=rng)
    # Steps in a unit of time, whole so that every time is a step.
    unit = math.ceil(dimension * largest_curvature(start, data.features, data.label, ridge0))
    run = train(
        data,
        start=start,
        steps=times[-1] * unit,
        learning_rate=dimension / unit,
        ridge0=ridge0,
        record=[time * unit for time in times],
        test=gaussian_moments(np.ones(dimension), context=sizes.context, label_noise=0.0, norm="N"),
        rng=rng,
    )
    return run.test_error[1:]


def trained() -> xr.Dataset:
    """Test errors of all layers, NaN where a size is not trained to the last time."""
    shape = (len(_DIMENSIONS), len(_TAUS), len(_TIMES), _SAMPLES)
    values = np.full(shape, np.nan)
    with threadpool_limits(limits=1):
        for row, size in enumerate(_DIMENSIONS):
            times = _TIMES if size == _SHOWN else _TIMES[:-1]
            for column, tau in enumerate(_TAUS):
                for sample in range(_SAMPLES):
                    values[row, column, : len(times), sample] = errors(size, tau, sample, times)
            print(f"trained: D = {size}", file=sys.stderr)
    return xr.Dataset(
        {"test_error": (("dimension", "task_diversity", "time", "sample"), values)},
        coords={"dimension": list(_DIMENSIONS), "task_diversity": list(_TAUS), "time": list(_TIMES)},
        attrs={PROVENANCE: provenance({"context_length": _CONTEXT_LENGTH, "ridge": _RIDGE})},
    )


def flow(tau: np.ndarray, time: float, *, dimension: int | None = None) -> np.ndarray:
    """Gradient-flow theory, at the numbers of prompts and tokens of a dimension where one is given."""
    if dimension is not None:
        tau = from_unscaled(dimension, prompts=count("task_diversity", tau, dimension))["task_diversity"]
    options = {"context_length": _CONTEXT_LENGTH, "ridge": _RIDGE, "initial_overlap": 1.0}
    return learning_curve(time=time, task_diversity=tau, **options).e_icl


def draw(dataset: xr.Dataset, folder: Path) -> None:
    """Left: one size, on the way and at the end. Right: extrapolated in 1/D, against gradient flow."""
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    tau = dataset.task_diversity.values
    fine = np.linspace(tau[0], tau[-1], 300)
    prompts = np.unique(count("task_diversity", fine, _SHOWN))
    whole = from_unscaled(_SHOWN, prompts=prompts)["task_diversity"]
    ends = solve_finite(dimension=_SHOWN, task_diversity=whole, context_length=_CONTEXT_LENGTH, ridge=_RIDGE)
    left.plot(whole, ends.e_icl, color="black", label=f"finite-size theory, $D = {_SHOWN}$, $t = \\infty$")
    for time, colour, marker in zip(_TIMES, PALETTE, "osD^", strict=False):
        mean, error = mean_and_error(
            dataset.test_error.sel(dimension=_SHOWN, time=time).transpose("task_diversity", "sample")
        )
        style = {"fmt": marker, "color": colour, "markersize": 5, "capsize": 2}
        left.errorbar(tau, mean, error, label=f"trained to $t = {time}$", **style)
        right.plot(fine, flow(fine, time), color=colour, linestyle="--" if time != _TIMES[-1] else ":")
        if time == _TIMES[-1]:
            right.plot([], [], color=colour, linestyle=":", label=f"gradient flow, $t = {time}$")
            continue
        fits = [_limit(dataset, value, time) for value in tau]
        right.errorbar(tau, *np.transpose(fits), label=f"trained to $t = {time}$, $D \\to \\infty$", **style)
    for panel in (left, right):
        panel.set_xlabel(r"task diversity $\tau = P/D^2$")
        panel.set_ylabel(r"$e_{\mathrm{ICL}}$: squared error on a new task")
        panel.set_yscale("log")
        panel.grid(alpha=0.3)
    left.set_title(f"trained layers of $D = {_SHOWN}$", fontsize="medium")
    right.set_title(r"extrapolated from $D = 8, 12, 16, 24$; dashed: gradient-flow theory", fontsize="medium")
    left.legend(fontsize="small")
    right.legend(fontsize="small")
    figure.suptitle(rf"$\alpha = {_CONTEXT_LENGTH:g}$, $\rho = 0$, $\lambda = {_RIDGE:g}$", fontsize="medium")
    save_figure(figure, folder / "training-double-descent.png", force=True)


def _limit(dataset: xr.Dataset, tau: float, time: int) -> tuple[float, float]:
    """Error at D -> infinity and its error bar, at tau exactly: the sizes' whole numbers of prompts are allowed for."""
    here = dataset.test_error.sel(task_diversity=tau, time=time).transpose("dimension", "sample")
    theory = [flow(np.asarray(tau), time, dimension=int(size)) for size in dataset.dimension.values]
    fit = extrapolate(dataset.dimension.values.tolist(), here.values - np.array(theory)[:, None])
    return float(fit.value + flow(np.asarray(tau), time)), fit.standard_error


def main(folder: Path) -> None:
    """Make the picture, from data that are there or after training."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "training.nc"
    if not file.exists():
        save(trained(), file)
    draw(load(file), folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("notes/figures"))
