"""A table of measurements as it was given: a csv file, or columns by name. Its columns by meaning."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iclglass.numerics.arguments import check_path
from iclglass.numerics.errors import OutputError, ParameterError, ParameterTypeError
from iclglass.numerics.parameters import closest
from iclglass.numerics.storage import check_readable, replacing
from iclglass.validation.measured.names import APPENDED, MEANINGS, meaning_of, refuse_misspelt

__all__ = ["Table", "read_table"]

_MOST_BYTES = 100_000_000


@dataclass(frozen=True)
class Table:
    """Columns of text, all of one length, in the order and by the names that they were given.

    meanings : what a column says (`validation.measured.names.MEANINGS`) -> its name.
    """

    columns: Mapping[str, tuple[str, ...]]
    meanings: Mapping[str, str]

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(next(iter(self.columns.values())))

    @property
    def unused(self) -> tuple[str, ...]:
        """Names of columns that say nothing to the theory."""
        return tuple(name for name in self.columns if name not in self.meanings.values())

    def cell(self, meaning: str, row: int) -> str:
        """Its text; empty where there is no such column, or nothing in it."""
        name = self.meanings.get(meaning)
        return "" if name is None else self.columns[name][row].strip()

    def number(self, meaning: str, row: int) -> float | None:
        """A number, None where the cell is empty; ParameterError: what is there is none."""
        text = self.cell(meaning, row)
        if not text:
            return None
        try:
            return float(text)
        except ValueError:
            raise ParameterError(f"{self.place(meaning, row)} is not a number: write it as 0.1 or 1e-3") from None

    def place(self, meaning: str, row: int) -> str:
        """A cell in the words of a message: its column, its content, its row (from 1, without the header)."""
        return f"{self.meanings[meaning]} = {self.cell(meaning, row)!r} in row {row + 1}"

    def refuse_without(self, meaning: str, remedy: str) -> None:
        """Refuse a table without a column; the message names it and those that there are."""
        if meaning not in self.meanings:
            raise ParameterError(f"column {meaning} is missing{remedy}; columns found: {', '.join(self.columns)}")

    def write(self, path: str | Path, more: Mapping[str, Sequence[str]], *, force: bool) -> None:
        """Write it as csv with more columns behind."""
        names = [*self.columns, *more]
        with replacing(path, force=force) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(names)
            writer.writerows(zip(*self.columns.values(), *more.values(), strict=True))


def read_table(source: object, renamed: Mapping[str, str] | None = None) -> Table:
    """The table in a csv file, or of columns by name (a mapping, a pandas.DataFrame).

    renamed : name of a column -> what it says, where its name does not.

    Raises
    ------
    OutputError
        The file is missing, or is no csv file.
    ParameterError, ParameterTypeError
        Neither of these; a table without rows; rows of another length; two columns that say the same.

    Examples
    --------
    >>> table = read_table({"alpha": [1, 2], "e": [0.5, 0.4]}, {"e": "mean"})
    >>> table.rows, table.number("context_length", 1), table.cell("mean", 0)
    (2, 2.0, '0.5')
    """
    columns = _of_file(source) if isinstance(source, str | Path) else _of_columns(source)
    kept = {name: texts for name, texts in columns.items() if name not in APPENDED}
    return Table(kept, _meanings(tuple(kept), _checked(renamed)))


def _checked(renamed: object) -> Mapping[str, str]:
    if renamed is None:
        return {}
    if not isinstance(renamed, Mapping) or not all(isinstance(each, str) for each in (*renamed, *renamed.values())):
        raise ParameterTypeError(
            f"columns must be a mapping from names of columns to what they say, got {type(renamed).__name__}"
        )
    return renamed


def _meanings(names: Sequence[str], renamed: Mapping[str, str]) -> dict[str, str]:
    """Meaning -> name of the column."""
    found: dict[str, str] = {}
    for name, wanted in renamed.items():
        if name not in names:
            raise ParameterError(f"columns: there is no column {name!r}; columns found: {', '.join(names)}")
        if meaning_of(wanted) is None:
            raise ParameterError(f"columns: a column cannot say {wanted!r}{closest(wanted, MEANINGS)}")
    for name in names:
        meaning = meaning_of(renamed.get(name, name))
        if meaning is None:
            continue
        if meaning in found:
            raise ParameterError(f"columns {found[meaning]!r} and {name!r} both say {meaning}: leave one of them out")
        found[meaning] = name
    refuse_misspelt(name for name in names if name not in found.values())
    return found


def _of_file(source: str | Path) -> dict[str, tuple[str, ...]]:
    path = check_readable(check_path("source", source))
    if path.stat().st_size > _MOST_BYTES:
        raise OutputError(f"{path} is larger than {_MOST_BYTES} bytes: it is no table of measurements")
    try:
        text = path.read_bytes().decode("utf-8-sig")
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise OutputError(f"{path} is not a csv file in UTF-8: {error}") from error
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror or error}") from error
    if len(lines) < 2:
        raise ParameterError(f"{path} holds {'no measurements' if lines else 'nothing'}: the first line names columns")
    names = [name.strip() for name in lines[0]]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ParameterError(f"{path}: two columns are called {twice!r}; rename one")
    for row, line in enumerate(lines[1:], 1):
        if len(line) != len(names):
            raise ParameterError(f"{path}: row {row} has {len(line)} values for {len(names)} columns")
    return dict(zip(names, zip(*lines[1:], strict=True), strict=True))


def _of_columns(source: Any) -> dict[str, tuple[str, ...]]:
    if type(source).__name__ == "DataFrame":
        source = source.to_dict("list")
    if not isinstance(source, Mapping) or not all(isinstance(name, str) for name in source):
        raise ParameterTypeError(
            f"source must be the name of a csv file, or columns by name, got {type(source).__name__}"
        )
    found = {}
    for name, values in source.items():
        if isinstance(values, str | bytes) or not hasattr(values, "__len__"):
            raise ParameterTypeError(f"source: column {name} must be a sequence, got {type(values).__name__}")
        found[name] = tuple("" if value is None else str(value) for value in values)
    lengths = {name: len(values) for name, values in found.items()}
    if len(set(lengths.values())) > 1 or not lengths or not all(lengths.values()):
        shown = ", ".join(f"{name} {length}" for name, length in lengths.items()) or "none"
        raise ParameterError(f"source: columns must have one length of at least 1, got {shown}")
    return found
