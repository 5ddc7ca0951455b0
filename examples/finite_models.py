"""Points at finite D of eight models: simulates them, and writes the tables of notes/finite_size.md that compare.

    python -m examples.finite_models simulate     finite_model_points.csv, finite_model_edges.csv in tests/validation
    python -m examples.finite_models              the tables between the marks of notes/finite_size.md

The points are fixed by a seed before anything is solved or simulated: five of each model, one at each dimension, with
every parameter in five strata that meet in random order. How many data sets each gets follows from a pilot, so that the
standard errors of m, q and the test error are one per cent or less. The edges are where the theory stops being
accurate: few prompts, small D, small ridge at P = n, the de Almeida-Thouless line.
"""

import csv
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from iclglass.numerics.saddle_point import solve
from iclglass.validation.simulation import simulate
from iclglass.validation.statistics import mean_and_error

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "tests" / "validation" / "finite_model_points.csv"
EDGES = TABLE.with_name("finite_model_edges.csv")
NOTE = ROOT / "notes" / "finite_size.md"
MARKS = "<!-- made by python -m examples.finite_models -->", "<!-- end -->"
DIMENSIONS = (10, 12, 16, 20, 32)
MEASURED = ("m", "q", "e_icl", "e_train", "test_loss", "train_loss", "error_rate", "energy")
_SEED, _PILOT_SEED = 15, 1
_PILOT, _LEAST, _MOST = 32, 40, 3000
_AIM = 0.0075
"""Relative standard error that is planned; the pilot's own scatter is a tenth."""


@dataclass(frozen=True)
class Family:
    """A model, and the ranges of its parameters: strata are even in the logarithm."""

    name: str
    keywords: dict[str, Any]
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def test(self) -> str:
        """The test error: squared for linear labels, the loss for labels +-1."""
        return "test_loss" if self.keywords.get("labels") == "sign" else "e_icl"


FAMILIES = (
    Family("lasso", {}, {"l1": (0.2, 0.6)}),
    Family("elastic net", {}, {"l1": (0.1, 0.5), "ridge": (0.02, 0.2)}),
    Family("Huber", {"loss": "huber"}, {"ridge": (0.03, 0.3), "huber_threshold": (0.3, 1.0)}),
    Family("log loss", {"loss": "log_loss", "labels": "sign"}, {"ridge": (0.03, 0.5)}),
    Family("hinge", {"loss": "hinge", "labels": "sign"}, {"ridge": (0.03, 0.5)}),
    Family("non-negative", {"spins": "nonnegative"}, {"ridge": (0.03, 0.3)}),
    Family("binary at T", {"spins": "binary", "ridge": 0.1}, {"temperature": (0.6, 1.5)}),
    Family("nuclear norm", {"last_row": False}, {"nuclear": (0.1, 0.6)}),
)
_EVERY = {"task_diversity": (0.6, 4.0), "context_length": (1.0, 5.0)}
_NOISE = (0.0, 0.1, 0.2, 0.0, 0.1)


def points() -> Iterator[tuple[Family, dict[str, Any]]]:
    """The forty points as keywords of `solve`."""
    rng = np.random.default_rng(_SEED)
    for family in FAMILIES:
        columns: dict[str, Sequence[float]] = {"label_noise": rng.permutation(_NOISE).tolist()}
        for name, (low, high) in (_EVERY | family.ranges).items():
            strata = (rng.permutation(len(DIMENSIONS)) + rng.uniform(size=len(DIMENSIONS))) / len(DIMENSIONS)
            columns[name] = [float(f"{value:.2g}") for value in low * (high / low) ** strata]
        for index, dimension in enumerate(DIMENSIONS):
            varied = {name: values[index] for name, values in columns.items()}
            yield family, {"dimension": dimension, **varied, **family.keywords}


def simulated(point: dict[str, Any], samples: int, seed: int) -> dict[str, tuple[float, float]]:
    """Mean and standard error over data sets of every quantity that the model has."""
    given = dict(point)
    dimension = given.pop("dimension")
    found = simulate(**given, dimensions=(dimension,), samples=samples, seed=seed).values
    return {name: mean_and_error(found[name][0]) for name in MEASURED if name in found}


