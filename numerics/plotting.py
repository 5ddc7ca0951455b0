"""Pictures of sweeps and phase diagrams. They read data and compute nothing.

Colours are safe for colour-blind readers (viridis for maps, the palette of Okabe and Ito for lines); grey is where
there is no number.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from numerics.errors import ParameterError
from numerics.parameters import PARAMETERS, closest
from numerics.phase_diagram import PhaseDiagram
from numerics.saddle_point import OBSERVABLES
from numerics.storage import replacing

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "PALETTE",
    "axis_label",
    "check_observable",
    "draw_family",
    "draw_map",
    "draw_phase_diagram",
    "draw_sweep",
    "fixed_parameters",
    "plot_phase_diagram",
    "plot_sweep",
    "quantity_label",
    "save_figure",
    "set_scale",
]

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# Lines on a viridis map: each has a casing of the opposite lightness, so that it is seen anywhere.
_LARGEST_DRAWN = 1e250
_LOGARITHMS = (-700.0, 709.0)
"""Between them exp is a normal number."""
_MAP_LINES = (
    ("#FFFFFF", "black", "-"),
    ("#D55E00", "white", "-"),
    ("#000000", "white", "--"),
    ("#CC79A7", "white", "-."),
    ("#56B4E9", "black", "--"),
)
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
    """
    if name not in OBSERVABLES:
        raise ParameterError(f"quantity {name!r} is unknown{closest(name, OBSERVABLES)}")
    return name


def check_picture(path: str | Path) -> str:
    """The format a picture's name asks for.

    Raises:
        ParameterError: unknown format.
    """
    from matplotlib.backend_bases import FigureCanvasBase

    kind = Path(path).suffix.lstrip(".").lower() or "png"
    known = sorted(FigureCanvasBase.get_supported_filetypes())
    if kind not in known:
        raise ParameterError(f"picture format {kind!r} of {path} is unknown; known: {', '.join(known)}")
    return kind


def save_figure(figure: "Figure", path: str | Path, *, force: bool = False) -> None:
    """Write a figure, atomically, at 150 dots per inch; the ending of the name is the format."""
    kind = check_picture(path)
    with replacing(path, force=force) as temporary:
        figure.savefig(temporary, dpi=150, format=kind)


def plot_sweep(dataset: "xr.Dataset", path: str | Path, *, observable: str = "e_icl", force: bool = False) -> None:
    """Draw one quantity of a sweep with one or two axes, into a file."""
    save_figure(draw_sweep(dataset, observable=observable), path, force=force)


def plot_phase_diagram(
    diagram: PhaseDiagram, path: str | Path, *, observable: str = "e_icl", force: bool = False
) -> None:
    """Draw one quantity of a phase diagram with its lines, into a file."""
    save_figure(draw_phase_diagram(diagram, observable=observable), path, force=force)


def draw_sweep(dataset: "xr.Dataset", *, observable: str = "e_icl") -> "Figure":
    """One quantity over one axis (a curve) or two axes (a map).

    Raises:
        ParameterError: unknown quantity, or not one or two axes.
    """
    check_observable(observable)
    axes = [name for name in _AXES if name in dataset.dims]
    if len(axes) == 2:
        return draw_phase_diagram(PhaseDiagram(dataset, axes[0], axes[1], ()), observable=observable)
    if len(axes) != 1:
        raise ParameterError(f"a picture shows one or two axes, not {len(axes)}: fix the others to one value")
    figure, ax = _figure()
    x, values = dataset[axes[0]].values, dataset[observable].transpose(*axes).values
    shown = np.where(np.isfinite(values), values, np.nan)
    ax.plot(x, shown, color=PALETTE[0], marker="." if len(x) <= 50 else "")
    set_scale(ax.set_xscale, x)
    set_scale(ax.set_yscale, shown, steep=True)
    ax.set_xlabel(_AXES[axes[0]])
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
        set_scale(panel.set_yscale, values.ravel(), steep=True)
        panel.set_xlabel(_AXES[axes[0]])
        panel.set_ylabel(quantity_label(name))
        panel.grid(alpha=0.3)
    panels[0].legend()
    figure.suptitle(fixed_parameters(dataset, axes), fontsize="medium")
    return figure


