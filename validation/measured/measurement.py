"""What each row of a table measured: a quantity, its mean and error, at which parameters."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from iclglass.numerics.arguments import check_choice, check_type
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.parameters import PARAMETERS, STRENGTHS, WORDS, closest, real, whole_dimensions
from iclglass.numerics.sizes import from_unscaled
from iclglass.numerics.solution import QUANTITIES
from iclglass.validation.measured.names import COUNTS, LAW
from iclglass.validation.measured.table import Table

__all__ = ["ROUNDINGS", "Measurement", "measurements", "parts"]

ROUNDINGS = ("nearest", "down")
"""What makes P, N and K whole numbers: the nearest one, as here, or Python's int(), as in many programs."""

_NUMBERS = (*PARAMETERS, *STRENGTHS, "dimension")
_NEEDED = ("task_diversity", "context_length")
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True)
class Measurement:
    """One row of the table.

    row : from 1.    quantity : a name, or the difference of two.    standard_error : of the mean.
    dof : degrees of freedom that the error was estimated with; infinite where that is not said.
    law : the parameters that the table gives, scaled, by name.
    """

    row: int
    quantity: str
    mean: float
    standard_error: float
    dof: float
    law: Mapping[str, Any]


def parts(quantity: str) -> tuple[str, ...]:
    """The quantities of a difference, or the one.

    >>> parts("e_icl - e_idg"), parts("m")
    (('e_icl', 'e_idg'), ('m',))
    """
    return tuple(part.strip() for part in quantity.split(" - "))


def measurements(
    table: Table, fixed: Mapping[str, Any], *, quantity: str | None = None, rounding: str = ROUNDINGS[0]
) -> list[Measurement]:
    """The rows of a table.

    fixed : parameters that the table has not.    quantity : of all rows, where the table does not say it.

    Raises
    ------
    ParameterError
        A column is missing, or what it says is given a second time; a value is none, or out of range. The message
        names row and column.

    Examples
    --------
    >>> from iclglass.validation.measured.table import read_table
    >>> table = read_table({"tau": [2], "N": [8], "D": [16], "mean": [0.5], "std": [0.1], "runs": [4]})
    >>> row = measurements(table, {}, quantity="e_icl")[0]
    >>> row.standard_error, row.dof, row.law["context_length"]
    (0.05, 3.0, 0.5)
    """
    check_choice("rounding", rounding, ROUNDINGS)
    _refuse_missing(table, fixed, quantity)
    if quantity is not None:
        check_type("quantity", quantity, str, "the name of a quantity")
        _check_quantity(f"quantity = {quantity!r}", quantity)
    found = []
    for row in range(table.rows):
        mean, error, dof = _measured(table, row)
        law = _law(table, row, fixed, rounding)
        named = _quantity(table, row) if quantity is None else quantity
        found.append(Measurement(row + 1, named, mean, error, dof, law))
    return found


def _refuse_missing(table: Table, fixed: Mapping[str, Any], quantity: str | None) -> None:
    unscaled = {scaled: count for count, scaled in COUNTS.items()}
    for name in _NEEDED:
        if name not in fixed and unscaled[name] not in table.meanings:
            table.refuse_without(name, f" ({PARAMETERS[name].meaning}): give it for all rows, or name its column")
    for count, name in COUNTS.items():
        if count not in table.meanings:
            continue
        if name in table.meanings or name in fixed:
            raise ParameterError(f"{table.meanings[count]} and {name} say the same: leave one of them out")
        if "dimension" not in fixed:
            table.refuse_without("dimension", f": {table.meanings[count]} is in units of it")
    for name in (*_NUMBERS, *WORDS, *LAW, "token_correlation"):
        if name in fixed and name in table.meanings:
            raise ParameterError(f"{name} is given, and is column {table.meanings[name]!r}, too: leave one of them out")
    if quantity is None:
        table.refuse_without("quantity", ": give quantity for all rows, or name the column that says it")
    elif "quantity" in table.meanings:
        raise ParameterError("quantity is given, and is a column, too: leave one of them out")
    table.refuse_without("mean", ": name the column of measured values")
    if "standard_error" not in table.meanings:
        remedy = ": give standard_error, or standard_deviation with runs"
        for name in ("standard_deviation", "runs"):
            table.refuse_without(name, remedy)


def _quantity(table: Table, row: int) -> str:
    text = " - ".join(parts(table.cell("quantity", row)))
    _check_quantity(table.place("quantity", row), text)
    return text


def _check_quantity(place: str, text: str) -> None:
    names = parts(text)
    for name in names:
        if name not in QUANTITIES:
            raise ParameterError(f"{place}: the theory has no quantity {name!r}{closest(name, QUANTITIES)}")
    if len(names) > 2:
        raise ParameterError(f"{place} must be a quantity, or the difference of two")


