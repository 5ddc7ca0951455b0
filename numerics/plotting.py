"""Pictures of sweeps and phase diagrams. They read data and compute nothing.

Colours are safe for colour-blind readers (viridis for maps, the palette of Okabe and Ito for lines); grey is where
there is no number.
"""

import json
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from iclglass.numerics.arguments import check_flag, check_path, is_data_array
from iclglass.numerics.errors import ParameterError, ParameterTypeError
from iclglass.numerics.fixed_point import Status
from iclglass.numerics.parameters import PARAMETERS, closest
from iclglass.numerics.phase_diagram import PhaseDiagram
from iclglass.numerics.plotting_axes import cell_edges, set_scale
from iclglass.numerics.sizes import NORMS
from iclglass.numerics.solution import OBSERVABLES, Solution
from iclglass.numerics.storage import PROVENANCE, replacing

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "PALETTE",
    "absence",
    "check_observable",
    "colour_norm",
    "draw_abscissa",
    "draw_family",
    "draw_map",
    "draw_phase_diagram",
    "draw_sweep",
    "fixed_parameters",
    "plot_phase_diagram",
    "plot_sweep",
    "quantity_label",
    "save_figure",
    "write_absence",
]

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# Lines on a viridis map: each has a casing of the opposite lightness, so that it is seen anywhere.
_MAP_LINES = (
    ("#FFFFFF", "black", "-"),
    ("#D55E00", "white", "-"),
    ("#000000", "white", "--"),
    ("#CC79A7", "white", "-."),
    ("#56B4E9", "black", "--"),
)
_NO_NUMBER = {
    Status.DIVERGES: "diverging",
    Status.NOT_CONVERGED: "not converged",
    Status.NOT_FINITE: "not finite",
    Status.FAILED: "failed",
    Status.LOST: "lost",
}
_LABELS = {
    "m": "$m$",
    "q": "$q$",
    "q_self": r"$q_{\mathrm{self}}$",
    "chi": r"$\chi$",
    "e_icl": r"$e_{\mathrm{ICL}}$",
    "e_icl_gibbs": r"$e_{\mathrm{ICL}}^{\mathrm{Gibbs}}$",
    "e_idg": r"$e_{\mathrm{IDG}}$",
    "e_train": r"$e_{\mathrm{train}}$",
    "contrast": r"$m/\sqrt{q}$",
    "free_energy": "$f$",
    "energy": "$E$",
    "entropy": "$s$",
    "replicon": r"$\Lambda_R$",
}
_AXES = {
    "task_diversity": r"task diversity $\tau = P/D^2$",
    "context_length": r"context length $\alpha = N/D$",
    "distinct_tasks": r"distinct tasks $\kappa = K/D$",
    "label_noise": r"label noise variance $\rho$",
    "ridge": r"ridge $\lambda = D\lambda_0$",
    "temperature": r"temperature $T = D^2/\beta$",
    "test_context_length": r"test context length $\alpha_*$",
    "dimension": "token dimension $D$",
}
_SHORT = {
    "task_diversity": r"\tau",
    "context_length": r"\alpha",
    "distinct_tasks": r"\kappa",
    "label_noise": r"\rho",
    "ridge": r"\lambda",
    "temperature": "T",
    "test_context_length": r"\alpha_*",
    "dimension": "D",
}


def check_observable(name: str) -> str:
    """The name, if it is an observable.

    Raises:
        ParameterError: unknown quantity, with a suggestion.
        ParameterTypeError: not a name.
    """
    if not isinstance(name, str):
        raise ParameterTypeError(f"observable must be the name of a quantity, got {type(name).__name__}")
    if name not in OBSERVABLES:
        raise ParameterError(f"quantity {name!r} is unknown{closest(name, OBSERVABLES)}")
    return name


def check_picture(path: str | Path) -> str:
    """The format a picture's name asks for.

    Raises:
        ParameterError: unknown format.
    """
    from matplotlib.backend_bases import FigureCanvasBase

    kind = check_path("path", path).suffix.lstrip(".").lower() or "png"
    known = sorted(FigureCanvasBase.get_supported_filetypes())
    if kind not in known:
        raise ParameterError(f"picture format {kind!r} of {path} is unknown; known: {', '.join(known)}")
    return kind


