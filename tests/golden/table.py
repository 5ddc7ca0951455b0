"""A table: quantities at points."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Table", "join", "load", "save", "stack"]

_INPUT = "input."


@dataclass(frozen=True, eq=False)
class Table:
    """Quantities at points.

    inputs : name -> (points,), what the values were computed from.    values : name -> (points, ...).
    """

    inputs: Mapping[str, np.ndarray]
    values: Mapping[str, np.ndarray]

    @property
    def points(self) -> int:
        """Number of points."""
        return len(next(iter(self.values.values())))

    def describe(self, point: int) -> str:
        """The inputs of one point, name=value, name=value; without those that it lacks."""
        given = {name: column[point].item() for name, column in self.inputs.items()}
        return ", ".join(f"{name}={value}" for name, value in given.items() if value != "" and value == value)


def stack(rows: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> Table:
    """One table of many (inputs, values) of single points; an input that a point lacks is NaN, or ''."""
    names = list(dict.fromkeys(name for inputs, _ in rows for name in inputs))
    empty = {name: "" if any(isinstance(inputs.get(name), str) for inputs, _ in rows) else np.nan for name in names}
    return Table(
        {name: np.array([inputs.get(name, empty[name]) for inputs, _ in rows]) for name in names},
        {name: np.stack([np.asarray(values[name]) for _, values in rows]) for name in rows[0][1]},
    )


def join(tables: Sequence[Table]) -> Table:
    """The points of several tables that have the same columns, one after another."""
    return Table(
        {name: np.concatenate([table.inputs[name] for table in tables]) for name in tables[0].inputs},
        {name: np.concatenate([table.values[name] for table in tables]) for name in tables[0].values},
    )


def save(path: Path, table: Table) -> None:
    """Write a table: .npz without pickles, the same bytes for the same values."""
    arrays = {_INPUT + name: column for name, column in table.inputs.items()} | dict(table.values)
    np.savez_compressed(path, allow_pickle=False, **arrays)


def load(path: Path) -> Table:
    """Read a table."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    inputs = {name.removeprefix(_INPUT): column for name, column in arrays.items() if name.startswith(_INPUT)}
    return Table(inputs, {name: column for name, column in arrays.items() if not name.startswith(_INPUT)})
