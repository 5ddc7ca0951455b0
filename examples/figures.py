"""``python -m examples.figures [DIRECTORY]``: every picture of the README and the notes, from scratch.

The last one simulates for about two minutes; its data go into a netCDF file beside it, which a second run reads.
"""

import sys
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

import iclglass
from numerics.learning_curve_plot import draw_learning_curve
from numerics.plotting import PALETTE, draw_phase_diagram, save_figure
from numerics.storage import PROVENANCE, load, provenance, save
from validation.simulation import simulate

_TAUS = (0.3, 0.5, 0.7, 0.85, 1.0, 1.15, 1.3, 1.6, 2.0, 2.5, 3.0, 4.0)
_SETTING = {"context_length": 2.0, "ridge": 0.1}
# Data sets a point: the error bars are then about as large as the markers.
_SAMPLES = {10: 200, 20: 60, 40: 16}


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
    figure = draw_learning_curve(
        task_diversity=[0.3, 0.7, 1.0, 1.5, 4.0], context_length=2.0, label_noise=0.1, ridge=0.001
    )
    save_figure(figure, folder / "learning-curve.png", force=True)


def simulated() -> xr.Dataset:
    """Mean and standard error of e_icl over data sets, at D = 10, 20, 40."""
    sizes = list(_SAMPLES)
    mean = np.empty((len(sizes), len(_TAUS)))
    error = np.empty_like(mean)
    for row, (size, samples) in enumerate(_SAMPLES.items()):
        for column, tau in enumerate(_TAUS):
            found = simulate(task_diversity=tau, dimensions=(size,), samples=samples, seed=1, **_SETTING)
            values = found.values["e_icl"][0]
            mean[row, column], error[row, column] = values.mean(), values.std(ddof=1) / np.sqrt(samples)
            print(f"D = {size}, tau = {tau}: {mean[row, column]:.4f} +- {error[row, column]:.4f}", file=sys.stderr)
    axes = ("dimension", "task_diversity")
    return xr.Dataset(
        {
            "e_icl": (axes, mean, {"long_name": "mean over data sets", "units": "1"}),
            "standard_error": (axes, error, {"long_name": "standard error of the mean", "units": "1"}),
        },
        coords={"dimension": sizes, "task_diversity": list(_TAUS)},
        attrs={PROVENANCE: provenance({**_SETTING, "samples": list(_SAMPLES.values())}, seed=1)},
    )


def three_theories(folder: Path) -> None:
    """Asymptotic theory, finite-size theory and simulation in one picture."""
    data = folder / "sizes.nc"
    dataset = load(data) if data.exists() else simulated()
    save(dataset, data, force=True)
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.add_subplot()
    tau = np.linspace(0.2, 4.2, 400)
    axes.plot(tau, iclglass.solve(task_diversity=tau, **_SETTING).e_icl, color="black", label=r"theory, $D \to \infty$")
    for size, colour, marker in zip(dataset.dimension.values, PALETTE, "osD", strict=False):
        theory = iclglass.solve(task_diversity=tau, dimension=int(size), **_SETTING).e_icl
        axes.plot(tau, theory, color=colour, linestyle="--", label=f"finite-size theory, $D = {size}$")
        here = dataset.sel(dimension=size)
        axes.errorbar(
            here.task_diversity,
            here.e_icl,
            here.standard_error,
            fmt=marker,
            color=colour,
            markersize=5,
            capsize=2,
            label=f"simulation, $D = {size}$",
        )
    axes.set_xlabel(r"task diversity $\tau = P/D^2$")
    axes.set_ylabel(r"$e_{\mathrm{ICL}}$: squared error on a new task")
    axes.set_title(
        rf"$\alpha = {_SETTING['context_length']:g}$, $\rho = 0$, $\lambda = {_SETTING['ridge']:g}$", fontsize="medium"
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    save_figure(figure, folder / "sizes.png", force=True)


def main(folder: Path) -> None:
    """Make all pictures in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    phase_diagrams(folder)
    learning_curves(folder)
    three_theories(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("notes/figures"))
