"""Draws notes/figures/architecture.png and the table of rooms in notes/architecture.md, from the imports of the code.

    python notes/draw_architecture.py

A room is a package, or the modules of a package that are in no package inside it. An arrow goes from a room to one
that it imports from, in functions too; what only type checkers see is left out.
"""

import ast
import textwrap
from collections import Counter
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

ROOT = Path(__file__).resolve().parents[1]
FLOORS = {
    "iclglass": "public names and the command line; no science",
    "validation": "draws data, samples, trains, compares",
    "numerics": "solves; knows no simulation",
    "replica": "derives; symbols only",
}
"""From the top: imports go downwards only."""
HANDED_ON = {
    "iclglass": "a command, or a function call",
    "validation": "Experiment -> Agreement -> Report",
    "numerics": "Parameters -> Solution -> Dataset -> PhaseDiagram",
    "replica": "Model -> Hamiltonian -> saddle point -> generated functions",
}
COLOURS = {"iclglass": "#0072b2", "validation": "#d55e00", "numerics": "#009e73", "replica": "#cc79a7"}
PALE = {"iclglass": "#e6f0f7", "validation": "#fbeee6", "numerics": "#e6f5f0", "replica": "#f9f1f6"}
SHEET = {"facecolor": "white", "edgecolor": "none", "pad": 1}
BEGIN, END = "<!-- rooms: made by draw_architecture.py -->", "<!-- end of rooms -->"


def rooms() -> dict[str, list[str]]:
    """Room -> its modules, floor by floor from the top."""
    found: dict[str, list[str]] = {}
    for floor in FLOORS:
        for path in sorted((ROOT / floor).rglob("*.py")):
            room = path.parent.relative_to(ROOT).as_posix()
            found.setdefault(room, [])
            if path.stem not in ("__init__", "__main__"):
                found[room].append(path.stem)
    return found


def doors() -> Counter[tuple[str, str]]:
    """(room, room it imports from) -> modules of the first that do."""
    inside = rooms()
    found: Counter[tuple[str, str]] = Counter()
    for room in inside:
        for path in (ROOT / room).glob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                    node.body = []
            used = {room_of(name, inside) for node in ast.walk(tree) for name in names(node)}
            found.update((room, other) for other in used if other is not None and other != room)
    return found


def names(node: ast.AST) -> list[str]:
    """Dotted names that a node imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def room_of(name: str, inside: dict[str, list[str]]) -> str | None:
    """The room that an imported name is in."""
    parts = name.split(".")
    if parts[0] != "iclglass":
        return None
    if len(parts) > 1 and parts[1] in FLOORS and parts[1] != "iclglass":
        parts = parts[1:]
    for length in range(len(parts), 0, -1):
        if "/".join(parts[:length]) in inside:
            return "/".join(parts[:length])
    return None


def table() -> str:
    """The rooms, their modules, and which rooms they use, in Markdown."""
    used = doors()
    lines = ["| room | its modules | uses |", "| --- | --- | --- |"]
    for room, modules in rooms().items():
        others = ", ".join(sorted(other for first, other in used if first == room))
        lines.append(f"| `{room}` | {', '.join(modules)} | {others} |")
    return "\n".join(lines)


def draw() -> Figure:
    """Floors of rooms, with arrows to what they import from."""
    inside, used = rooms(), doors()
    figure = Figure(figsize=(15, 10.5), layout="constrained")
    axes = figure.add_subplot()
    axes.set_axis_off()
    places: dict[str, tuple[float, float, float, float]] = {}
    bottom = 0.0
    for floor in reversed(FLOORS):
        here = [room for room in inside if room.split("/")[0] == floor]
        weights = [max(9.0, 3 + 0.55 * sum(len(module) + 2 for module in inside[room]) ** 0.85) for room in here]
        width = [100 * weight / sum(weights) for weight in weights]
        texts = [
            textwrap.fill(", ".join(inside[room]), max(10, int(1.3 * each)), break_long_words=False)
            for room, each in zip(here, width, strict=True)
        ]
        height = 3.6 + 1.6 * max(text.count("\n") + 1 for text in texts)
        left = 0.0
        for room, each, text in zip(here, width, texts, strict=True):
            box = FancyBboxPatch(
                (left + 0.4, bottom), each - 0.8, height, boxstyle="round,pad=0,rounding_size=0.6",
                facecolor=PALE[floor], edgecolor=COLOURS[floor], zorder=2,
            )  # fmt: skip
            axes.add_patch(box)
            axes.text(
                left + 1,
                bottom + height - 0.6,
                room.split("/")[-1],
                weight="bold",
                va="top",
                size=11,
                color=COLOURS[floor],
                zorder=3,
            )
            axes.text(left + 1, bottom + height - 2.4, text, va="top", size=9, zorder=3)
            places[room] = (left + each / 2, bottom, bottom + height, each)
            left += each
        axes.text(
            0.4, bottom + height + 0.6, f"{floor}/  {FLOORS[floor]}", size=11, style="italic", zorder=3, bbox=SHEET
        )
        axes.text(
            99.6, bottom + height + 0.6, HANDED_ON[floor], size=9, ha="right", family="monospace", zorder=3, bbox=SHEET
        )
        bottom += height + 7
    floors = list(FLOORS)
    for (room, other), count in used.items():
        one, two = floors.index(room.split("/")[0]), floors.index(other.split("/")[0])
        if one == two:
            continue  # in the table; drawn, they would cross the names
        (x, low, _, _), (to, _, high, _) = places[room], places[other]
        arrow = FancyArrowPatch(
            (x, low), (to, high + 0.2), arrowstyle="-|>", mutation_scale=9, color=COLOURS[room.split("/")[0]],
            alpha=0.55, linewidth=0.5 + 0.25 * count**0.7, connectionstyle="arc3,rad=0.04",
        )  # fmt: skip
        axes.add_patch(arrow)
    axes.set_xlim(0, 100)
    axes.set_ylim(-1, bottom - 2)
    axes.set_title("Rooms of iclglass: an arrow goes to what a room imports from (thicker: from more modules)", size=12)
    return figure


def main() -> None:
    """Write both."""
    draw().savefig(ROOT / "notes/figures/architecture.png", dpi=110)
    page = ROOT / "notes/architecture.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