def draw_phase_diagram(diagram: PhaseDiagram, *, observable: str = "e_icl") -> "Figure":
    """One quantity as a map over two axes, with the located lines.

    Raises:
        ParameterError: unknown quantity.
    """
    from matplotlib.patheffects import withStroke

    check_observable(observable)
    figure, ax = _figure()
    draw_map(ax, diagram.dataset[observable], x=diagram.x, y=diagram.y, label=quantity_label(observable))
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
    """One quantity as a map over two axes, with its colour bar; grey where there is no number.

    norm: of the colours; default linear, or logarithmic for values of one sign over a decade and a half.

    Raises:
        ParameterError: an axis of fewer than two values.
    """
    from matplotlib.colors import LogNorm, Normalize

    ticks = {name: values[name].values for name in (x, y)}
    for name, places in ticks.items():
        if len(np.unique(places)) < 2:
            raise ParameterError(f"the axis {name} of a map needs two values: give {name} as one number for a curve")
    shown = np.ma.masked_invalid(values.transpose(y, x).values)
    if norm is None:
        steep = shown.count() > 0 and shown.min() > 0 and shown.max() > 30 * shown.min()
        norm = LogNorm() if steep else Normalize()
    panel.set_facecolor("0.8")
    edges = _edges(ticks[x]), _edges(ticks[y])
    mesh = panel.pcolormesh(*edges, shown, shading="flat", cmap=cmap, norm=norm, rasterized=True)
    panel.figure.colorbar(mesh, ax=panel, label=label)
    for name, setter, limits, title in (
        (x, panel.set_xscale, panel.set_xlim, panel.set_xlabel),
        (y, panel.set_yscale, panel.set_ylim, panel.set_ylabel),
    ):
        set_scale(setter, ticks[name])
        limits(ticks[name][0], ticks[name][-1])
        title(axis_label(name))


def axis_label(name: str) -> str:
    """The label of a parameter's axis."""
    return _AXES[name]


def _figure() -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    return figure, figure.add_subplot()


def _edges(values: Any) -> Any:
    """Edges of cells centred on the values, on the scale on which they are drawn."""
    logarithmic = _geometric(values)
    centres = np.log(values) if logarithmic else values
    inner = (centres[1:] + centres[:-1]) / 2
    edges = np.concatenate([[2 * centres[0] - inner[0]], inner, [2 * centres[-1] - inner[-1]]])
    # The outer edge may lie beyond floating point.
    return np.exp(np.clip(edges, *_LOGARITHMS)) if logarithmic else edges


def _geometric(values: Any) -> bool:
    if len(values) < 3 or not np.all(values > 0):
        return False
    ratios = values[1:] / values[:-1]
    return bool(np.allclose(ratios, ratios[0], rtol=1e-6) and not np.isclose(ratios[0], 1))


def set_scale(setter: Any, values: Any, *, steep: bool = False) -> None:
    """Logarithmic when the values are spaced so, or, for ordinates, when they span more than a decade and a half.

    Raises:
        ParameterError: numbers beyond what can be drawn, with margins and ticks.
    """
    finite = np.asarray(values)[np.isfinite(values)]
    if finite.size and np.abs(finite).max() > _LARGEST_DRAWN:
        raise ParameterError(
            f"numbers up to {np.abs(finite).max():g} cannot be drawn, only up to {_LARGEST_DRAWN:g}: take a smaller "
            "range, or leave the picture out"
        )
    if finite.size < 3 or finite.min() <= 0:
        return
    ratios = finite[1:] / finite[:-1]
    geometric = np.allclose(ratios, ratios[0], rtol=1e-6) and not np.isclose(ratios[0], 1)
    if geometric or (steep and finite.max() > 30 * finite.min()):
        setter("log")


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
    return ", ".join(
        f"${_SHORT[name]} = {value:.4g}$".replace("inf", r"\infty")
        for name, value in values.items()
        if not (name == "distinct_tasks" and np.isinf(value))
    )
