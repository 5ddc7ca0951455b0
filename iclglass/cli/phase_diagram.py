"""``iclglass phase-diagram``: a sweep of two axes with located lines, and its picture."""

from pathlib import Path
from typing import Any

from iclglass.cli.kinds import TEXT
from iclglass.cli.options import command, option, swept, theory
from iclglass.cli.progress import bar
from iclglass.cli.sweep import alone, finish

__all__ = ["phase_diagram"]


@command(
    *swept(),
    option(
        "--line LINE",
        TEXT,
        "line to locate, repeatable: interpolation-threshold, contrast=LEVEL, minimum=AXIS, "
        "peak=AXIS, best-ridge, context-saturation, crossover, memorisation-threshold, at (de Almeida-Thouless) "
        "(default: interpolation-threshold and contrast=0.8; with another model contrast=0.8, of discrete spins "
        "also at)",
        multiple=True,
    ),
    example="iclglass phase-diagram --tau 0.1:4:200 --alpha 0.2:20:100:log --line peak=tau --out phases.nc",
)
def phase_diagram(**values: Any) -> int:
    """A sweep of two axes with located lines, and its picture."""
    from iclglass.numerics.phase_diagram import phase_diagram
    from iclglass.numerics.plotting import draw_phase_diagram, save_figure
    from iclglass.numerics.storage import save

    out = Path(values["out"])
    if values["plot"] is None and out.name:
        values["plot"] = str(out.with_suffix(".png"))
    with alone(values), bar("solving") as advance:
        diagram = phase_diagram(**theory(values), lines=list(values["line"]) or None, progress=advance)
        figure = draw_phase_diagram(diagram, observable=values["observable"])
        save(diagram.to_dataset(), values["out"], force=values["force"])
        save_figure(figure, values["plot"], force=values["force"])
    for line in diagram.lines:
        vertices = sum(len(part) for part in line.parts)
        where = f"{vertices} points in {len(line.parts)} parts" if vertices else "does not cross this grid"
        print(f"line {line.name}: {where}")
    return finish(diagram.dataset, values)
