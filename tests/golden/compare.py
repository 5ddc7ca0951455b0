"""Compare golden values with present ones; what differs is a line with the quantity, the point and both values."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from tests.golden.table import Table

__all__ = ["Difference", "Tolerance", "compare_json", "compare_tables", "report"]

_SHOWN = 8


@dataclass(frozen=True)
class Tolerance:
    """|now - golden| <= relative |golden| + absolute; of arrays at a point, |golden| is the largest of the array."""

    relative: float = 1e-12
    absolute: float = 1e-12

    def allows(self, now: np.ndarray, golden: np.ndarray) -> bool:
        """Whether the values of one quantity at one point agree; NaN and infinities must be the same."""
        finite = np.isfinite(golden)
        if not (finite == np.isfinite(now)).all():
            return False
        if not np.array_equal(now[~finite], golden[~finite], equal_nan=True):
            return False
        if not finite.any():
            return True
        gap = np.abs(now[finite] - golden[finite]).max()
        return bool(gap <= self.relative * np.abs(golden[finite]).max() + self.absolute)


@dataclass(frozen=True)
class Difference:
    """path : section.quantity, or commands.NAME.KEY.KEY.    text : what differs."""

    path: str
    text: str


def compare_tables(
    section: str, now: Table, golden: Table, tolerances: Mapping[str, Tolerance], default: Tolerance
) -> Iterator[Difference]:
    """Differences of two tables; quantities that only the present one has are no difference.

    Integers, strings and the inputs must be equal.
    """
    for name, column in golden.inputs.items():
        present = now.inputs.get(name)
        if present is None or present.shape != column.shape:
            shape = None if present is None else present.shape
            yield Difference(f"{section}.input", f"input {name}: golden has shape {column.shape}, now {shape}")
            return
        if not np.array_equal(present, column, equal_nan=column.dtype.kind == "f"):
            yield Difference(f"{section}.input", f"input {name} is drawn or counted otherwise")
            return
    for name, column in golden.values.items():
        path, tolerance = f"{section}.{name}", tolerances.get(name, default)
        present = now.values.get(name)
        if present is None:
            yield Difference(path, f"{name} is gone")
        elif present.shape != column.shape:
            yield Difference(path, f"{name}: golden has shape {column.shape}, now {present.shape}")
        else:
            for point in range(golden.points):
                old, new = np.atleast_1d(column[point]), np.atleast_1d(present[point])
                same = tolerance.allows(new, old) if column.dtype.kind == "f" else np.array_equal(new, old)
                if not same:
                    yield Difference(path, f"{name} at {golden.describe(point)}: {_gap(new, old)}")


def _gap(now: np.ndarray, golden: np.ndarray) -> str:
    """Both values, of an array those that differ most."""
    if golden.dtype.kind == "f":
        same = (now == golden) | (np.isnan(now) & np.isnan(golden))
        with np.errstate(invalid="ignore", divide="ignore"):
            distance = np.where(same, 0.0, np.nan_to_num(np.abs(now - golden), nan=np.inf))
            relative = distance / np.abs(golden)
        index = np.unravel_index(np.argmax(distance), distance.shape)
        where = "" if golden.size == 1 else f"[{', '.join(map(str, index))}] "
        values = f"golden {golden[index].item()!r}, now {now[index].item()!r}"
        return f"{where}{values}, relative difference {relative[index]:.2g}"
    index = np.unravel_index(np.argmax(now != golden), golden.shape)
    return f"golden {golden[index].item()!r}, now {now[index].item()!r}"


NOT_COMPARED = {
    "schema_version": "says how to read the rest",
    "digest": "of the source files",
    "out": "name of a file",
    "sentence": "words, with rounded numbers in them; what they say is tested elsewhere",
    "reason": "words",
    "remarks": "words",
    "iterations": "a step more or less is rounding",
    "residual": "rounding",
    "error_bound": "rounding",
    "r_hat": "ranks distances from the median: of the two draws beside it rounding says which is nearer; moved 2e-3",
}
"""Keys of JSON that are not compared, and why."""

_NAMES = ("quantity", "name", "what", "dimension")
"""Keys by which the objects of a list are told apart."""


def _by_name(rows: list[Any]) -> dict[str, Any]:
    """A list of objects with names as an object; other lists by their positions, with their length."""
    for key in _NAMES:
        if rows and all(isinstance(row, dict) and key in row for row in rows):
            names = [str(row[key]) for row in rows]
            if len(set(names)) == len(names):
                return dict(zip(names, rows, strict=True))
    return {"length": len(rows)} | {str(place): value for place, value in enumerate(rows)}


def compare_json(path: str, now: Any, golden: Any, tolerance: Tolerance) -> Iterator[Difference]:
    """Differences of two JSON values; keys that only the present one has are no difference."""
    if isinstance(golden, list) and isinstance(now, list):
        golden, now = _by_name(golden), _by_name(now)
    if isinstance(golden, dict) and isinstance(now, dict):
        for key, value in golden.items():
            if key in NOT_COMPARED:
                continue
            if key not in now:
                yield Difference(f"{path}.{key}", f"{path}.{key} is gone (golden {_short(value)})")
            else:
                yield from compare_json(f"{path}.{key}", now[key], value, tolerance)
    elif isinstance(golden, float) and isinstance(now, int | float) and not isinstance(now, bool):
        if not tolerance.allows(np.array([float(now)]), np.array([golden])):
            yield Difference(path, f"{path}: {_gap(np.array([float(now)]), np.array([golden]))}")
    elif golden != now or type(golden) is not type(now):
        yield Difference(path, f"{path}: golden {_short(golden)}, now {_short(now)}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def report(section: str, differences: Iterator[Difference], expected: Mapping[str, str]) -> str:
    """What was not expected, and which expectations about this section nothing meets; "" when all is well.

    section : "solve", or "commands.NAME".    expected : as `tests.golden.expected_changes`.
    """
    depth = section.count(".") + 1
    patterns = [name for name in expected if fnmatchcase(section, ".".join(name.split(".")[:depth]))]
    unexpected, met = [], set()
    for difference in differences:
        matching = {pattern for pattern in patterns if fnmatchcase(difference.path, pattern)}
        met |= matching
        if not matching:
            unexpected.append(difference.text)
    lines = unexpected[:_SHOWN]
    if len(unexpected) > _SHOWN:
        lines.append(f"... and {len(unexpected) - _SHOWN} more")
    lines += [
        f"{pattern!r} is expected to change and does not: take it out of expected_changes.py"
        for pattern in patterns
        if pattern not in met
    ]
    return "\n".join(lines)
