"""Pictures of sweeps, of theory or of simulation beside it, and of phase diagrams with their lines."""

from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from iclglass.numerics.deviations import z_scores
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.parameters import PARAMETERS, STRENGTHS
from iclglass.numerics.phase_diagram import PhaseDiagram
from iclglass.numerics.plotting.axes import (
    STEEP,
    colour_norm,
    draw_abscissa,
    draw_map,
    hatch_cells,
    hatch_ranges,
    set_scale,
    write_absence,
)
from iclglass.numerics.plotting.data import absence, as_dataset, check_observable
from iclglass.numerics.plotting.style import (
    PALETTE,
    PARAMETER_SYMBOLS,
    axis_label,
    finish,
    new_figure,
    save_figure,
    title_of,
)
from iclglass.numerics.status import Status

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from iclglass.numerics.solution import Solution

__all__ = ["check_axes", "draw_family", "draw_phase_diagram", "draw_sweep", "plot_phase_diagram", "plot_sweep"]

# Lines on a viridis map: each has a casing of the opposite lightness, so that it is seen anywhere.
_MAP_LINES = (
    ("#FFFFFF", "black", "-"),
    ("#D55E00", "white", "-"),
    ("#000000", "white", "--"),
    ("#CC79A7", "white", "-."),
    ("#56B4E9", "black", "--"),
)
_LINE_LABELS = {
    "interpolation-threshold": "interpolation threshold",
    "best-ridge": r"best ridge (least $e_{\mathrm{ICL}}$)",
    "context-saturation": r"$e_{\mathrm{ICL}}$ stops falling with $\alpha$",
    "crossover": r"half the memorisation gap $e_{\mathrm{ICL}} - e_{\mathrm{IDG}}$",
    "memorisation-threshold": r"$\kappa = \min(\tau, 1)$",
    "at": "de Almeida-Thouless line",
}
_UNSTABLE = "replica symmetry unstable"


def plot_sweep(
    dataset: "xr.Dataset | PhaseDiagram | Solution", path: str | Path, *, observable: str = "e_icl", force: bool = False
) -> None:
    """Draw one quantity of a sweep with one or two axes, into a file.

    Raises
    ------
    ParameterError, ParameterTypeError, OutputError
        As `draw_sweep`; an unknown format of pictures; the file exists, or cannot be written.
    """
    save_figure(draw_sweep(dataset, observable=observable), path, force=force)


def plot_phase_diagram(
    diagram: "PhaseDiagram | xr.Dataset", path: str | Path, *, observable: str = "e_icl", force: bool = False
) -> None:
    """Draw one quantity of a phase diagram with its lines, into a file; errors as of `plot_sweep`."""
    save_figure(draw_phase_diagram(diagram, observable=observable), path, force=force)


def draw_sweep(
    dataset: "xr.Dataset | PhaseDiagram | Solution",
    *,
    observable: str = "e_icl",
    beside: Mapping[str, NDArray[np.float64]] | None = None,
) -> "Figure":
    """One quantity over one axis (a curve) or two (a map, with located lines where there are some).

    A simulation has its standard errors and the theory beside it; over two axes those are three maps, simulation and
    theory on one scale of colours, and their difference in standard errors. A solution of `solve` is drawn where its
    parameters were DataArrays along dimensions of their own names. ``beside``: label -> further values of the quantity
    over the one axis, as lines.

    Raises
    ------
    ParameterError, ParameterTypeError
        Unknown quantity, or not one or two axes; something else, or a solution of plain arrays.
    """
    found = _checked("dataset", dataset, observable)
    axes = [name for name in PARAMETER_SYMBOLS if name in found.dims]
    check_axes({name: found[name].values for name in axes})
    if beside and len(axes) != 1:
        raise ParameterError("other curves are drawn beside a curve, not beside a map: give one axis")
    return _curve(found, observable, axes[0], beside or {}) if len(axes) == 1 else _maps(found, observable, axes)


def draw_phase_diagram(diagram: "PhaseDiagram | xr.Dataset", *, observable: str = "e_icl") -> "Figure":
    """As `draw_sweep`, of two axes only."""
    found = _checked("diagram", diagram, observable)
    PhaseDiagram.from_dataset(found)  # refuses other than two axes
    return draw_sweep(found, observable=observable)