def planned(family: Family, point: dict[str, Any]) -> int:
    """How many data sets bring the relative standard errors of m, q and the test error to what is aimed at."""
    pilot = simulated(point, _PILOT, _PILOT_SEED)
    worst = max(pilot[name][1] / abs(pilot[name][0]) for name in ("m", "q", family.test))
    needed = math.ceil(_PILOT * (worst / _AIM) ** 2)
    return min(max(_LEAST, math.ceil(needed / 8) * 8), _MOST)


PARAMETERS = (
    "task_diversity",
    "context_length",
    "label_noise",
    "ridge",
    "l1",
    "huber_threshold",
    "temperature",
    "nuclear",
)

_EDGE_SAMPLES = 1000
_SAME = {"context_length": 2.0, "label_noise": 0.0}
_AT_EDGES = (
    ("lasso", {"dimension": 12, "task_diversity": 0.6, "l1": 0.5}),
    ("lasso", {"dimension": 12, "task_diversity": 0.3, "l1": 0.5}),
    ("lasso", {"dimension": 10, "task_diversity": 0.1, "l1": 0.5}),
    ("lasso", {"dimension": 4, "task_diversity": 2.0, "l1": 0.5}),
    ("lasso", {"dimension": 12, "task_diversity": 1.0, "l1": 0.05}),
    ("Huber", {"dimension": 10, "task_diversity": 1.0, "ridge": 0.001, "huber_threshold": 1.0}),
    ("log loss", {"dimension": 4, "task_diversity": 2.0, "ridge": 0.1}),
    ("log loss", {"dimension": 10, "task_diversity": 0.1, "ridge": 0.1}),
    ("hinge", {"dimension": 10, "task_diversity": 1.0, "ridge": 0.01}),
    ("non-negative", {"dimension": 10, "task_diversity": 0.5, "ridge": 0.001}),
    ("binary at T", {"dimension": 12, "task_diversity": 2.0, "temperature": 0.5, "ridge": 0.1}),
    ("nuclear norm", {"dimension": 10, "task_diversity": 0.3, "nuclear": 0.3}),
    ("nuclear norm", {"dimension": 10, "task_diversity": 1.0, "nuclear": 0.02}),
)


def edges() -> Iterator[tuple[Family, dict[str, Any]]]:
    """Points where the theory stops being accurate."""
    by_name = {family.name: family for family in FAMILIES}
    for name, own in _AT_EDGES:
        yield by_name[name], {**_SAME, **own, **by_name[name].keywords}