def save_figure(figure: "Figure", path: str | Path, *, force: bool = False) -> None:
    """Write a figure, atomically, at 150 dots per inch; the ending of the name is the format."""
    kind = check_picture(path)
    with replacing(path, force=check_flag("force", force)) as temporary:
        figure.savefig(temporary, dpi=150, format=kind)


def plot_sweep(
    dataset: "xr.Dataset | PhaseDiagram | Solution",
    path: str | Path,
    *,
    observable: str = "e_icl",
    force: bool = False,
) -> None:
    """Draw one quantity of a sweep with one or two axes, into a file.

    Raises:
        ParameterError, ParameterTypeError: as `draw_sweep`; an unknown format of pictures.
        OutputError: the file exists, or cannot be written.
    """
    save_figure(draw_sweep(dataset, observable=observable), path, force=force)


def plot_phase_diagram(
    diagram: "PhaseDiagram | xr.Dataset", path: str | Path, *, observable: str = "e_icl", force: bool = False
) -> None:
    """Draw one quantity of a phase diagram with its lines, into a file; errors as of `plot_sweep`."""
    save_figure(draw_phase_diagram(diagram, observable=observable), path, force=force)


def draw_sweep(dataset: "xr.Dataset | PhaseDiagram | Solution", *, observable: str = "e_icl") -> "Figure":
    """One quantity over one axis (a curve) or two axes (a map).

    dataset: of `sweep`; a phase diagram, drawn with its lines; or the solution of `solve` where its parameters were
    DataArrays along dimensions of their own names.

    Raises:
        ParameterError: unknown quantity, or not one or two axes.
        ParameterTypeError: something else, or a solution of plain arrays, which does not know its parameters.
    """
    check_observable(observable)
    if isinstance(dataset, PhaseDiagram):
        return draw_phase_diagram(dataset, observable=observable)
    dataset = _dataset("dataset", dataset, observable)
    axes = [name for name in _AXES if name in dataset.dims]
    if len(axes) == 2:
        return draw_phase_diagram(PhaseDiagram(dataset, axes[0], axes[1], ()), observable=observable)
    if len(axes) != 1:
        raise ParameterError(f"a picture shows one or two axes, not {len(axes)}: fix the others to one value")
    figure, ax = _figure()
    x, values = dataset[axes[0]].values, dataset[observable].transpose(*axes).values
    shown = np.where(np.isfinite(values), values, np.nan)
    ax.plot(x, shown, color=PALETTE[0], marker="." if len(x) <= 50 else "")
    draw_abscissa(ax, axes[0], x)
    set_scale(ax, "y", shown, steep=True)
    write_absence(ax, absence(dataset, observable))
    ax.set_ylabel(quantity_label(observable))
    ax.set_title(fixed_parameters(dataset, axes), fontsize="medium")
    ax.grid(alpha=0.3)
    return figure


def draw_family(dataset: "xr.Dataset", *, observables: tuple[str, ...]) -> "Figure":
    """Quantities over the first axis, a curve for each value of the second, a panel for each quantity.

    Raises:
        ParameterError: unknown quantity, or not two axes.
    """
    from matplotlib.figure import Figure

    axes = [name for name in _AXES if name in dataset.dims]
    if len(axes) != 2:
        raise ParameterError(f"a family of curves has two axes, not {len(axes)}: fix the others to one value")
    figure = Figure(figsize=(5.2 * len(observables), 4.2), layout="constrained")
    panels = figure.subplots(1, len(observables), squeeze=False)[0]
    x = dataset[axes[0]].values
    for panel, name in zip(panels, map(check_observable, observables), strict=True):
        values = dataset[name].transpose(*axes).values
        for number, parameter in enumerate(dataset[axes[1]].values):
            colour, style = PALETTE[number % len(PALETTE)], ("-", "--", "-.", ":")[number % 4]
            panel.plot(
                x,
                values[:, number],
                color=colour,
                linestyle=style,
                label=f"${_SHORT[axes[1]]} = {parameter:g}$",
            )
        set_scale(panel, "y", values.ravel(), steep=True)
        panel.set_xlabel(_AXES[axes[0]])
        panel.set_ylabel(quantity_label(name))
        panel.grid(alpha=0.3)
    panels[0].legend()
    figure.suptitle(fixed_parameters(dataset, axes), fontsize="medium")
    return figure