def _measured(table: Table, row: int) -> tuple[float, float, float]:
    """Mean, its standard error, and the degrees of freedom of that."""
    mean = _finite(table, "mean", row)
    error, runs = table.number("standard_error", row), table.number("runs", row)
    if runs is not None and not (runs >= 1 and runs == np.rint(runs)):
        raise ParameterError(f"{table.place('runs', row)} must be a whole number >= 1")
    if error is not None:
        return mean, _error(table, "standard_error", row), runs - 1.0 if runs is not None and runs > 1 else math.inf
    for name in ("standard_deviation", "runs"):
        if name not in table.meanings or table.number(name, row) is None:
            raise ParameterError(f"row {row + 1} has no {name}: give it, or the standard_error")
    if runs == 1 or runs is None:
        raise ParameterError(
            f"{table.place('runs', row)}: one run has no standard error; give at least 2, or the standard_error"
        )
    return mean, _error(table, "standard_deviation", row) / math.sqrt(runs), runs - 1.0


def _error(table: Table, name: str, row: int) -> float:
    value = _finite(table, name, row)
    if value <= 0:
        raise ParameterError(
            f"{table.place(name, row)} must be > 0: without an error nothing can be said of a deviation; leave the row "
            "out, or give the error it has"
        )
    return value


def _finite(table: Table, name: str, row: int) -> float:
    value = table.number(name, row)
    if value is None:
        raise ParameterError(f"{table.meanings[name]} is empty in row {row + 1}: give a number, or leave the row out")
    if not math.isfinite(value):
        raise ParameterError(f"{table.place(name, row)} must be finite")
    return value


def _law(table: Table, row: int, fixed: Mapping[str, Any], rounding: str) -> dict[str, Any]:
    """The parameters of a row, those that are given for all rows included."""
    found: dict[str, Any] = {}
    for name in _NUMBERS:
        value = table.number(name, row)
        if value is not None:
            found[name] = value
            _in_range(table, name, row, value)
    for name in (*WORDS, *LAW):
        if text := table.cell(name, row):
            found[name] = _truth(table, name, row) if name == "last_row" else text
    found = {**fixed, **found}
    counts = {name: value for name in COUNTS if (value := table.number(name, row)) is not None}
    if counts and found.get("dimension") is None:
        raise ParameterError(f"row {row + 1} has no dimension, which {table.meanings[next(iter(counts))]} needs")
    if counts:
        scaled = from_unscaled(found["dimension"], **counts)
        for count, name in COUNTS.items():
            if count in counts:
                _in_range(table, count, row, scaled[name], name)
        found |= scaled
    found |= _tokens(table, row, found)
    if rounding == "down" and found.get("dimension") is not None:
        counted = {COUNTS[count] for count in counts}
        found |= _rounded_down({name: found[name] for name in found if name not in counted}, int(found["dimension"]))
    for name in _NEEDED:
        if name not in found:
            raise ParameterError(f"row {row + 1} has no {name}: give it, or leave the row out")
    return found


def _tokens(table: Table, row: int, law: Mapping[str, Any]) -> dict[str, Any]:
    """How the tokens of a row are correlated; without correlation it does not matter what the query does."""
    length = table.number("token_correlation", row)
    if length is None:
        length = law.get("token_correlation", 0.0)
    elif not 0 <= length < math.inf:
        raise ParameterError(f"{table.place('token_correlation', row)} must be a length >= 0 in tokens")
    continued = bool(table.cell("correlated_query", row)) and _truth(table, "correlated_query", row)
    return {"token_correlation": length, "correlated_query": continued and length > 0}


def _rounded_down(law: Mapping[str, Any], size: int) -> dict[str, float]:
    """The parameters that give int(tau D^2), int(alpha D) and int(kappa D)."""
    powers = {"task_diversity": 2, "context_length": 1, "test_context_length": 1, "distinct_tasks": 1}
    given = {name: law[name] for name in powers if name in law and law[name] < math.inf}
    # A count of 0 is left to the theory, which refuses it.
    return {name: int(value * size ** powers[name]) / size ** powers[name] or value for name, value in given.items()}


def _in_range(table: Table, column: str, row: int, value: float, name: str | None = None) -> None:
    try:
        whole_dimensions(value) if column == "dimension" else real(name or column, value)
    except ParameterError as error:
        raise ParameterError(f"{table.place(column, row)}: {error}") from None


def _truth(table: Table, name: str, row: int) -> bool:
    text = table.cell(name, row).lower()
    if text not in _TRUTH:
        raise ParameterError(f"{table.place(name, row)} must be true or false")
    return _TRUTH[text]
