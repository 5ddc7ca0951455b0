"""The cross-check as a picture: simulated means against 1/D, their extrapolation, the theory at 1/D = 0."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from iclglass.numerics.errors import OutputError
from iclglass.numerics.sizes import NORMS
from iclglass.validation.agreement import Agreement, QuantityAgreement

__all__ = ["draw_extrapolation", "plot_extrapolation"]

SIMULATION, FIT, THEORY = "#0072B2", "#56B4E9", "#D55E00"
"""Okabe-Ito blue, sky blue and vermillion: told apart with any colour vision."""

LABELS = {
    "m": r"overlap with the task, $m$",
    "q": r"overlap of two replicas, $q$",
    "chi": r"response, $\chi$",
    "e_icl": "error on a new task",
    "e_idg": "error on a new prompt of the pool",
    "e_train": "error on the training prompts",
    "contrast": "contrast ratio",
}


def draw_extrapolation(agreement: Agreement) -> Figure:
    """One panel for each quantity of `LABELS` that was compared. All quantities are dimensionless.

    Points are simulated means with standard errors, moved by theory(tau, alpha) - theory(P/D^2, N/D) where P
    and N had to be rounded, so that they belong to the curve: theory + the fitted gap g + a/D (+ b/D^2).
    """
    rows = [row for row in agreement.rows if row.quantity in LABELS]
    columns = min(3, len(rows))
    lines = math.ceil(len(rows) / columns)
    figure = Figure(figsize=(3.5 * columns, 2.8 * lines + 0.9), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for panel, row in zip(panels, rows, strict=False):
        _draw_panel(panel, row)
    for panel in panels[len(rows) :]:
        panel.remove()
    for panel in panels[max(0, len(rows) - columns) : len(rows)]:
        panel.set_xlabel(r"$1/D$  ($D$: token dimension)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.suptitle(_title(agreement), fontsize="medium")
    return figure


def plot_extrapolation(agreement: Agreement, path: str | Path) -> None:
    """Write the picture of `draw_extrapolation` as PNG; OutputError if the file cannot be written."""
    try:
        draw_extrapolation(agreement).savefig(path, format="png")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error}; choose another path") from error


def _title(agreement: Agreement) -> str:
    parameters = (
        rf"$\tau = {agreement.task_diversity:g}$,  $\alpha = {agreement.context_length:g}$,  "
        + (rf"$\kappa = {agreement.distinct_tasks:g}$,  " if math.isfinite(agreement.distinct_tasks) else "")
        + rf"$\rho = {agreement.label_noise:g}$,  $\lambda = {agreement.ridge:g}$,  "
        rf"$T = {agreement.temperature:g}$"
        + (f",  norm {agreement.norm}" if agreement.norm != NORMS[0] else "")
        + ("" if agreement.last_row else ",  no last row")
        + (",  scaled tokens" if agreement.last_feature == "scaled-tokens" else "")
    )
    verdict = {True: "agree", False: "DISAGREE", None: "INCONCLUSIVE"}[agreement.passed]
    return (
        f"{parameters}\ntheory and extrapolation: {verdict} "
        f"(false-alarm rate at most {agreement.false_alarm:g}, {agreement.samples} data sets a point)\n"
        "$z$: deviation in standard errors, of its limit (+ an allowance for the first missing term of the fit)"
    )


def _draw_panel(panel: Axes, row: QuantityAgreement) -> None:
    inverse = np.array([1 / size.dimension for size in row.sizes])
    points = np.array([size.mean - size.theory + row.theory for size in row.sizes])
    errors = np.array([size.standard_error for size in row.sizes])
    grid = np.linspace(0, inverse.max(), 100)
    curve = row.theory + np.polynomial.polynomial.polyval(grid, np.array(row.coefficients))
    degree = r"$g + a/D$" if len(row.coefficients) == 2 else r"$g + a/D + b/D^2$"

    panel.axhline(row.theory, color=THEORY, linewidth=0.8, linestyle=":", zorder=0)
    panel.plot(grid, curve, color=FIT, linewidth=1.5, label=f"theory + fit {degree}", zorder=1)
    panel.errorbar(
        inverse,
        points,
        errors,
        fmt="o",
        color=SIMULATION,
        markersize=4.5,
        label="simulation (mean, standard error)",
        zorder=3,
        capsize=2.5,
    )
    # an open square around the diamond: both are seen where they coincide
    panel.errorbar(
        [0],
        [row.extrapolated],
        [row.standard_error],
        fmt="s",
        color=SIMULATION,
        markerfacecolor="none",
        markersize=9,
        label=r"extrapolated to $D \to \infty$",
        zorder=4,
        capsize=2.5,
    )
    panel.plot([0], [row.theory], "D", color=THEORY, markersize=4.5, label="theory", zorder=5)

    panel.set_title(f"{LABELS[row.quantity]}   ($z = {row.z:+.1f}$ of ${row.limit}$)", fontsize="medium")
    panel.set_xlim(-0.05 * inverse.max(), 1.06 * inverse.max())
    panel.spines[["top", "right"]].set_visible(False)
    panel.yaxis.set_major_locator(MaxNLocator(5))
    places = np.concatenate([[0.0], np.sort(inverse)])
    if np.diff(places).min() > 0.1 * inverse.max():  # room to name every dimension
        names = [
            "0",
            *(f"1/{size.dimension}" for size in sorted(row.sizes, key=lambda size: -size.dimension)),
        ]
        panel.set_xticks(places, names)
    else:
        panel.xaxis.set_major_locator(MaxNLocator(5))
