"""Which figures of the paper there are, by name; their modules are imported when asked for."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from iclglass.numerics.errors import ParameterError
from iclglass.validation.paper.figure import PaperFigure

__all__ = ["FIGURES", "get"]

_NAMES = (*(f"fig-{number}" for number in range(1, 5)), *(f"fig-S{number}" for number in range(1, 9)))

FIGURES: dict[str, str] = {
    name: module
    for name in _NAMES
    if find_spec(module := f"iclglass.validation.paper.{name.lower().replace('-', '_')}") is not None
}
"""Name -> module."""


def get(name: str) -> PaperFigure:
    """The figure of a name; capitals do not matter.

    Raises
    ------
    ParameterError
        Unknown name, with those known.

    >>> get("fig-s1").name
    'fig-S1'
    """
    known = {figure.lower(): module for figure, module in FIGURES.items()}
    if name.lower() not in known:
        raise ParameterError(f"figure {name!r} is unknown; known: {', '.join(FIGURES)}, all")
    figure: PaperFigure = import_module(known[name.lower()]).FIGURE
    return figure
