"""``python -m examples.task_spectra [DIRECTORY]``: the picture of notes/pools.md, what each test direction costs."""

import sys
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

import iclglass
from iclglass.numerics.plotting import PALETTE, save_figure

_POINT = {"context_length": 2.0, "label_noise": 0.1}
_CASES = {(0.5, 1.0): "o", (2.0, 4.0): "s", (20.0, 40.0): "^"}  # (tau, kappa) and its marker


def draw() -> Figure:
    """Cost of a unit of test variance, and the best pretraining spectrum, for three sizes of the pretraining."""
    tasks = iclglass.TaskSpectrum.power_law(1.0, size=20)
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    costs, spectra = figure.subplots(1, 2)
    for ((tau, kappa), marker), colour in zip(_CASES.items(), PALETTE, strict=False):
        given = {**_POINT, "task_diversity": tau, "distinct_tasks": kappa, "tasks": tasks}
        label = rf"$\tau = {tau:g}$, $\kappa = {kappa:g}$"
        style = {"color": colour, "marker": marker, "ms": 4, "label": label}
        costs.plot(tasks.pretraining, iclglass.error_shares(**given).cost, **style)
        best = iclglass.best_task_spectrum(**given)
        gain = 100 * (1 - best.e_icl / float(iclglass.solve(**given).e_icl))
        style["label"] = f"{label}: {gain:.2g} % less error"
        spectra.plot(tasks.test, best.tasks.pretraining, **style)
    spectra.plot(tasks.test, tasks.test, color="0.5", ls="--", label="as tested")
    costs.set(xscale="log", xlabel="pretraining eigenvalue $c$", ylabel="cost $k_*$ of a unit of test variance")
    spectra.set(xscale="log", xlabel="test eigenvalue $c_*$", ylabel="best pretraining eigenvalue")
    spectra.set_yscale("symlog", linthresh=0.1)
    spectra.set_ylim(-0.02, 15)
    for axes in (costs, spectra):
        axes.set_xticks([0.2, 0.5, 1, 2, 5], labels=["0.2", "0.5", "1", "2", "5"])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.legend(frameon=False, fontsize=8)
    figure.suptitle(r"power law of 20 directions, $\alpha = 2$, $\rho = 0.1$, $\lambda = 0.1$", fontsize=10)
    return figure


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1] / "notes" / "figures"
    save_figure(draw(), folder / "task-spectra.png", force=True)
