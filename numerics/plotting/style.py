"""One look for all pictures: colours, labels of axes, titles, figures and legends; and the one way to save them.

Colours are safe for colour-blind readers: the palette of Okabe and Ito for lines, viridis for maps. Grey is where there
is no number.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iclglass.numerics.arguments import check_flag, check_path
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.sizes import NORMS
from iclglass.numerics.solution import QUANTITIES
from iclglass.numerics.storage import PROVENANCE, replacing

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PALETTE", "check_picture", "new_figure", "save_figure"]

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

PARAMETER_SYMBOLS = {
    "task_diversity": r"\tau",
    "context_length": r"\alpha",
    "distinct_tasks": r"\kappa",
    "label_noise": r"\rho",
    "ridge": r"\lambda",
    "temperature": "T",
    "test_context_length": r"\alpha_*",
    "l1": r"\ell_1",
    "nuclear": r"\nu_*",
    "spacing": "c",
    "huber_threshold": r"\delta",
    "initial_overlap": "q_0",
    "dimension": "D",
}
"""Parameters in the order of titles; the axes of a sweep are among them."""
_TITLES = {**PARAMETER_SYMBOLS, "ridge0": r"\lambda_0", "beta": r"\beta"}
_AXES = {
    "task_diversity": r"task diversity $\tau = P/D^2$",
    "context_length": r"context length $\alpha = N/D$",
    "distinct_tasks": r"distinct tasks $\kappa = K/D$",
    "label_noise": r"label noise variance $\rho$",
    "ridge": r"ridge $\lambda = D\lambda_0$",
    "temperature": r"temperature $T = D^2/\beta$",
    "test_context_length": r"test context length $\alpha_*$",
    "l1": r"lasso strength $\ell_1 = D^{3/2}\ell_0$",
    "nuclear": r"nuclear-norm strength $\nu_* = D\nu_0$",
    "spacing": "spacing of spins $c$",
    "huber_threshold": r"Huber threshold $\delta$",
    "dimension": "token dimension $D$",
    "time": "training time $t$ (gradient flow, units of $D$)",
    "step": "step $t$ of message passing",
    "change": r"$|W_t - W_{t-1}|^2/D$: squared size of a step",
}
_LONG, _ROOM = 50, 0.98
"""Signs of a label, LaTeX's among them, up to which it fits in any picture; share of the height that one may take."""
_WORDS = {"loss": "", "labels": " labels", "spins": " spins"}
_SYMBOLS = {
    "m": "m",
    "q": "q",
    "q_self": r"q_{\mathrm{self}}",
    "chi": r"\chi",
    "e_icl": r"e_{\mathrm{ICL}}",
    "e_icl_gibbs": r"e_{\mathrm{ICL}}^{\mathrm{Gibbs}}",
    "e_idg": r"e_{\mathrm{IDG}}",
    "e_train": r"e_{\mathrm{train}}",
    "contrast": r"m/\sqrt{q}",
    "free_energy": "f",
    "energy": "E",
    "entropy": "s",
    "replicon": r"\Lambda_R",
    "test_loss": r"\ell_{\mathrm{test}}",
    "train_loss": r"\ell_{\mathrm{train}}",
    "error_rate": r"\epsilon",
    "density": r"\varrho",
    "density_off_diagonal": r"\varrho_{\mathrm{off}}",
    "rank": "r",
}


def axis_label(name: str) -> str:
    """Symbol and meaning of a parameter or an observable.

    Examples
    --------
    >>> axis_label("label_noise"), axis_label("contrast")
    ('label noise variance $\\\\rho$', '$m/\\\\sqrt{q}$: contrast ratio')
    """
    if name in _AXES:
        return _AXES[name]
    return f"${_SYMBOLS[name]}$: {QUANTITIES[name].split(' (')[0].removesuffix(' m / sqrt(q)')}"


def title_of(dataset: "xr.Dataset", leave_out: Sequence[str] = ()) -> str:
    """Fixed parameters of a dataset, which are its scalars, and its layer where that is not the usual one.

    Norm and last row are in the attributes or the provenance.

    Examples
    --------
    >>> import xarray as xr
    >>> title_of(xr.Dataset(coords={"ridge": 0.1, "distinct_tasks": float("inf")}, attrs={"norm": "N+1"}))
    '$\\\\lambda = 0.1$, norm N+1'
    """
    scalars = [name for name in _TITLES if name in dataset.variables and name not in leave_out]
    shown = [
        f"${_TITLES[name]} = {float(dataset[name]):.4g}$".replace("inf", r"\infty")
        for name in scalars
        if not dataset[name].ndim and not (name == "distinct_tasks" and dataset[name] == float("inf"))
    ]
    layer = {**json.loads(dataset.attrs.get(PROVENANCE, "{}")).get("parameters", {}), **dataset.attrs}
    shown += [f"norm {layer['norm']}"] if layer.get("norm", NORMS[0]) != NORMS[0] else []
    shown += [] if layer.get("last_row", True) else ["no last row"]
    shown += ["scaled tokens"] if layer.get("last_feature") == "scaled-tokens" else []
    shown += [f"{layer[word].replace('_', ' ')}{more}" for word, more in _WORDS.items() if word in layer]
    shown += ["own model"] if "model" in layer else []
    return ", ".join(shown)


def new_figure(size: tuple[float, float], rows: int = 1, columns: int = 1) -> "tuple[Figure, list[Axes]]":
    """A figure without pyplot, so that no window opens and none is kept alive, and its panels row by row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel in panels:
        panel.grid(alpha=0.3)
    return figure, panels


def finish(figure: "Figure", title: str, panel: "Axes | None" = None, columns: int = 1, **look: Any) -> None:
    """The title of a picture, and the legend of one panel below all panels, where it hides no point."""
    figure.suptitle(title, fontsize="medium")
    if panel is not None:
        handles, labels = panel.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, **look)
    _fit_labels(figure)


def _fit_labels(figure: "Figure") -> None:
    """Make the type of upright labels smaller that would run out of the picture, above or below."""
    labels = [axes.yaxis.label for axes in figure.axes if len(axes.get_ylabel()) > _LONG]
    if not labels:
        return
    figure.draw_without_rendering()
    for label in labels:
        extent = label.get_window_extent()
        middle = (extent.y0 + extent.y1) / 2
        room = 2 * min(middle - figure.bbox.y0, figure.bbox.y1 - middle)
        if extent.height > _ROOM * room:
            label.set_fontsize(float(label.get_fontsize()) * _ROOM * room / extent.height)


def check_picture(path: str | Path) -> str:
    """The format a picture's name asks for; ParameterError where it is unknown."""
    from matplotlib.backend_bases import FigureCanvasBase

    kind = check_path("path", path).suffix.lstrip(".").lower() or "png"
    known = sorted(FigureCanvasBase.get_supported_filetypes())
    if kind not in known:
        raise ParameterError(f"picture format {kind!r} of {path} is unknown; known: {', '.join(known)}")
    return kind


def save_figure(figure: "Figure", path: str | Path, *, force: bool = False) -> None:
    """Write a figure, atomically, at 150 dots per inch; the ending of the name is the format.

    Raises
    ------
    OutputError, ParameterError
        The file exists and ``force`` is not given, or it cannot be written; unknown format.
    """
    kind = check_picture(path)
    with replacing(path, force=check_flag("force", force)) as temporary:
        figure.savefig(temporary, dpi=150, format=kind)