def write_points() -> None:
    """Simulate the points and edges that the tables do not have yet."""
    for path, every, first in ((TABLE, points(), 1000), (EDGES, edges(), 2000)):
        columns = ["model", "dimension", *PARAMETERS, "samples", "seed"]
        columns += [column for name in MEASURED for column in (name, f"{name}_error")]
        done = len(rows(path)) if path.exists() else 0
        with path.open("a", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
            if not done:
                writer.writeheader()
            for number, (family, point) in enumerate(every):
                if number < done:
                    continue
                samples = planned(family, point) if path == TABLE else _EDGE_SAMPLES
                row = {"model": family.name, "samples": samples, "seed": first + number}
                row |= {name: point[name] for name in ("dimension", *PARAMETERS) if name in point}
                for name, (mean, error) in simulated(point, row["samples"], row["seed"]).items():
                    row |= {name: f"{mean:.6g}", f"{name}_error": f"{error:.3g}"}
                writer.writerow(row)
                stream.flush()
                print(row, file=sys.stderr)


def rows(path: Path = TABLE) -> list[dict[str, str]]:
    """A table as it stands."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@dataclass(frozen=True)
class Compared:
    """One quantity of one point: mean, its standard error, the theory at that D, and that of D -> infinity."""

    family: Family
    point: dict[str, Any]
    name: str
    mean: float
    error: float
    finite: float
    asymptotic: float

    def z(self, theory: str) -> float:
        """Deviation in standard errors."""
        return float((getattr(self, theory) - self.mean) / self.error)

    def relative(self, theory: str) -> float:
        """Deviation by the mean."""
        return float(getattr(self, theory) / self.mean - 1)


def compared(path: Path = TABLE) -> list[Compared]:
    """Both theories beside everything that was simulated."""
    every = list(points() if path == TABLE else edges())
    result = []
    for (family, point), row in zip(every, rows(path), strict=True):
        given = {name: value for name, value in point.items() if name not in ("dimension", "last_row")}
        finite, asymptotic = solve(**point), solve(**given)
        for name in MEASURED:
            if row[name]:
                both = (float(getattr(theory, name)) for theory in (finite, asymptotic))
                result.append(Compared(family, point, name, float(row[name]), float(row[f"{name}_error"]), *both))
    return result


def headline(every: Sequence[Compared]) -> list[Compared]:
    """m, q and the test error."""
    return [one for one in every if one.name in ("m", "q", one.family.test)]


def figures(every: Sequence[Compared], theory: str) -> tuple[float, float, float, float]:
    """Share of |z| < 2, chi^2/dof, median and largest relative deviation."""
    z = np.array([one.z(theory) for one in every])
    relative = np.abs([one.relative(theory) for one in every])
    return float(np.mean(np.abs(z) < 2)), float(np.mean(z**2)), float(np.median(relative)), float(relative.max())


def _line(name: str, every: Sequence[Compared]) -> str:
    cells = [name, str(len(every))]
    for theory in ("finite", "asymptotic"):
        inside, squares, median, largest = figures(every, theory)
        cells += [f"{inside:.2f}", f"{squares:.3g}", f"{100 * median:.2g} %", f"{100 * largest:.2g} %"]
    return f"| {' | '.join(cells)} |"


def tables() -> str:
    """What stands between the marks of the note."""
    every = compared()
    head = r"| {} | values | $\lvert z\rvert<2$ | $\chi^2$/dof | median | largest | asymptotic: $\lvert z\rvert<2$ | "
    head += r"$\chi^2$/dof | median | largest |"
    lines = [head.format("$m, q$, test error of"), "| --- " * 10 + "|"]
    for family in FAMILIES:
        lines.append(_line(family.name, headline([one for one in every if one.family is family])))
    lines += [_line("all", headline(every)), "", head.format("all models"), "| --- " * 10 + "|"]
    lines.append(_line("test error", [one for one in every if one.name == one.family.test]))
    lines += [_line(f"`{name}`", [one for one in every if one.name == name]) for name in MEASURED]
    shown = ("m", "q", "e_icl", "test_loss", "e_train", "train_loss", "energy")
    lines += [
        "",
        f"Where it stops: deviation in per cent of the simulated mean (its standard error), {_EDGE_SAMPLES} data ",
    ]
    lines[-1] += r"sets each, $\alpha = 2$, $\rho = 0$."
    lines += ["", f"| model | $D$ | $\\tau$ | strength | {' | '.join(f'`{name}`' for name in shown)} | replicon |"]
    lines.append("| --- " * (5 + len(shown)) + "|")
    at_edges = compared(EDGES)
    for family, point in edges():
        here = {one.name: one for one in at_edges if one.point == point and one.family is family}
        strength = ", ".join(f"{name} {point[name]:g}" for name in PARAMETERS[3:] if name in point)
        cells = [family.name, str(point["dimension"]), f"{point['task_diversity']:g}", strength]
        for name in shown:
            one = here.get(name)
            cells.append(
                "" if one is None else f"{100 * one.relative('finite'):+.1f} ({100 * one.error / one.mean:.1f})"
            )
        lines.append(f"| {' | '.join(cells)} | {float(solve(**point).replicon):.2f} |")
    return "\n".join(lines)


def write_note() -> None:
    """Put the tables between the marks."""
    text = NOTE.read_text(encoding="utf-8")
    before, after = text.split(MARKS[0])[0], text.split(MARKS[1])[1]
    NOTE.write_text(f"{before}{MARKS[0]}\n\n{tables()}\n\n{MARKS[1]}{after}", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] == ["simulate"]:
        write_points()
    else:
        write_note()
