"""Pictures as files: the one function that saves them."""

from pathlib import Path
from typing import TYPE_CHECKING

from iclglass.numerics.arguments import check_flag, check_path
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.storage import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["check_picture", "save_figure"]


def check_picture(path: str | Path) -> str:
    """The format a picture's name asks for.

    Raises
    ------
    ParameterError
        Unknown format.
    """
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
    OutputError
        The file exists and ``force`` is not given, or it cannot be written.
    ParameterError
        Unknown format.
    """
    kind = check_picture(path)
    with replacing(path, force=check_flag("force", force)) as temporary:
        figure.savefig(temporary, dpi=150, format=kind)
