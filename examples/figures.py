"""``python -m examples.figures [DIRECTORY]``: every picture of the README and the notes, from scratch.

The last two simulate for about two minutes each; their data go into netCDF files beside them, which a second run reads.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

import iclglass
from iclglass.numerics.learning_curve import learning_curve
from iclglass.numerics.plotting import PALETTE, draw_learning_curve, draw_phase_diagram, save_figure
from iclglass.numerics.sizes import count, from_unscaled
from iclglass.numerics.stopping_time import best_stopping_time
from iclglass.numerics.storage import PROVENANCE, load, provenance, save
from iclglass.validation.simulation import simulate

# Data sets a point: the error bars are then about as large as the markers.
_SAMPLES = {10: 200, 20: 60, 40: 16}


@dataclass(frozen=True)
class Comparison:
    """One picture of both theories and the simulation: its axis, where to simulate, where to draw the theory."""

    axis: str
    points: tuple[float, ...]
    start: float
    stop: float
    logarithmic: bool
    finite_points: int
    setting: Mapping[str, float]
    label: str
    title: str


_COMPARISONS = {
    "sizes": Comparison(
        axis="task_diversity",
        points=(0.3, 0.5, 0.7, 0.85, 1.0, 1.15, 1.3, 1.6, 2.0, 2.5, 3.0, 4.0),
        start=0.2,
        stop=4.2,
        logarithmic=False,
        finite_points=400,
        setting={"context_length": 2.0, "ridge": 0.1},
        label=r"task diversity $\tau = P/D^2$",
        title=r"$\alpha = 2$, $\rho = 0$, $\lambda = 0.1$",
    ),
    "pool-sizes": Comparison(
        axis="distinct_tasks",
        points=(0.3, 0.5, 0.8, 1.2, 2.0, 4.0, 8.0),
        start=0.2,
        stop=10.0,
        logarithmic=True,
        finite_points=25,
        setting={"task_diversity": 2.0, "context_length": 4.0, "ridge": 0.03, "label_noise": 0.1},
        label=r"distinct tasks $\kappa = K/D$",
        title=r"$\tau = 2$, $\alpha = 4$, $\rho = 0.1$, $\lambda = 0.03$",
    ),
}


def phase_diagrams(folder: Path) -> None:
    """Error on a new task over (tau, alpha), (kappa, alpha) and (kappa, tau), with located lines."""
    tau, alpha, kappa = np.linspace(0.05, 4, 200), np.geomspace(0.2, 20, 150), np.geomspace(0.05, 50, 150)
    pictures = {
        "phase-diagram": iclglass.phase_diagram(
            task_diversity=tau,
            context_length=alpha,
            ridge=0.01,
            lines=["interpolation-threshold", "contrast=0.8", "minimum=tau", "peak=tau"],
        ),
        "phase-diagram-kappa-alpha": iclglass.phase_diagram(
            task_diversity=2.0,
            context_length=np.geomspace(0.2, 50, 150),
            distinct_tasks=kappa,
            ridge=0.01,
            label_noise=0.1,
            lines=["crossover", "memorisation-threshold", "context-saturation"],
        ),
        "phase-diagram-kappa-tau": iclglass.phase_diagram(
            task_diversity=np.linspace(0.05, 3, 200),
            context_length=10.0,
            distinct_tasks=kappa,
            ridge=0.001,
            label_noise=0.1,
            lines=["interpolation-threshold", "crossover", "memorisation-threshold"],
        ),
    }
    for name, diagram in pictures.items():
        save_figure(draw_phase_diagram(diagram), folder / f"{name}.png", force=True)


def learning_curves(folder: Path) -> None:
    """Test and train error in time, for several task diversities."""
    point = {"context_length": 2.0, "label_noise": 0.1, "ridge": 0.001}
    values = {"task_diversity": [0.3, 0.7, 1.0, 1.5, 4.0], "time": [*np.geomspace(1e-2, 1e3, 400), np.inf]}
    tau, time = (xr.DataArray(numbers, [(name, numbers)]) for name, numbers in values.items())
    curve = learning_curve(time=time, task_diversity=tau, **point).to_dataset().assign_coords(point)
    best = best_stopping_time(task_diversity=tau, **point)
    stop = learning_curve(time=best.time, task_diversity=tau, **point)
    save_figure(draw_learning_curve(curve, stop), folder / "learning-curve.png", force=True)


def simulated(comparison: Comparison) -> xr.Dataset:
    """Mean and standard error of e_icl over data sets, at D = 10, 20, 40."""
    sizes = list(_SAMPLES)
    mean = np.empty((len(sizes), len(comparison.points)))
    error = np.empty_like(mean)
    for row, (size, samples) in enumerate(_SAMPLES.items()):
        for column, value in enumerate(comparison.points):
            given = {comparison.axis: value, **comparison.setting}
            values = simulate(**given, dimensions=(size,), samples=samples, seed=1).values["e_icl"][0]
            mean[row, column], error[row, column] = values.mean(), values.std(ddof=1) / np.sqrt(samples)
            found = f"{mean[row, column]:.4f} +- {error[row, column]:.4f}"
            print(f"D = {size}, {comparison.axis} = {value}: {found}", file=sys.stderr)
    axes = ("dimension", comparison.axis)
    return xr.Dataset(
        {
            "e_icl": (axes, mean, {"long_name": "mean over data sets", "units": "1"}),
            "standard_error": (axes, error, {"long_name": "standard error of the mean", "units": "1"}),
        },
        coords={"dimension": sizes, comparison.axis: list(comparison.points)},
        attrs={PROVENANCE: provenance({**comparison.setting, "samples": list(_SAMPLES.values())}, seed=1)},
    )


def three_theories(folder: Path, name: str) -> None:
    """Asymptotic theory, finite-size theory and simulation in one picture."""
    comparison = _COMPARISONS[name]
    data = folder / f"{name}.nc"
    dataset = load(data) if data.exists() else simulated(comparison)
    save(dataset, data, force=True)

    def curve(points: int, dimension: int | None) -> tuple[np.ndarray, np.ndarray]:
        space = np.geomspace if comparison.logarithmic else np.linspace
        values = space(comparison.start, comparison.stop, points)
        if dimension is not None and comparison.axis == "distinct_tasks":
            tasks = np.unique(count("distinct_tasks", values, dimension))
            values = from_unscaled(dimension, task_count=tasks)["distinct_tasks"]
        given = {comparison.axis: values, **comparison.setting}
        return values, iclglass.solve(**given, dimension=dimension).e_icl

    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(*curve(400, None), color="black", label=r"theory, $D \to \infty$")
    for size, colour, marker in zip(dataset.dimension.values, PALETTE, "osD", strict=False):
        theory = curve(comparison.finite_points, int(size))
        axes.plot(*theory, color=colour, linestyle="--", label=f"finite-size theory, $D = {size}$")
        here = dataset.sel(dimension=size)
        axes.errorbar(
            here[comparison.axis],
            here.e_icl,
            here.standard_error,
            fmt=marker,
            color=colour,
            markersize=5,
            capsize=2,
            label=f"simulation, $D = {size}$",
        )
    if comparison.logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(comparison.label)
    axes.set_ylabel(r"$e_{\mathrm{ICL}}$: squared error on a new task")
    axes.set_title(comparison.title, fontsize="medium")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    save_figure(figure, folder / f"{name}.png", force=True)


def main(folder: Path) -> None:
    """Make all pictures in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    phase_diagrams(folder)
    learning_curves(folder)
    for name in _COMPARISONS:
        three_theories(folder, name)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("notes/figures"))