def _dataset(name: str, given: object, observable: str) -> "xr.Dataset":
    """What a picture can show, as a dataset with the quantity and the status of its points.

    Raises:
        ParameterError, ParameterTypeError: it is none, with what to do.
    """
    import xarray as xr

    if isinstance(given, Solution):
        if not is_data_array(given.status):
            raise ParameterTypeError(
                f"{name} is a Solution of arrays, which does not know its parameters: sweep(...) returns a dataset "
                "with axes, or give solve its parameters as DataArrays"
            )
        given = xr.Dataset(given.to_dict())
    if not isinstance(given, xr.Dataset):
        raise ParameterTypeError(
            f"{name} must be an xarray.Dataset, as sweep returns it, or a PhaseDiagram, got {type(given).__name__}"
        )
    missing = [variable for variable in (observable, "status") if variable not in given]
    if missing:
        raise ParameterError(f"{name} has no {' and no '.join(missing)}: give a dataset as sweep returns it")
    foreign = [str(dim) for dim in given[observable].dims if dim not in _AXES or dim not in given.coords]
    if foreign:
        raise ParameterError(
            f"{name} has the dimension {foreign[0]!r}: the axes of a picture are parameters with their values as "
            f"coordinates, {', '.join(_AXES)}; select or rename it"
        )
    return given


def draw_phase_diagram(diagram: "PhaseDiagram | xr.Dataset", *, observable: str = "e_icl") -> "Figure":
    """One quantity as a map over two axes, with the located lines; of a dataset those that were saved with it.

    Raises:
        ParameterError: unknown quantity, or not two axes.
        ParameterTypeError: something else.
    """
    from matplotlib.patheffects import withStroke

    check_observable(observable)
    if not isinstance(diagram, PhaseDiagram):
        diagram = PhaseDiagram.from_dataset(_dataset("diagram", diagram, observable))
    figure, ax = _figure()
    draw_map(ax, diagram.dataset[observable], x=diagram.x, y=diagram.y, label=quantity_label(observable))
    write_absence(ax, absence(diagram.dataset, observable))
    drawn = 0
    for line in diagram.lines:
        if not line.parts:
            continue
        colour, casing, style = _MAP_LINES[drawn % len(_MAP_LINES)]
        outline = [withStroke(linewidth=3.5, foreground=casing)]
        for number, part in enumerate(line.parts):
            label = _line_label(line.name) if number == 0 else None
            ax.plot(
                part[:, 0],
                part[:, 1],
                color=colour,
                linestyle=style,
                linewidth=2,
                label=label,
                path_effects=outline,
            )
        drawn += 1
    ax.set_title(fixed_parameters(diagram.dataset, [diagram.x, diagram.y]), fontsize="medium")
    if drawn:
        figure.legend(
            loc="outside lower center",
            ncols=2,
            fontsize="small",
            facecolor="0.75",
            framealpha=1,
            handlelength=3,
        )
    return figure


@np.errstate(over="ignore")  # margins of an axis that ends near the largest number
def draw_map(
    panel: "Axes", values: "xr.DataArray", *, x: str, y: str, label: str, norm: Any = None, cmap: str = "viridis"
) -> None:
    """One quantity as a map of whole cells over two axes, with its colour bar; grey, and no bar, without a number.

    norm: of the colours; default `colour_norm` of the values.

    Raises:
        ParameterError: an axis of fewer than two values.
    """
    values = values.transpose(y, x).sortby([x, y])
    ticks = {name: values[name].values for name in (x, y)}
    for name, places in ticks.items():
        if len(np.unique(places)) < 2:
            raise ParameterError(f"the axis {name} of a map needs two values: give {name} as one number for a curve")
    norm = colour_norm(values) if norm is None else norm
    panel.set_facecolor("0.8")
    edges = {name: cell_edges(places) for name, places in ticks.items()}
    shown = np.ma.masked_invalid(values.values)
    mesh = panel.pcolormesh(edges[x], edges[y], shown, shading="flat", cmap=cmap, norm=norm, rasterized=True)
    if norm is not None:
        panel.figure.colorbar(mesh, ax=panel, label=label)
    for end, name in (("x", x), ("y", y)):
        set_scale(panel, end, ticks[name])
        panel.set(**{f"{end}lim": edges[name][[0, -1]], f"{end}label": _AXES[name]})