def draw_family(dataset: "xr.Dataset", *, observables: tuple[str, ...]) -> "Figure":
    """Quantities over the first of two axes, a curve for each value of the second, a panel for each quantity."""
    for name in observables:
        dataset = _checked("dataset", dataset, name)
    axes = [name for name in PARAMETER_SYMBOLS if name in dataset.dims]
    if len(axes) != 2:
        raise ParameterError(f"a family of curves has two axes, not {len(axes)}: fix the others to one value")
    figure, panels = new_figure((5.2 * len(observables), 4.2), columns=len(observables))
    for panel, name in zip(panels, observables, strict=True):
        curves = dataset[name].transpose(*axes).values
        looks = zip(cycle(PALETTE), cycle(("-", "--", "-.", ":")))
        for values, parameter, (colour, style) in zip(curves.T, dataset[axes[1]].values, looks, strict=False):
            label = f"${PARAMETER_SYMBOLS[axes[1]]} = {parameter:g}$"
            panel.plot(dataset[axes[0]].values, values, color=colour, linestyle=style, label=label)
        set_scale(panel, "y", curves.ravel(), steep=STEEP)
        panel.set(xlabel=axis_label(axes[0]), ylabel=axis_label(name))
        write_absence(panel, absence(dataset, name))
    panels[0].legend()
    finish(figure, title_of(dataset, axes))
    return figure


def check_axes(axes: Mapping[str, NDArray[np.float64]]) -> None:
    """Refuse with ParameterError axes, values by name, that no picture has: not one or two; of a map, of one value."""
    if len(axes) not in (1, 2):
        raise ParameterError(
            f"a picture shows one or two axes, not {len(axes)}: fix the others to one value, or leave the picture out"
        )
    for name, values in axes.items() if len(axes) == 2 else ():
        if len(np.unique(values)) < 2:
            raise ParameterError(f"the axis {name} of a map needs two values: give {name} as one number for a curve")


def _checked(name: str, given: object, observable: str) -> "xr.Dataset":
    """The dataset of a sweep with the quantity and the status of its points, along parameters only."""
    check_observable(observable)
    dataset = as_dataset(name, given, observable, "status", source="sweep")
    foreign = [
        str(dim) for dim in dataset[observable].dims if dim not in PARAMETER_SYMBOLS or dim not in dataset.coords
    ]
    if foreign:
        raise ParameterError(
            f"{name} has the dimension {foreign[0]!r}: the axes of a picture are parameters with their values as "
            f"coordinates, {', '.join(PARAMETER_SYMBOLS)}; select or rename it"
        )
    return dataset


def _curve(dataset: "xr.Dataset", observable: str, axis: str, others: Mapping[str, NDArray[np.float64]]) -> "Figure":
    """A line of theory, or points with their errors over it, and others beside it."""
    figure, (panel,) = new_figure((6.4, 4.8))
    x, values = dataset[axis].values, dataset[observable].values
    shown, missing = np.where(np.isfinite(values), values, np.nan), absence(dataset, observable)
    error, theory = f"{observable}_standard_error", f"{observable}_theory"
    beside = theory in dataset and not absence(dataset, theory)
    if error in dataset:
        count = int(dataset.seed_count.max())
        counted = "one data set a point, no error bars" if count == 1 else f"{count} data sets a point"
        label = f"simulation: {missing}" if missing else f"simulation, {counted}"
        bars = None if count == 1 else np.nan_to_num(dataset[error].values)
        panel.errorbar(x, shown, bars, fmt="o", markersize=4, color=PALETTE[1], label=label)
    else:
        panel.plot(x, shown, color=PALETTE[0], marker="." if len(x) <= 50 else "", label="attention")
    if beside:
        panel.plot(x, dataset[theory].values, color=PALETTE[0], label="theory at the same sizes")
    for (label, line), colour, style in zip(others.items(), PALETTE[2:], ("--", "-.", ":"), strict=False):
        panel.plot(x, line, color=colour, linestyle=style, label=label)
    draw_abscissa(panel, axis, x)
    unstable = dataset["status"].values == Status.RS_UNSTABLE
    hatch_ranges(panel, x, unstable, label=_UNSTABLE)
    set_scale(panel, "y", np.concatenate([shown, *others.values()]), steep=STEEP)
    panel.set_ylabel(axis_label(observable))
    alone = missing if not beside else ""
    write_absence(panel, alone)
    named = (error in dataset and not alone) or unstable.any() or others
    finish(figure, title_of(dataset, [axis]), panel if named else None, 1 if missing else 2)
    return figure


