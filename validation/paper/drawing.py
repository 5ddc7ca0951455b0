"""How a figure's panels are laid out and dressed."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

__all__ = ["dress", "panelled", "stacked"]


def panelled(width: float, height: float, *grid: int, **options: Any) -> tuple[Figure, Any]:
    """A picture of so many inches and its panels, as `Figure.subplots` makes them.

    >>> panelled(4, 3, 1, 2)[1].shape
    (2,)
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(*grid, **options)


def stacked(width: float, height: float, *ratios: float) -> tuple[Figure, Any]:
    """A picture of so many inches and its parts below each other, of these ratios of their heights.

    >>> len(stacked(4, 3, 2, 1)[1])
    2
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subfigures(len(ratios), 1, height_ratios=ratios)


def dress(
    panel: Any, title: str = "", *, size: str = "medium", grid: bool = True, legend: str = "", **settings: Any
) -> None:
    """Title, grid, legend of a font size, and what `Axes.set` takes: labels, scales, limits.

    >>> panel = panelled(4, 3)[1]
    >>> dress(panel, "one", xlabel="x")
    >>> panel.get_title(), panel.get_xlabel()
    ('one', 'x')
    """
    panel.set(**settings)
    if title:
        panel.set_title(title, fontsize=size)
    if grid:
        panel.grid(alpha=0.3)
    if legend:
        panel.legend(fontsize=legend)