def colour_norm(*maps: Any) -> Any:
    """One scale of colours for all maps: logarithmic where they are positive and span over a decade and a half, else
    linear; None where none has a number.
    """
    from matplotlib.colors import LogNorm, Normalize

    numbers = np.concatenate([np.ravel(values) for values in maps])
    numbers = numbers[np.isfinite(numbers)]
    if not numbers.size:
        return None
    ends = float(numbers.min()), float(numbers.max())
    return LogNorm(*ends) if ends[0] > 0 and ends[1] > 30 * ends[0] else Normalize(*ends)


def draw_abscissa(panel: "Axes", name: str, places: Any) -> None:
    """A parameter's axis: its scale, its label, and its whole range, also where the curves have no number."""
    set_scale(panel, "x", places)
    finite = places[np.isfinite(places)]
    panel.update_datalim(np.column_stack([finite, finite]), updatey=False)
    panel.autoscale_view()
    panel.set_xlabel(_AXES[name])


def absence(dataset: "xr.Dataset", name: str) -> str:
    """Why a variable has no number at any point, from the status of the points; empty where it has one."""
    if np.isfinite(dataset[name].values).any():
        return ""
    codes, counts = np.unique(dataset["status"].values, return_counts=True)
    cold = name.startswith("entropy") and not np.any(dataset.get("temperature", 0.0))
    reasons = []
    for status, count in zip(map(Status, codes.tolist()), counts, strict=True):
        if status != Status.CONVERGED:
            reasons.append(f"{count} {_NO_NUMBER[status]}")
        else:
            reasons.append("entropy does not exist at temperature 0" if cold else f"{count} converged without {name}")
    return f"no number at any of {dataset['status'].size} points: {', '.join(reasons)}"


def write_absence(panel: "Axes", sentence: str) -> None:
    """A sentence in the middle of a panel; an ordinate on which nothing is drawn loses its numbers."""
    if not sentence:
        return
    if not np.isfinite(panel.dataLim.intervaly).all():
        panel.set_yticks([])
    text = "\n".join(fill(part, 40) for part in sentence.replace(": ", ":\n").split("\n"))
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8}
    panel.text(0.5, 0.5, text, transform=panel.transAxes, ha="center", va="center", bbox=box)


def _figure() -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    return figure, figure.add_subplot()


def quantity_label(observable: str) -> str:
    """Symbol and meaning of an observable."""
    return f"{_LABELS[observable]}: {OBSERVABLES[observable].split(' (')[0].removesuffix(' m / sqrt(q)')}"


def _line_label(name: str) -> str:
    kind, _, value = name.partition("=")
    plain = {
        "interpolation-threshold": "interpolation threshold",
        "best-ridge": r"best ridge (least $e_{\mathrm{ICL}}$)",
        "context-saturation": r"$e_{\mathrm{ICL}}$ stops falling with $\alpha$",
        "crossover": r"half the memorisation gap $e_{\mathrm{ICL}} - e_{\mathrm{IDG}}$",
        "memorisation-threshold": r"$\kappa = \min(\tau, 1)$",
    }
    if kind in plain:
        return plain[kind]
    if kind == "contrast":
        return rf"contrast ratio $m/\sqrt{{q}}$ = {value}"
    by_letter = {parameter.letter: key for key, parameter in PARAMETERS.items()}
    axis = by_letter.get(value, value.replace("-", "_"))
    return rf"{kind} of $e_{{\mathrm{{ICL}}}}$ along ${_SHORT[axis]}$"


def fixed_parameters(dataset: "xr.Dataset", axes: list[str]) -> str:
    """The parameters that are not axes, for a title."""
    names = [name for name in _SHORT if name in dataset.coords and name not in axes]
    values = {name: float(dataset[name]) for name in names}
    shown = [
        f"${_SHORT[name]} = {value:.4g}$".replace("inf", r"\infty")
        for name, value in values.items()
        if not (name == "distinct_tasks" and np.isinf(value))
    ]
    origin = json.loads(dataset.attrs.get(PROVENANCE, "{}")).get("parameters", {})
    # The layer, where it is not the usual one.
    shown += [f"norm {origin['norm']}"] if origin.get("norm", NORMS[0]) != NORMS[0] else []
    shown += ["no last row"] if origin.get("last_row") is False else []
    shown += ["scaled tokens"] if origin.get("last_feature") == "scaled-tokens" else []
    return ", ".join(shown)
