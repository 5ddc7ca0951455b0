"""Measurements of others, or a user's own, against the theory: compare(...)."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Unpack

import numpy as np

from iclglass.numerics.arguments import LARGEST, check_callable, check_choice, check_real
from iclglass.numerics.drawn_pools import FEWEST_DOF, POOL_LAWS
from iclglass.numerics.errors import ParameterError
from iclglass.numerics.keywords import spelled_out
from iclglass.numerics.parameters import PARAMETERS, STRENGTHS, Given, Parameters, refuse_unknown
from iclglass.validation.agreement import POWER
from iclglass.validation.measured.comparison import Comparison, MeasuredRow
from iclglass.validation.measured.measurement import ROUNDINGS, Measurement, measurements
from iclglass.validation.measured.predicted import Prediction, predict_rows
from iclglass.validation.measured.table import read_table
from iclglass.validation.statistics import bonferroni_threshold, smallest_detectable_bias, welch_satterthwaite
from iclglass.validation.verdict import LARGEST_UNSEEN_BIAS, check_largest_unseen_bias

__all__ = ["compare"]

_OPTIONS = (
    "columns",
    "quantity",
    "pool",
    "token_correlation",
    "rounding",
    "allow",
    "false_alarm",
    "largest_unseen_bias",
    "progress",
)
_REPEATED = "repeats row {}, which counts once"


@spelled_out
def compare(
    source: Any,
    *,
    columns: Mapping[str, str] | None = None,
    quantity: str | None = None,
    pool: str | None = None,
    token_correlation: float | None = None,
    rounding: str = ROUNDINGS[0],
    allow: float = 0.005,
    false_alarm: float = 0.01,
    largest_unseen_bias: float = LARGEST_UNSEEN_BIAS,
    progress: Callable[[int, int], None] | None = None,
    **fixed: Unpack[Given],
) -> Comparison:
    r"""Compare a table of measurements with the theory at their parameters and their dimension. Nothing is fitted.

    z = (mean - theory)/error with error^2 = s^2 + t^2, s the standard error of the mean with nu = runs - 1 degrees of
    freedom, t^2 the squares of what is allowed for the theory and of the error of its averages over pools. A row
    disagrees if |z| is beyond

        (s^2 c(nu) + t^2 c)/(s^2 + t^2)          (Cochran and Cox 1957)

    with the two-sided quantiles of Student's t and of a normal variable at false_alarm/rows (Bonferroni): a correct
    theory fails with at most the probability ``false_alarm``, however the rows depend on each other.

    Parameters
    ----------
    source : str, Path, mapping or pandas.DataFrame
        A csv file, or columns by name. Columns are called as the parameters, in words or letters; with D also by P, N
        and K. One column ``mean``, one ``standard_error``, or ``standard_deviation`` (``std``) and ``runs``; one
        ``quantity``, a quantity of the theory or the difference of two ("e_icl - e_idg"). Others are kept, and say
        nothing.
    columns : mapping, optional
        Name of a column -> what it says, where its name does not: {"err": "standard_error"}.
    quantity : str, optional
        Of all rows, where the table has no such column.
    pool : {"gaussian", "sphere"}, optional
        Law of the tasks of a pool at finite D; default gaussian.
    token_correlation : float, optional
        Length over which tokens are correlated along a prompt, exp(-|k - l|/length), where the table has no such
        column; the query is independent of them. A column ``correlated_query`` says in which rows it is not: these have
        no theory yet, and are left out. At finite D with pools only.
    rounding : {"nearest", "down"}
        How P = tau D^2, N = alpha D and K = kappa D became whole numbers: the nearest, or int() as in many programs.
    allow : float
        Relative standard uncertainty of the theory. At finite D it neglects terms of relative order 1/D^2.
    false_alarm : float
        Probability, at most, that a correct theory fails.
    largest_unseen_bias : float
        Relative bias that must have been seen in each quantity, or the verdict is inconclusive.
    progress : callable, optional
        Called with (points solved, points in all).
    **fixed
        Fields of `Parameters` that the table has not.

    Returns
    -------
    Comparison
        ``passed``, ``sentence``, ``rows``; ``write`` for the table with z-scores.

    Raises
    ------
    OutputError
        The file is missing, or is no csv file.
    ParameterError, ParameterTypeError
        A column that is needed is missing; a value is none, or out of range (row and column are named); one run
        without a standard error; an error of 0; there is a theory of no row.

    Examples
    --------
    >>> found = compare({"tau": [1, 2], "alpha": [1, 1], "mean": [1.45, 0.86], "standard_error": [0.02, 0.02]},
    ...                 quantity="e_icl", ridge=0.1)
    >>> [round(row.theory, 3) for row in found.rows], found.passed
    ([1.444, 0.867], True)
    """
    allow = check_real("allow", allow, minimum=0.0, maximum=1.0)
    false_alarm = check_real("false_alarm", false_alarm, minimum=0.0, above=True, maximum=1.0)
    largest_unseen_bias = check_largest_unseen_bias(largest_unseen_bias)
    check_callable("progress", progress)
    given = _fixed(fixed)
    if pool is not None:
        given["pool"] = check_choice("pool", pool, POOL_LAWS)
    if token_correlation is not None:
        given["token_correlation"] = check_real("token_correlation", token_correlation, minimum=0.0, maximum=LARGEST)
    table = read_table(source, columns)
    measured = measurements(table, given, quantity=quantity, rounding=rounding)
    first: dict[tuple[Any, ...], int] = {}
    repeated = {row.row: other for row in measured if (other := first.setdefault(_content(row), row.row)) != row.row}
    once = [row for row in measured if row.row not in repeated]
    predicted = dict(zip((row.row for row in once), predict_rows(once, progress=progress), strict=True))
    comparisons = sum(not each.reason for each in predicted.values())
    rows = []
    for row in measured:
        prediction = predicted[repeated.get(row.row, row.row)]
        if row.row in repeated:
            prediction = replace(prediction, reason=_REPEATED.format(repeated[row.row]))
        rows.append(_judged(row, prediction, allow, false_alarm, comparisons))
    return Comparison(
        rows=tuple(rows),
        allow=allow,
        false_alarm=false_alarm,
        largest_unseen_bias=largest_unseen_bias,
        fixed=given if rounding == ROUNDINGS[0] else given | {"rounding": rounding},
        defaults=_defaults(measured),
        table=table,
    )


def _fixed(given: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of all rows, checked before any work: one number each."""
    refuse_unknown(given, (*Given.__annotations__, *_OPTIONS))
    point = Parameters.of({"task_diversity": 1.0, "context_length": 1.0, **given})
    named = {name: value for name, value in given.items() if value is not None}
    if point.shape:
        longer = next(name for name in named if np.ndim(named[name]))
        raise ParameterError(f"{longer} must be one number, which all rows share: what varies is a column of the table")
    numbers = (*PARAMETERS, *STRENGTHS, "dimension")
    return {name: float(getattr(point, name)) if name in numbers else value for name, value in named.items()}


