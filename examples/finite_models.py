"""Points at finite D of eight models: simulates them, and writes the tables of notes/finite_size.md that compare.

    python -m examples.finite_models simulate     tests/validation/finite_model_points.csv, point by point
    python -m examples.finite_models              the tables between the marks of notes/finite_size.md

The points are fixed by a seed before anything is solved or simulated: five of each model, one at each dimension, with
every parameter in five strata that meet in random order. How many data sets each gets follows from a pilot, so that the
standard errors of m, q and the test error are one per cent or less.
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


PARAMETERS = ("task_diversity", "context_length", "label_noise", "ridge", "l1", "huber_threshold", "temperature", "nuclear")


def write_points() -> None:
    """Simulate the points that the table does not have yet."""
    columns = ["model", "dimension", *PARAMETERS, "samples", "seed"]
    columns += [column for name in MEASURED for column in (name, f"{name}_error")]
    done = {(row["model"], int(row["dimension"])) for row in rows()} if TABLE.exists() else set()
    with TABLE.open("a", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
        if not done:
            writer.writeheader()
        for number, (family, point) in enumerate(points()):
            if (family.name, point["dimension"]) in done:
                continue
            row = {"model": family.name, "samples": planned(family, point), "seed": 1000 + number}
            row |= {name: point[name] for name in ("dimension", *PARAMETERS) if name in point}
            for name, (mean, error) in simulated(point, row["samples"], row["seed"]).items():
                row |= {name: f"{mean:.6g}", f"{name}_error": f"{error:.3g}"}
            writer.writerow(row)
            stream.flush()
            print(row, file=sys.stderr)


def rows() -> list[dict[str, str]]:
    """The table as it stands."""
    with TABLE.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


if __name__ == "__main__":
    write_points()
