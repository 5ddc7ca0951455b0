"""Draws the pictures of notes/models.md, all of them theory.

    python notes/draw_models.py [DIRECTORY]

About two minutes; the same numbers every time. Each function draws one picture.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

import iclglass
from iclglass.numerics.plotting import PALETTE, save_figure
from iclglass.numerics.plotting.axes import colour_norm, draw_abscissa, draw_map, hatch_cells
from iclglass.numerics.plotting.style import axis_label, finish, new_figure
from iclglass.validation.model_theory import model_theory

Array = NDArray[np.float64]

LASSO_DIMENSION = 100
"""D at which the lasso shrinks the diagonal; without that the best strength is infinite."""
STRENGTH = 0.2
"""Strength of the lasso at which its density is drawn."""
ERROR = r"$e_{\mathrm{ICL}}$"


def least(function: Callable[[Array], Array], low: Array, high: Array, steps: int = 24) -> Array:
    """Where a function with one minimum has it, elementwise, by golden section; what has no number counts as large."""
    golden = (5**0.5 - 1) / 2

    def value(places: Array) -> Array:
        return np.nan_to_num(function(places), nan=np.inf)

    left, right = high - golden * (high - low), low + golden * (high - low)
    at_left, at_right = value(left), value(right)
    for _ in range(steps):
        falls = at_left > at_right
        low, high = np.where(falls, left, low), np.where(falls, high, right)
        kept, at_kept = np.where(falls, right, left), np.where(falls, at_right, at_left)
        new = low + high - kept
        at_new = value(new)
        left, right = np.where(falls, kept, new), np.where(falls, new, kept)
        at_left, at_right = np.where(falls, at_kept, at_new), np.where(falls, at_new, at_kept)
    return (low + high) / 2


def lasso(tau: Array, alpha: Array) -> xr.Dataset:
    """The lasso at its best strength beside ridge at its best, over the product of two axes."""
    second, first = (values.ravel() for values in np.meshgrid(alpha, tau, indexing="ij"))
    point = {"task_diversity": first, "context_length": second}

    def error(logarithm: Array) -> Array:
        found = model_theory(diagonal_dimension=LASSO_DIMENSION, l1=np.exp(logarithm), **point)
        return np.asarray(found.e_icl)

    ends = (np.full(first.size, np.log(end)) for end in (0.02, 10.0))
    best = least(error, *ends)
    ridge = iclglass.solve(ridge=iclglass.best_ridge(**point), **point).e_icl
    values = {
        "strength": np.exp(best),
        "ratio": error(best) / ridge,
        "density": model_theory(diagonal_dimension=LASSO_DIMENSION, l1=np.exp(best), **point).density_off_diagonal,
    }
    axes = {"context_length": alpha, "task_diversity": tau}
    return xr.Dataset({name: (tuple(axes), array.reshape(alpha.size, -1)) for name, array in values.items()}, axes)


def draw_lasso() -> Figure:
    """The best strength of the lasso, its density, and its error relative to ridge."""
    tau, alpha = np.geomspace(0.3, 10, 24), np.geomspace(0.5, 30, 20)
    found = lasso(tau, alpha)
    found["fixed"] = iclglass.sweep(task_diversity=tau, context_length=alpha, l1=STRENGTH).density_off_diagonal
    shown = {
        "strength": (rf"best strength $\ell_1$, at $D = {LASSO_DIMENSION}$", [0.2, 0.5, 1, 2]),
        "fixed": (rf"non-zero weights off the diagonal, $\ell_1 = {STRENGTH}$", [0.01, 0.1, 0.2, 0.4, 0.6]),
        "ratio": (f"{ERROR}, lasso / ridge, both at their best", [0.2, 0.4, 0.6, 0.8, 0.9]),
    }
    figure, panels = new_figure((11.4, 3.7), columns=3)
    for panel, (name, (title, levels)) in zip(panels, shown.items(), strict=True):
        draw_contoured(panel, found[name], levels, title)
    finish(figure, r"lasso, linear labels without noise, $T = 0$")
    return figure


def draw_contoured(panel: Axes, values: xr.DataArray, levels: list[float], title: str) -> None:
    """A map over (tau, alpha) with labelled contours, white on a dark casing, at which the colour bar has its ticks."""
    from matplotlib.patheffects import withStroke

    draw_map(panel, values, label="", norm=colour_norm(values.values), x="task_diversity", y="context_length")
    bar = panel.collections[0].colorbar
    bar.set_ticks(levels, labels=[f"{level:g}" for level in levels])
    bar.minorticks_off()
    casing = [withStroke(linewidth=2.5, foreground="0.2")]
    x, y = (values[name].values for name in ("task_diversity", "context_length"))
    shown = values.transpose("context_length", "task_diversity").values
    lines = panel.contour(x, y, shown, levels=levels, colors="white", linewidths=1.2)
    lines.set_path_effects(casing)
    for text in panel.clabel(lines, fmt="%g"):
        text.set_path_effects(casing)
    panel.set_title(title, fontsize="medium")


def draw_logistic() -> Figure:
    """Share of new labels of the wrong sign after logistic regression."""
    logistic = {"loss": "log_loss", "labels": "sign"}
    figure, panels = new_figure((9.0, 3.9), columns=2)
    tau, ridges = np.geomspace(0.1, 10, 40), [0.01, 0.1, 1.0, 10.0]
    rate = iclglass.sweep(
        task_diversity=tau[::2], context_length=np.geomspace(0.2, 20, 20), ridge=0.1, **logistic
    ).error_rate
    levels = [0.2, 0.25, 0.3, 0.35, 0.4, 0.45]
    draw_contoured(panels[0], rate, levels, r"share of new labels of the wrong sign, ridge $\lambda = 0.1$")
    curves = iclglass.sweep(task_diversity=tau, context_length=2, ridge=ridges, **logistic).error_rate
    draw_curves(panels[1], curves, r"$\lambda = %g$")
    limit = iclglass.solve(task_diversity=1e6, context_length=2, ridge=0.1, **logistic).error_rate
    panels[1].axhline(limit, color="0.4", linewidth=1, label=r"$\tau \to \infty$, $\lambda$ fixed")
    panels[1].legend()
    panels[1].set_title(r"context length $\alpha = 2$", fontsize="medium")
    finish(figure, r"logistic regression: sign labels without noise, log loss, $T = 0$")
    return figure


def draw_curves(panel: Axes, curves: xr.DataArray, form: str) -> None:
    """One quantity over the first axis, a curve for each value of the second."""
    x, second = (str(name) for name in curves.dims)
    looks = zip(PALETTE, ("-", "--", "-.", ":"), strict=False)
    for value, (colour, style) in zip(curves[second].values, looks, strict=False):
        panel.plot(curves[x], curves.sel({second: value}), color=colour, linestyle=style, label=form % value)
    draw_abscissa(panel, x, curves[x].values)
    panel.set_ylabel(axis_label(str(curves.name)))


def draw_nuclear() -> Figure:
    """Rank and error of factorised key-query weights."""
    tau = np.geomspace(0.1, 10, 60)
    curves = iclglass.sweep(task_diversity=tau, context_length=2, nuclear=[0.03, 0.1, 0.3, 0.7])
    figure, panels = new_figure((9.0, 3.9), columns=2)
    for panel, name in zip(panels, ("rank", "e_icl"), strict=True):
        draw_curves(panel, curves[name], r"$\nu_* = %g$")
    ridge = iclglass.solve(
        task_diversity=tau, context_length=2, ridge=iclglass.best_ridge(task_diversity=tau, context_length=2)
    )
    panels[1].plot(tau, ridge.e_icl, color="0.4", linewidth=1, label="best ridge instead")
    panels[0].legend()
    panels[1].legend(handles=panels[1].lines[-1:])
    finish(figure, r"key-query weights $W_K^\top W_Q$ with weight decay $\nu_*$, $\alpha = 2$, $\rho = 0$, $T = 0$")
    return figure


def draw_glass() -> Figure:
    """Replicon and error of binary weights over (tau, T), with the de Almeida-Thouless line."""
    from matplotlib.colors import Normalize

    diagram = iclglass.phase_diagram(
        task_diversity=np.geomspace(0.2, 10, 40),
        temperature=np.linspace(0.02, 0.5, 33),
        context_length=5,
        spins="binary",
        ridge=0.1,
        lines=["at"],
    )
    found, plane = diagram.dataset, {"x": "task_diversity", "y": "temperature"}
    unstable = found.status == iclglass.Status.RS_UNSTABLE
    figure, panels = new_figure((9.6, 4.4), columns=2)
    replicon = found.replicon.clip(-1, 1)
    draw_map(panels[0], replicon, label="replicon (below -1: as -1)", norm=Normalize(-1, 1), cmap="PuOr", **plane)
    draw_map(panels[1], found.e_icl, label=axis_label("e_icl"), norm=colour_norm(found.e_icl.values), **plane)
    for panel, colour in zip(panels, ("black", "white"), strict=True):
        hatch_cells(panel, unstable, label="replica symmetry unstable", **plane)
        for part in diagram.lines[0].parts:
            panel.plot(*part.T, color=colour, linewidth=2, label="de Almeida-Thouless line")
    title = r"weights $\pm 1/\sqrt{D}$ off the diagonal, ridge $\lambda = 0.1$ on it, $\alpha = 5$, $\rho = 0$"
    finish(figure, title, panels[0], 2)
    return figure


PICTURES: dict[str, Callable[[], Figure]] = {
    "models-lasso": draw_lasso,
    "models-logistic": draw_logistic,
    "models-nuclear": draw_nuclear,
    "models-glass": draw_glass,
}


def main(folder: Path) -> None:
    """Make all pictures in a folder."""
    for name, draw in PICTURES.items():
        file = folder / f"{name}.png"
        save_figure(draw(), file, force=True)
        # Five bits a colour halve the file, and no eye sees it.
        Image.open(file).convert("RGB").point(lambda value: min(8 * round(value / 8), 255)).save(file, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "figures")