def _content(row: Measurement) -> tuple[Any, ...]:
    """What two rows that are one have in common."""
    return (row.quantity, row.mean, row.standard_error, *sorted((name, str(value)) for name, value in row.law.items()))


def _judged(
    row: Measurement, prediction: Prediction, allow: float, false_alarm: float, comparisons: int
) -> MeasuredRow:
    given = (row.row, row.quantity, row.mean, row.standard_error, row.dof, prediction.value, prediction.error)
    if prediction.reason:
        nothing = math.nan
        return MeasuredRow(*given, nothing, nothing, nothing, None, nothing, nothing, prediction.reason)
    allowed = allow * abs(prediction.value)
    parts = [(row.standard_error, row.dof), (prediction.error, FEWEST_DOF), (allowed, math.inf)]
    error = math.hypot(*(size for size, _ in parts))
    limit = sum(
        (size / error) ** 2 * bonferroni_threshold(false_alarm, comparisons, freedom) for size, freedom in parts
    )
    z = (row.mean - prediction.value) / error
    dof = welch_satterthwaite([1, 1, 1], [size for size, _ in parts], [freedom for _, freedom in parts])
    bias = error * _detectable(limit, dof)
    unseen = bias / abs(prediction.value) if prediction.value else math.inf
    return MeasuredRow(*given, error, z, limit, abs(z) < limit, bias, unseen)


@lru_cache(maxsize=1024)
def _detectable(limit: float, dof: float) -> float:
    """The smallest detectable bias in units of the error: the same for all rows of equally many runs."""
    return smallest_detectable_bias(1.0, limit, dof, POWER)


def _defaults(measured: list[Measurement]) -> dict[str, Any]:
    """Parameters that no row has."""
    said = {name for row in measured for name in row.law}
    shown: dict[str, Any] = {"distinct_tasks": math.inf, "label_noise": 0.0}
    if not said & {"l1", "nuclear", "model"}:
        shown["ridge"] = PARAMETERS["ridge"].default
    if any("dimension" in row.law for row in measured):
        shown |= {"last_feature": "unit-tokens"} if "last_row" not in said else {}
    return {name: value for name, value in shown.items() if name not in said}