def _maps(dataset: "xr.Dataset", observable: str, axes: list[str]) -> "Figure":
    """One map with its lines; of a simulation beside theory three."""
    from matplotlib.colors import Normalize

    shown = {"simulation": observable, "theory at the same sizes": f"{observable}_theory"}
    shown = {title: name for title, name in shown.items() if name in dataset}
    count = 3 if len(shown) == 2 else 1
    figure, panels = new_figure((5.4 * count, 4.6) if count > 1 else (6.4, 4.8), columns=count)
    norm = colour_norm(*(dataset[name].values for name in shown.values()))
    diagram = PhaseDiagram.from_dataset(dataset) if "line_name" in dataset else None
    x, y = (diagram.x, diagram.y) if diagram else axes
    unstable = dataset["status"] == Status.RS_UNSTABLE
    for panel, (title, name) in zip(panels, shown.items(), strict=False):
        draw_map(panel, dataset[name], x=x, y=y, label=axis_label(observable), norm=norm)
        write_absence(panel, absence(dataset, name))
        hatch_cells(panel, unstable, x=x, y=y, label=_UNSTABLE)
        panel.set_title(title if f"{observable}_standard_error" in dataset else "", fontsize="medium")
    if count == 3:
        z = z_scores(dataset, observable)
        reach = max(4.0, float(np.max(np.abs(z[np.isfinite(z)]), initial=0.0)))
        clipped = dataset[observable].copy(data=np.clip(z, -reach, reach))  # infinite without scatter
        scale, label = Normalize(-reach, reach), "deviation, $z$ (normal deviate of Student's $t$)"
        nothing = bool(np.isnan(z).all())
        draw_map(panels[2], clipped, x=x, y=y, label=label, norm=None if nothing else scale, cmap="PuOr")
        single = int(dataset.seed_count.max()) == 1
        reason = "one data set a point: no standard errors" if single else "nothing to compare"
        write_absence(panels[2], reason if nothing else "")
        panels[2].set_title("simulation - theory", fontsize="medium")
    lined = panels[0] if (diagram and diagram.lines) or unstable.any() else None
    if diagram:
        _draw_lines(panels[0], diagram)
    look = {"fontsize": "small", "facecolor": "0.75", "framealpha": 1, "handlelength": 3}
    finish(figure, title_of(dataset, axes), lined, 2, **look)
    return figure


def _draw_lines(panel: "Axes", diagram: PhaseDiagram) -> None:
    """The located lines, each named once."""
    from matplotlib.patheffects import withStroke

    error = r"\epsilon" if "error_rate" in diagram.dataset else r"e_{\mathrm{ICL}}"
    for line, (colour, casing, style) in zip(diagram.lines, cycle(_MAP_LINES), strict=False):
        outline = [withStroke(linewidth=3.5, foreground=casing)]
        for number, part in enumerate(line.parts):
            label = _line_label(line.name, error) if number == 0 else None
            x, y = part.T
            panel.plot(x, y, color=colour, linestyle=style, linewidth=2, label=label, path_effects=outline)


def _line_label(name: str, error: str) -> str:
    """A located line in the legend; error: the symbol of what has a minimum or peak."""
    kind, _, value = name.partition("=")
    if kind == "contrast":
        return rf"contrast ratio $m/\sqrt{{q}}$ = {value}"
    by_letter = {parameter.letter: key for key, parameter in (PARAMETERS | STRENGTHS).items()}
    axis = by_letter.get(value, value.replace("-", "_"))
    return _LINE_LABELS.get(kind) or rf"{kind} of ${error}$ along ${PARAMETER_SYMBOLS[axis]}$"
